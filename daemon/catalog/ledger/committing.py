"""What a commit of a hop is made of, each part within the open transaction of its caller.

Called by outcomes, rebuilds and models of the ledger.
"""

from collections.abc import Callable
from datetime import datetime

from daemon.catalog.ledger.planning import ask, plan, plan_group
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import BatchOutcome, PromotionOutcome, PromotionTask, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer, LayerTransitionLog


class StaleSourceError(Exception):
    """The file a promotion read was rewritten meanwhile: its outcome is void, the promotion is still due."""


def record(tx: Store, log: LayerTransitionLog, key: TableKey) -> None:
    """Insert a transition, within an open transaction; under its shadow's `key` until a rebuild is shown."""
    tx.execute(
        "INSERT INTO transitions (transition_id, batch_id, domain, table_name, target_layer, status, completed_at, record) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            log.transition_id,
            log.batch_id,
            *key,
            log.target_layer,
            log.status,
            log.completed_at.isoformat(),
            log.model_dump_json(),
        ),
    )


def place(tx: Store, key: TableKey, layer: Layer, batch: BatchOutcome) -> None:
    """Put the batch's file into its layer, in the place of the one it had, and keep the layer's totals.

    Raises StaleSourceError where a merged file holds rows of the batch.
    """
    batch_id = batch.transition.batch_id
    old = tx.row(
        "SELECT rows, merged FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
        (*key, layer, batch_id),
    )
    if old is not None and old["merged"]:
        raise StaleSourceError(batch_id)  # its rows are still in a file with others, which stays
    new = batch.layer_file
    if new is None:
        tx.execute(
            "DELETE FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*key, layer, batch_id),
        )
    else:
        tx.execute(
            "INSERT OR REPLACE INTO layer_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                *key,
                layer,
                batch_id,
                new.name,
                new.rows,
                new.size,
                new.sha256,
                batch.transition.transition_id,
                batch.transition.contract_version or "none",
            ),
        )
    tx.execute(
        "INSERT INTO layers (domain, table_name, layer, rows, files) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, files = files + excluded.files",
        (
            *key,
            layer,
            (new.rows if new else 0) - (old["rows"] if old else 0),
            int(new is not None) - int(old is not None),
        ),
    )


def known_contents(tx: Store, outcome: PromotionOutcome) -> frozenset[str]:
    """The hashes of files taken as new whose content the table has from other files."""
    return frozenset(
        file.sha256
        for batch in outcome.items
        for file in batch.files
        if file.fate == "staged"
        and tx.row(
            "SELECT 1 FROM files AS f JOIN files AS o USING (domain, table_name, size) WHERE f.file_id = ? "
            "AND o.sha256 = ? AND o.file_id <> f.file_id AND o.state IN ('staged', 'ingested') LIMIT 1",
            (file.file_id, file.sha256),
        )
    )


def settle_files(tx: Store, batch: BatchOutcome) -> None:
    """Write down what became of the dropped files of a batch."""
    tx.execute_many(
        "UPDATE files SET state = ?, sha256 = ?, rows = ?, kind = ?, reason = ? WHERE file_id = ?",
        ((file.fate, file.sha256, file.rows, file.kind, file.reason, file.file_id) for file in batch.files),
    )


def branch(tx: Store, key: TableKey, batch: BatchOutcome, new_id: Callable[[], str], now: datetime) -> None:
    """Let each further sheet of a workbook be a batch of its own table; the workbook rests when they are read."""
    for file in batch.files:
        for sheet, table in file.parts:
            batch_id = new_id()
            part = TableKey(key.domain, table)
            tx.execute(
                "INSERT INTO batches (batch_id, domain, table_name, state, created_at) VALUES (?, ?, ?, 'open', ?)",
                (batch_id, *part, now.isoformat()),
            )
            tx.execute(
                "INSERT INTO files (batch_id, ordinal, domain, table_name, name, landing_path, claimed_path, size, "
                "mtime_ns, inode, state, at_rest, part_of, sheet) SELECT ?, 0, domain, ?, name || '!' || ?, "
                "landing_path, claimed_path, size, mtime_ns, inode, 'claimed', 1, file_id, ? FROM files WHERE file_id = ?",
                (batch_id, table, sheet, sheet, file.file_id),
            )
            plan(tx, part, batch_id, Layer.STAGED, new_id(), now)


