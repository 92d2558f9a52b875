"""Planning a hop within an open transaction. Used by the parts of the ledger that make one due."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer


def plan(
    tx: Store,
    key: TableKey,
    batch_id: str,
    target: Layer,
    transition_id: str,
    now: datetime,
    **extra: str | None,
) -> None:
    """Plan one hop of a batch within an open transaction; `extra` may name `group_id` and `supersedes`."""
    tx.execute(
        "INSERT INTO promotions (transition_id, batch_id, domain, table_name, target_layer, group_id, state, planned_at, "
        "supersedes) VALUES (?, ?, ?, ?, ?, ?, 'planned', ?, ?)",
        (
            transition_id,
            batch_id,
            *key,
            target,
            extra.get("group_id") or transition_id,
            now.isoformat(),
            extra.get("supersedes"),
        ),
    )


def generation_path(key: TableKey, layer: Layer, number: int) -> str:
    """A generation's folder relative to the root, as lake.layout lays it out one floor above."""
    return f"data/.generations/{layer}/{key.domain}/{key.real.table}/{number}"


def standing(tx: Store, key: TableKey, layer: Layer, batch_id: str) -> str | None:
    """The transition that made what stands of a batch in a layer; for a shadow, of what it is to take the place of."""
    for table in (key, key.real):
        row = tx.row(
            "SELECT transition_id FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*table, layer, batch_id),
        )
        if row:
            return str(row["transition_id"])
    return None


def is_held(store: Store, key: TableKey, target: Layer, *states: str) -> bool:
    """Whether promotions of a table into `target` wait for a rebuild of it that is in one of `states`.

    A rebuild changes the layers above its base; what arrives meanwhile waits below them.
    """
    if key.is_shadow:
        return False
    rows = store.rows(
        "SELECT base, state FROM rebuilds WHERE domain = ? AND table_name = ? AND state IN ('requested', 'building')",
        key,
    )
    order = list(Layer)
    return any(
        row["state"] in states and order.index(Layer(row["base"])) < order.index(target) for row in rows
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
            "SELECT group_id FROM promotions WHERE batch_id = ? AND target_layer = ? AND state = 'planned' "
            "AND table_name = ?",
            (batch_id, layer, key.table),
        )
        if waiting:
            tx.execute(
                "UPDATE promotions SET group_id = ? WHERE group_id = ? AND state = 'planned' "
                "AND domain = ? AND table_name = ? AND target_layer = ?",
                (group_id, waiting["group_id"], *key, layer),
            )
            continue
        plan(
            tx,
            key,
            batch_id,
            layer,
            group_id if place == 0 else new_id(),
            now,
            group_id=group_id,
            supersedes=standing(tx, key, layer, batch_id),
        )


def ask(tx: Store, rebuild: Rebuild, now: datetime) -> None:
    """Write down a request, within an open transaction."""
    tx.execute(
        "INSERT INTO rebuilds (rebuild_id, domain, table_name, kind, base, state, batches, files_out, files_back, why, "
        "requested_at) VALUES (?, ?, ?, ?, ?, 'requested', ?, ?, ?, ?, ?)",
        (
            rebuild.rebuild_id,
            *rebuild.key,
            rebuild.kind,
            rebuild.base,
            None if rebuild.batches is None else json.dumps(sorted(rebuild.batches)),
            json.dumps(rebuild.files_out),
            json.dumps(rebuild.files_back),
            rebuild.why,
            now.isoformat(),
        ),
    )
