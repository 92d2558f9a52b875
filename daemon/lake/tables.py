"""What is known of a table's columns: `catalog/tables/<domain>.<table>.json`, for people and tools to read.

Derived: the truth is in the Parquet files, and a file that is lost or damaged is written anew by the next
promotion. One writer per table at a time. Never imports polars: dtypes are text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.durable import make_directories, write_bytes
from daemon.lake.layout import Layout


class TableMetadata(BaseModel):
    """A table's columns at each layer, and the headers they were delivered under. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    domain: str
    table: str
    columns: dict[Layer, dict[str, str]] = Field(
        default={}, description="layer: column: dtype, in file order"
    )
    original_headers: dict[str, tuple[str, ...]] = Field(
        default={}, description="column: other spellings of it in delivered headers, in order of first sight"
    )
    updated_at: AwareDatetime

    def with_columns(self, layer: Layer, columns: Mapping[str, str], at: AwareDatetime) -> Self:
        """Return a copy that knows these `{column: dtype}` of a layer too.

        Columns that were known keep their place and take the dtype given; new ones follow.
        """
        known = self.columns.get(layer, {})
        return self.model_copy(
            update={"columns": self.columns | {layer: known | dict(columns)}, "updated_at": at}
        )

    def with_headers(self, headers: Mapping[str, str], at: AwareDatetime) -> Self:
        """Return a copy that knows these `{column: header as it was delivered}` too."""
        merged = dict(self.original_headers)
        for column, header in headers.items():
            if header != column and header not in merged.get(column, ()):
                merged[column] = (*merged.get(column, ()), header)
        return self.model_copy(update={"original_headers": merged, "updated_at": at})


def table_path(layout: Layout, key: TableKey) -> Path:
    """Return where a table's metadata stands."""
    return layout.tables / f"{key}.json"


def read_table(layout: Layout, key: TableKey) -> TableMetadata | None:
    """Read what is known of a table; None when nothing readable is. Raises OSError otherwise."""
    try:
        return TableMetadata.model_validate_json(table_path(layout, key).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_table(layout: Layout, metadata: TableMetadata) -> bool:
    """Write a table's metadata durably; return False where only `updated_at` differs. Raises OSError."""
    key = TableKey(metadata.domain, metadata.table)
    known = read_table(layout, key)
    if known is not None and known.model_copy(update={"updated_at": metadata.updated_at}) == metadata:
        return False
    path = table_path(layout, key)
    make_directories(path.parent)
    write_bytes(path, metadata.model_dump_json(indent=1).encode() + b"\n")
    return True