def note_quarantine(tx: Store, key: TableKey, batch: BatchOutcome, now: datetime) -> None:
    """Write down the records that a hop set aside, in the place of those of an earlier attempt."""
    log = batch.transition
    if batch.quarantine_file is None:
        return
    tx.execute(
        "DELETE FROM quarantine WHERE batch_id = ? AND path = ?", (log.batch_id, batch.quarantine_file)
    )
    tx.execute_many(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                log.transition_id,
                log.batch_id,
                *key,
                log.target_layer,
                rule,
                rows,
                batch.quarantine_file,
                now.isoformat(),
            )
            for rule, rows in batch.rows_by_rule.items()
        ),
    )
    tx.execute_many(
        "INSERT OR REPLACE INTO quarantine_files VALUES (?, ?, ?, ?)",
        [(log.transition_id, rule, file, rows) for rule, file, rows in batch.rejected],
    )


def plan_above(
    tx: Store, task: PromotionTask, outcome: PromotionOutcome, new_id: Callable[[], str], planned_at: datetime
) -> None:
    """Plan the hop above for what changed."""
    if task.target.above is not None:
        changed = [batch.transition.batch_id for batch in outcome.items if batch.layer_file is not None]
        changed += [batch.transition.batch_id for batch in outcome.rewritten]
        plan_group(tx, task.key, task.target.above, changed, new_id, planned_at)


def finish(tx: Store, task: PromotionTask, outcome: PromotionOutcome, now: datetime) -> list[str]:
    """Call the batches done that have no hop above."""
    finished: list[str] = []
    if task.key.is_shadow:  # a batch is done when the rebuild is shown
        return finished
    for batch in outcome.items:
        batch_id = batch.transition.batch_id
        if task.target.above is not None and batch.layer_file is not None:
            continue
        if tx.execute(
            "UPDATE batches SET state = 'done', done_at = ? WHERE batch_id = ? AND state = 'open'",
            (now.isoformat(), batch_id),
        ):
            finished.append(batch_id)
            tx.execute(
                "UPDATE files SET state = 'ingested' WHERE batch_id = ? AND state = 'staged'", (batch_id,)
            )
    return finished


def replace_namesakes(
    tx: Store, task: PromotionTask, outcome: PromotionOutcome, rebuild_id: str, now: datetime
) -> None:
    """Ask for a rebuild in which the batch takes the place of what its files' names stood for so far."""
    taken = {file.file_id for batch in outcome.items for file in batch.files if file.fate == "staged"}
    names = [source.name for item in task.items for source in item.sources if source.file_id in taken]
    batches = {item.batch_id for item in task.items}
    old = [
        row
        for name in names
        for row in tx.rows(
            "SELECT file_id, batch_id FROM files WHERE +domain = ? AND +table_name = ? AND name = ? "
            "AND state IN ('staged', 'ingested')",
            (*task.key, name),
        )
        if row["batch_id"] not in batches
    ]
    if old:
        rebuild = Rebuild(
            rebuild_id,
            task.key,
            "replace",
            Layer.LANDING,
            batches=frozenset(batches | {row["batch_id"] for row in old}),
            files_out=tuple(row["file_id"] for row in old),
            why="landing.revisions: replace",
        )
        ask(tx, rebuild, now)


def is_asked_for(tx: Store, key: TableKey) -> bool:
    """Whether a rebuild for other types waits already."""
    row = tx.row(
        "SELECT 1 FROM rebuilds WHERE domain = ? AND table_name = ? AND kind = 'widen' AND state = 'requested'",
        key,
    )
    return row is not None


def has_other_batches(tx: Store, key: TableKey, batch_id: str) -> bool:
    """Whether the table has staged another batch than this one."""
    row = tx.row(
        "SELECT 1 FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'staged' AND batch_id <> ? LIMIT 1",
        (*key, batch_id),
    )
    return row is not None
