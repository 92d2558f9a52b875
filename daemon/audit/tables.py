"""Table metadata, derived anew from the layer files where it was lost. Called by `audit.proof` and `audit.copying`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby

from daemon.audit.findings import CannotMendError, Mend, Problem
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.errors import RetryLaterError
from daemon.lake.layout import Layout
from daemon.lake.tables import TableMetadata, read_table, table_path, write_table
from daemon.pipeline.writing import DATA_ERRORS, columns_of


def missing_metadata(layout: Layout, inventory: LedgerInventory) -> Iterator[Problem]:
    """Yield the tables with layer files and without readable metadata. A gold model has none."""
    keys = {listed.key.real for listed in inventory.layer_files() if not listed.is_model}
    for key in sorted(keys):
        if read_table(layout, key) is None:
            yield Problem(
                "table metadata",
                layout.relative(table_path(layout, key)),
                "is missing or cannot be read",
                "`--repair` derives it from the layer files; the spellings of headers come with the next delivery",
                _deriving(layout, inventory, key),
            )


def _deriving(layout: Layout, inventory: LedgerInventory, key: TableKey) -> Mend:
    def mend() -> None:
        try:
            write_table(layout, derived(layout, inventory, key))
        except (RetryLaterError, *DATA_ERRORS) as error:
            raise CannotMendError(f"the layer files cannot be read: {error}") from error

    return mend


def derived(layout: Layout, inventory: LedgerInventory, key: TableKey) -> TableMetadata:
    """Return what the layer files of a table tell. Raises what reading their footers does."""
    now = datetime.now(UTC)
    metadata = TableMetadata(domain=key.domain, table=key.table, updated_at=now)
    listed = (file for file in inventory.layer_files() if file.key == key)
    for layer, files in groupby(listed, lambda file: file.layer):
        for file in files:
            path = layout.generation(layer, key, file.generation) / file.file.name
            metadata = metadata.with_columns(layer, dict(columns_of(path)), now)
    return metadata
