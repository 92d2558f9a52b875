"""New ledgers for tests, and records to put into them.

A new ledger is a copy of one that was made once, as making its tables takes longer than most tests.
"""

import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog


def open_ledger(path: Path) -> Ledger:
    """The ledger at `path`, an empty one where there is none."""
    if not path.exists():
        path.write_bytes(_empty())
    return Ledger.open(path)


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.sqlite3")
        Ledger.open(path).close()
        return path.read_bytes()


def transition_at(
    now: datetime, transition_id: str, batch_id: str, key: TableKey, target: Layer, rows: int, **more: object
) -> LayerTransitionLog:
    """The record of a hop in which all went well, or whatever `more` says."""
    return LayerTransitionLog.model_validate(
        {
            "transition_id": transition_id,
            "batch_id": batch_id,
            "domain": key.domain,
            "table": key.real.table,
            "source_layer": target.below,
            "target_layer": target,
            "row_count_in": rows,
            "row_count_out": rows,
            "started_at": now,
            "completed_at": now,
            "status": "success",
            **more,
        }
    )


def transitions_of_table(views: LedgerViews, key: TableKey) -> list[LayerTransitionLog]:
    """What was done to a table, newest first."""
    batches = views.batches_of_table(key, 1000)
    logs = [log for batch_id in batches for log in views.transitions_of_batch(batch_id)]
    return sorted(logs, key=lambda log: log.transition_id, reverse=True)
