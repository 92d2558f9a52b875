"""The ledger's part for the chain: which promotions are due, and what became of each. Called by scheduling.

A hop commits in one transaction: the new state, the whole transition record, and the plan of the hop above
it, whose `planned_at` later becomes `_ingested_at`; so a hop done again after a crash writes the same rows.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import (
    BatchOutcome,
    ClaimedFile,
    LayerFile,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    TableKey,
)
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import RetryLaterError


class StaleSourceError(Exception):
    """The file a promotion read was rewritten meanwhile: its outcome is void, the promotion is still due."""


@dataclass(frozen=True, slots=True)
class DuePromotion:
    """A promotion (or a group that must be published together) that waits for its turn.

    `deaths` counts the worker deaths it has cost so far, `file_count` the live files of its first batch.
    """

    group_id: str
    key: TableKey
    target: Layer
    items: tuple[PromotionItem, ...]
    deaths: int
    file_count: int


class PromotionLedger:
    """Hops planned, tried and done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._filed: list[str] = []
        self._lock = threading.Lock()

    def unstaged(self, key: TableKey) -> int:
        """Batches of a table that wait to be staged: landing holds back while there are some, so that batches grow."""
        row = self._store.row(
            "SELECT count(*) AS batches FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? "
            "AND target_layer = 'staged'",
            key,
        )
        return row["batches"] if row else 0

    def unfinished(self) -> bool:
        """Whether any promotion is planned."""
        return self._store.row("SELECT 1 FROM promotions WHERE state = 'planned' LIMIT 1") is not None

    def due_hops(self) -> list[tuple[TableKey, Layer]]:
        """Every (table, target layer) that has a planned promotion."""
        rows = self._store.rows(
            "SELECT DISTINCT domain, table_name, target_layer FROM promotions WHERE state = 'planned'"
        )
        return [(TableKey(row["domain"], row["table_name"]), Layer(row["target_layer"])) for row in rows]

    def uncommitted(self, key: TableKey, target: Layer) -> list[str]:
        """Names of files that a hop may have published without committing: those of batches new to the layer."""
        rows = self._store.rows(
            "SELECT batch_id FROM promotions AS p WHERE state = 'planned' AND domain = ? AND table_name = ? "
            "AND target_layer = ? AND NOT EXISTS (SELECT 1 FROM layer_files AS f WHERE f.domain = p.domain "
            "AND f.table_name = p.table_name AND f.layer = p.target_layer AND f.batch_id = p.batch_id)",
            (*key, target),
        )
        return [f"{row['batch_id']}.parquet" for row in rows]

    def due(self, key: TableKey, target: Layer, waiting: Collection[str]) -> DuePromotion | None:
        """The oldest planned promotion of a hop whose group is not among `waiting`, with all of its group."""
        rows = self._store.rows(
            "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? AND target_layer = ? "
            "ORDER BY batch_id LIMIT ?",
            (*key, target, len(waiting) + 1),
        )
        first = next((row for row in rows if row["group_id"] not in waiting), None)
        if first is None and len(rows) > len(waiting):  # a waiting group may hold several of these rows
            rows = self._store.rows(
                "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? "
                "AND target_layer = ? ORDER BY batch_id",
                (*key, target),
            )
            first = next((row for row in rows if row["group_id"] not in waiting), None)
        if first is None:
            return None
        group = self._store.rows(
            "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? AND target_layer = ? "
            "AND group_id = ? ORDER BY batch_id",
            (*key, target, first["group_id"]),
        )
        items = tuple(self._item(row, key, target) for row in group)
        return DuePromotion(
            first["group_id"], key, target, items, first["deaths"], self._file_count(first["batch_id"])
        )

    def _file_count(self, batch_id: str) -> int:
        row = self._store.row(
            "SELECT count(*) AS files FROM files WHERE batch_id = ? AND state IN ('claimed', 'staged')",
            (batch_id,),
        )
        return row["files"] if row else 0

    def _item(self, row: Row, key: TableKey, target: Layer) -> PromotionItem:
        return PromotionItem(
            transition_id=row["transition_id"],
            batch_id=row["batch_id"],
            planned_at=datetime.fromisoformat(row["planned_at"]),
            attempt=row["attempt"],
            sources=self._claimed(row["batch_id"]) if target is Layer.STAGED else (),
            source=None if target is Layer.STAGED else self.layer_file(key, target.below, row["batch_id"]),
            replaces=self.layer_file(key, target, row["batch_id"]),
            supersedes=row["supersedes"],
        )

    def _claimed(self, batch_id: str) -> tuple[ClaimedFile, ...]:
        rows = self._store.rows(
            "SELECT * FROM files WHERE batch_id = ? AND state = 'claimed' ORDER BY ordinal", (batch_id,)
        )
        return tuple(
            ClaimedFile(
                row["file_id"],
                row["name"],
                Path(os.fsdecode(row["claimed_path"])),
                row["size"],
                row["mtime_ns"],
            )
            for row in rows
        )

    def known_hashes(self, key: TableKey, sources: Sequence[ClaimedFile]) -> frozenset[str]:
        """SHA-256 of contents the table already took, among those with the size of one of `sources`.

        Contents that were set aside do not count: dropped again after a mend, they get another try.
        """
        found: set[str] = set()
        for size in {source.size for source in sources}:
            found.update(
                row["sha256"]
                for row in self._store.rows(
                    "SELECT sha256 FROM files WHERE domain = ? AND table_name = ? AND size = ? "
                    "AND state IN ('staged', 'ingested')",
                    (*key, size),
                )
            )
        return frozenset(found)

    def generation(self, key: TableKey, layer: Layer) -> int:
        """The number of the layer's published generation; 1 for a table that has none yet."""
        row = self._store.row(
            "SELECT generation FROM layers WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
        )
        return row["generation"] if row else 1

    def published(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        """The committed files of a layer, in the order of their batches."""
        rows = self._store.rows(
            "SELECT * FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? ORDER BY batch_id",
            (*key, layer),
        )
        return tuple(_layer_file(row) for row in rows)

    def published_transitions(self, key: TableKey, layer: Layer) -> tuple[LayerTransitionLog, ...]:
        """The transitions that made the committed files of a layer, in the order of their batches."""
        rows = self._store.rows(
            "SELECT record FROM layer_files JOIN transitions USING (transition_id) "
            "WHERE layer_files.domain = ? AND layer_files.table_name = ? AND layer = ? ORDER BY layer_files.batch_id",
            (*key, layer),
        )
        return tuple(LayerTransitionLog.model_validate_json(row["record"]) for row in rows)

    def layer_file(self, key: TableKey, layer: Layer, batch_id: str) -> LayerFile | None:
        """The committed file of a batch in a layer, None if it has none."""
        row = self._store.row(
            "SELECT * FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*key, layer, batch_id),
        )
        return _layer_file(row) if row else None

    def commit(
        self, task: PromotionTask, outcome: PromotionOutcome, new_id: Callable[[], str], now: datetime
    ) -> list[str]:
        """Make a promotion's outcome the truth, and plan the hop above.

        Returns the batches that are done by it.

        Raises StaleSourceError, and changes nothing, when an item's source was rewritten since the task was
        made.
        """
        with self._store.transaction() as tx:
            self._flush(tx)
            for item in task.items:
                if item.source != (
                    None
                    if task.target is Layer.STAGED
                    else self.layer_file(task.key, task.target.below, item.batch_id)
                ):
                    raise StaleSourceError(item.transition_id)
                tx.execute(
                    "UPDATE promotions SET state = 'done', error = NULL, error_kind = NULL WHERE transition_id = ?",
                    (item.transition_id,),
                )
            for batch in (*outcome.items, *outcome.rewritten):
                record(tx, batch.transition)
                place(tx, task.key, task.target, batch)
                _settle_files(tx, batch)
                _note_quarantine(tx, batch, now)
            tx.execute(
                "UPDATE layers SET generation = ?, version = version + 1 "
                "WHERE domain = ? AND table_name = ? AND layer = ?",
                (outcome.generation, *task.key, task.target),
            )
            return _go_on(tx, task, outcome, new_id, now)

    def retry(self, due: DuePromotion, kind: str, error: str, now: datetime) -> None:
        """Write down a failed attempt; the promotion stays planned.

        `kind` worker_died and timed_out count as deaths.
        """
        death = int(kind in {"worker_died", "timed_out"})
        with self._store.transaction() as tx:
            for item in due.items:
                tx.execute(
                    "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?)",
                    (item.transition_id, item.attempt, now.isoformat(), kind, error),
                )
                tx.execute(
                    "UPDATE promotions SET attempt = attempt + 1, deaths = deaths + ?, error_kind = ?, error = ? "
                    "WHERE transition_id = ?",
                    (death, kind, error, item.transition_id),
                )

    def split(
        self, due: DuePromotion, log: LayerTransitionLog, halves: Sequence[str], new_id: Callable[[], str]
    ) -> None:
        """Give the files of a failing batch to new batches, half to each, to find the one that fails.

        What the batch published is taken back; `halves` are the ids of the two new batches.
        """
        batch_id = due.items[0].batch_id
        with self._store.transaction() as tx:
            record(tx, log)
            self._withdraw(tx, due.key, batch_id)
            files = tx.rows(
                "SELECT file_id FROM files WHERE batch_id = ? AND state IN ('claimed', 'staged') ORDER BY ordinal",
                (batch_id,),
            )
            middle = (len(files) + 1) // 2
            for half, part in zip(halves, (files[:middle], files[middle:]), strict=True):
                tx.execute(
                    "INSERT INTO batches (batch_id, domain, table_name, state, parent, created_at) "
                    "VALUES (?, ?, ?, 'open', ?, ?)",
                    (half, *due.key, batch_id, log.completed_at.isoformat()),
                )
                tx.execute_many(
                    "UPDATE files SET batch_id = ? WHERE file_id = ?",
                    [(half, row["file_id"]) for row in part],
                )
                tx.execute(
                    "UPDATE files SET state = 'claimed' WHERE batch_id = ? AND state = 'staged'", (half,)
                )
                plan(tx, half, Layer.STAGED, new_id(), log.completed_at)
            tx.execute("UPDATE batches SET state = 'split' WHERE batch_id = ?", (batch_id,))

    def set_aside(self, due: DuePromotion, log: LayerTransitionLog, kind: str, reason: str) -> None:
        """Give up on a batch whose data is bad: its files are set aside, what it published is taken back."""
        batch_id = due.items[0].batch_id
        with self._store.transaction() as tx:
            record(tx, log)
            self._withdraw(tx, due.key, batch_id)
            tx.execute(
                "UPDATE files SET state = 'set_aside', kind = ?, reason = ? "
                "WHERE batch_id = ? AND state IN ('claimed', 'staged')",
                (kind, reason, batch_id),
            )
            tx.execute(
                "UPDATE batches SET state = 'set_aside', done_at = ? WHERE batch_id = ?",
                (log.completed_at.isoformat(), batch_id),
            )

    def _withdraw(self, tx: Store, key: TableKey, batch_id: str) -> None:
        """Take a batch's files out of its layers; the files themselves go once this has committed."""
        tx.execute(
            "UPDATE promotions SET state = 'failed' WHERE batch_id = ? AND state = 'planned'", (batch_id,)
        )
        for layer in (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD):
            file = self.layer_file(key, layer, batch_id)
            # A file may stand published and uncommitted, if a crash came between the two: it goes as well.
            name = file.name if file else f"{batch_id}.parquet"
            generation = self.generation(key, layer)
            tx.execute(
                "INSERT OR IGNORE INTO removals VALUES (?, '')",
                (f"data/.generations/{layer}/{key.domain}/{key.table}/{generation}/{name}",),
            )
            if file is None:
                continue
            tx.execute(
                "DELETE FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
                (*key, layer, batch_id),
            )
            tx.execute(
                "UPDATE layers SET version = version + 1, rows = rows - ?, files = files - 1 "
                "WHERE domain = ? AND table_name = ? AND layer = ?",
                (file.rows, *key, layer),
            )
        tx.execute("DELETE FROM quarantine WHERE batch_id = ?", (batch_id,))

    def unfiled(self) -> list[LayerTransitionLog]:
        """Transitions whose lineage file is not known to be written, and the newest thousand, whose may not be durable."""
        rows = self._store.rows(
            "SELECT record FROM transitions WHERE filed = 0 UNION "
            "SELECT record FROM (SELECT record FROM transitions ORDER BY transition_id DESC LIMIT 1000)"
        )
        return [LayerTransitionLog.model_validate_json(row["record"]) for row in rows]

    def filed(self, transition_ids: Iterable[str]) -> None:
        """Remember that these lineage files are written; made durable by the next commit, or `flush`."""
        with self._lock:
            self._filed.extend(transition_ids)

    def flush(self) -> None:
        """Make durable what `filed` was told. What the disk refuses here is looked at again at the next start."""
        if self._filed:
            with suppress(RetryLaterError), self._store.transaction() as tx:
                self._flush(tx)

    def _flush(self, tx: Store) -> None:
        with self._lock:
            names, self._filed = self._filed, []
        tx.execute_many("UPDATE transitions SET filed = 1 WHERE transition_id = ?", [(name,) for name in names])


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


def _layer_file(row: Row) -> LayerFile:
    return LayerFile(row["batch_id"], row["name"], row["rows"], row["size"], row["sha256"])


def record(tx: Store, log: LayerTransitionLog) -> None:
    """Insert a transition, within an open transaction."""
    tx.execute(
        "INSERT INTO transitions (transition_id, batch_id, domain, table_name, target_layer, status, completed_at, record) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            log.transition_id,
            log.batch_id,
            log.domain,
            log.table,
            log.target_layer,
            log.status,
            log.completed_at.isoformat(),
            log.model_dump_json(),
        ),
    )


