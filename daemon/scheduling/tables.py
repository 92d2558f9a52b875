"""Keeps `catalog/tables/<domain>.<table>.json` true to what was published. Used by the promoter, before each commit.

Derived, for people and tools. A column may be known a moment before its batch is published, never later.
"""

import threading
from collections.abc import Sequence

from daemon.catalog.promotion import BatchOutcome, TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout
from daemon.lake.tables import TableMetadata, read_table, write_table
from daemon.scheduling.clock import utc_now


class TableNotes:
    """What is known of each table's columns; read once, written when it changes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[TableKey, TableMetadata] = {}
        self._lock = threading.Lock()

    def note(self, key: TableKey, batches: Sequence[tuple[Layer, BatchOutcome]]) -> None:
        """Remember the columns of batches at their layers, and how their headers spelled them. Raises OSError."""
        with self._lock:
            now = utc_now()
            before = self._known.get(key) or read_table(self._layout, key)
            known = before or TableMetadata(domain=key.domain, table=key.table, updated_at=now)
            for layer, batch in batches:
                if batch.columns:
                    known = known.with_columns(layer, dict(batch.columns), now)
                known = known.with_headers(dict(batch.headers), now)
            if before is None or known.model_copy(update={"updated_at": before.updated_at}) != before:
                write_table(self._layout, known)
                self._known[key] = known
            else:
                self._known[key] = before
