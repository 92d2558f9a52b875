"""DuckDB over layer files, reading only: `gold.sales.orders`, or `gold.orders` where one domain alone has that table.

Each layer is an attached in-memory database, each domain a schema of it, each table a view over pinned files.
Used by gold models (pipeline) and by the command `query`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LAYERS, Layer
from daemon.lake.layout import Layout
from daemon.lake.tables import read_table

_PROVENANCE = (
    ("_source_file", "VARCHAR"),
    ("_source_row", "BIGINT"),
    ("_ingested_at", "TIMESTAMPTZ"),
    ("_batch_id", "VARCHAR"),
    ("_layer", "VARCHAR"),
)
_TYPES = {
    "Boolean": "BOOLEAN",
    "Int8": "TINYINT",
    "Int16": "SMALLINT",
    "Int32": "INTEGER",
    "Int64": "BIGINT",
    "UInt8": "UTINYINT",
    "UInt16": "USMALLINT",
    "UInt32": "UINTEGER",
    "UInt64": "UBIGINT",
    "Float32": "FLOAT",
    "Float64": "DOUBLE",
    "Date": "DATE",
    "Time": "TIME",
    "Binary": "BLOB",
}


class LayerView(NamedTuple):
    """A table of a layer, as the files that make it up; without one it is empty, with the columns it had."""

    layer: Layer
    key: TableKey
    paths: Sequence[Path]


@contextmanager
def open_views(
    layout: Layout, views: Sequence[LayerView], spill: Path
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows `views` and can read no file outside data/, nor reach the network.

    DuckDB lets an allowed folder be written to as well: whoever takes SQL from people refuses all but reading it.
    What does not fit into memory goes to the folder `spill`, which DuckDB makes and removes. Raises duckdb.Error.
    """
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        connection.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {quoted(spill)}")
        connection.execute(f"SET allowed_directories = [{quoted(layout.data.resolve())}]")
        for layer in LAYERS:
            connection.execute(f"ATTACH ':memory:' AS {layer}")
        names = Counter((view.layer, view.key.table) for view in views)
        for view in views:
            _create(connection, view, _content(layout, view), short=names[view.layer, view.key.table] == 1)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection


def _create(
    connection: duckdb.DuckDBPyConnection, view: LayerView, content: str | None, *, short: bool
) -> None:
    if content is None:
        return
    schema, name = f"{view.layer}.{_identifier(view.key.domain)}", _identifier(view.key.table)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    connection.execute(f"CREATE VIEW {schema}.{name} AS {content}")
    if short and view.key.domain != "main":  # to DuckDB, gold.orders is gold.main.orders
        connection.execute(f"CREATE VIEW {view.layer}.main.{name} AS FROM {schema}.{name}")


def _content(layout: Layout, view: LayerView) -> str | None:
    """The SQL of a view; None for a table without files whose columns nobody knows."""
    if view.paths:
        return f"FROM read_parquet([{', '.join(quoted(path) for path in view.paths)}], union_by_name = true)"
    metadata = read_table(layout, view.key)
    if metadata is None or view.layer not in metadata.columns:
        return None
    columns = [(name, _sql_type(dtype)) for name, dtype in metadata.columns[view.layer].items()]
    nulls = ", ".join(f"NULL::{kind} AS {_identifier(name)}" for name, kind in [*columns, *_PROVENANCE])
    return f"SELECT {nulls} WHERE false"


def _sql_type(dtype: str) -> str:
    """DuckDB's type for Polars' name of one; text for what is nested."""
    name, _, details = dtype.partition("(")
    if name == "Decimal":
        precision, scale = re.findall(r"\d+", details)
        return f"DECIMAL({precision}, {scale})"
    if name == "Datetime":
        return "TIMESTAMPTZ" if "time_zone='" in details else "TIMESTAMP"
    return _TYPES.get(name, "VARCHAR")


def quoted(text: Path | str) -> str:
    """A text or path as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