def place(tx: Store, key: TableKey, layer: Layer, batch: BatchOutcome) -> None:
    """Put the batch's file into its layer, in the place of the one it had, and keep the layer's totals."""
    batch_id = batch.transition.batch_id
    old = tx.row(
        "SELECT rows FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
        (*key, layer, batch_id),
    )
    new = batch.layer_file
    if new is None:
        tx.execute(
            "DELETE FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*key, layer, batch_id),
        )
    else:
        tx.execute(
            "INSERT OR REPLACE INTO layer_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, layer, batch_id, new.name, new.rows, new.size, new.sha256, batch.transition.transition_id),
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


def _settle_files(tx: Store, batch: BatchOutcome) -> None:
    tx.execute_many(
        "UPDATE files SET state = ?, sha256 = ?, rows = ?, kind = ?, reason = ? WHERE file_id = ?",
        ((file.fate, file.sha256, file.rows, file.kind, file.reason, file.file_id) for file in batch.files),
    )


def _note_quarantine(tx: Store, batch: BatchOutcome, now: datetime) -> None:
    log = batch.transition
    if batch.quarantine_file is None:
        return
    tx.execute("DELETE FROM quarantine WHERE path = ?", (batch.quarantine_file,))
    tx.execute_many(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                log.transition_id,
                log.batch_id,
                log.domain,
                log.table,
                log.target_layer,
                rule,
                rows,
                batch.quarantine_file,
                now.isoformat(),
            )
            for rule, rows in batch.rows_by_rule
        ),
    )


def _go_on(
    tx: Store, task: PromotionTask, outcome: PromotionOutcome, new_id: Callable[[], str], now: datetime
) -> list[str]:
    """Plan the hop above for what changed, or call the batches done."""
    above = task.target.above
    if above is None:
        done = [batch.transition.batch_id for batch in outcome.items]
    else:
        done = [batch.transition.batch_id for batch in outcome.items if batch.layer_file is None]
        changed = [batch.transition.batch_id for batch in outcome.items if batch.layer_file is not None]
        changed += [batch.transition.batch_id for batch in outcome.rewritten]
        _plan_group(tx, task.key, above, changed, new_id, now)
    finished = []
    for batch_id in done:
        if tx.execute(
            "UPDATE batches SET state = 'done', done_at = ? WHERE batch_id = ? AND state = 'open'",
            (now.isoformat(), batch_id),
        ):
            finished.append(batch_id)
            tx.execute("UPDATE files SET state = 'ingested' WHERE batch_id = ? AND state = 'staged'", (batch_id,))
    return finished


def _plan_group(
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
