"""Planning a hop within an open transaction. Used by the parts of the ledger that make one due."""

from collections.abc import Callable, Sequence
from datetime import datetime

from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer


def plan(
    tx: Store, batch_id: str, target: Layer, transition_id: str, now: datetime, **extra: str | None
) -> None:
    """Plan one hop of a batch within an open transaction; `extra` may name `group_id` and `supersedes`."""
    tx.execute(
        "INSERT INTO promotions (transition_id, batch_id, domain, table_name, target_layer, group_id, state, planned_at, "
        "supersedes) SELECT ?, batch_id, domain, table_name, ?, ?, 'planned', ?, ? FROM batches WHERE batch_id = ?",
        (
            transition_id,
            target,
            extra.get("group_id") or transition_id,
            now.isoformat(),
            extra.get("supersedes"),
            batch_id,
        ),
    )


def plan_group(
    tx: Store, key: TableKey, layer: Layer, changed: Sequence[str], new_id: Callable[[], str], now: datetime
) -> None:
    """Plan one hop for every changed batch, as one group: readers must see all of the change or nothing of it.

    A batch that already waits for this hop brings its whole group along.
    """
    group_id = new_id()
    for place, batch_id in enumerate(changed):
        waiting = tx.row(
            "SELECT group_id FROM promotions WHERE batch_id = ? AND target_layer = ? AND state = 'planned'",
            (batch_id, layer),
        )
        if waiting:
            tx.execute(
                "UPDATE promotions SET group_id = ? WHERE group_id = ? AND state = 'planned' "
                "AND domain = ? AND table_name = ? AND target_layer = ?",
                (group_id, waiting["group_id"], *key, layer),
            )
            continue
        standing = tx.row(
            "SELECT transition_id FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*key, layer, batch_id),
        )
        plan(
            tx,
            batch_id,
            layer,
            group_id if place == 0 else new_id(),
            now,
            group_id=group_id,
            supersedes=standing["transition_id"] if standing else None,
        )
