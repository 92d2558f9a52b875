"""The ledger's part for tables' columns: what is known of them, and their history. Called by scheduling."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from daemon.catalog.columns import ColumnChange, TableColumns
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey


def columns_of(store: Store, key: TableKey) -> TableColumns:
    """What is known of a table's columns; nothing of a table that never had a delivery."""
    row = store.row("SELECT state FROM learned WHERE domain = ? AND table_name = ?", key.real)
    return _parsed(row["state"]) if row else TableColumns()


@lru_cache(maxsize=256)
def _parsed(state: str) -> TableColumns:
    """Asked for with every batch, and nearly always the same."""
    return TableColumns.model_validate_json(state)


def keep_columns(
    tx: Store,
    key: TableKey,
    columns: TableColumns,
    changes: Sequence[ColumnChange],
    batch_id: str,
    now: datetime,
) -> None:
    """Write down what a batch taught of a table's columns, within an open transaction."""
    tx.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", (*key, columns.model_dump_json()))
    tx.execute_many(
        "INSERT INTO schema_changes (domain, table_name, batch_id, at, kind, column_name, before, after) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*key, batch_id, now.isoformat(), change.kind, change.column, change.before, change.after)
            for change in changes
        ],
    )
