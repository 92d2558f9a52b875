"""The ledger's part for what promotions did: committed, failed, split, set aside. Called by scheduling.

A hop commits as a whole: the new state, the whole transition record, and the plan of the hop above it, whose `planned_at`
later becomes `_ingested_at`; so a hop done again after a crash writes the same rows. The hops of a climb are durable
together when their one transaction is: a sync for each would tell nobody anything earlier.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from daemon.catalog.columns import ColumnChange
from daemon.catalog.ledger.columns import columns_of, keep_columns
from daemon.catalog.ledger.committing import (
    StaleSourceError,
    branch,
    finish,
    has_other_batches,
    is_asked_for,
    known_contents,
    note_quarantine,
    place,
    plan_above,
    record,
    replace_namesakes,
    settle_files,
)
from daemon.catalog.ledger.planning import ask, generation_path, is_held, plan
from daemon.catalog.ledger.promotions import DuePromotion, PromotionLedger
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import PromotionOutcome, PromotionTask, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import RetryLaterError


class KnownContentError(StaleSourceError):
    """The outcome holds files as new whose content the table has: the promotion is to be done again, knowing `hashes`."""

    def __init__(self, transition_id: str, hashes: frozenset[str]) -> None:
        super().__init__(transition_id)
        self.hashes = hashes


class Hop(NamedTuple):
    """What a promotion was to do, what came of it, and the hop above as a climb foresaw it."""

    task: PromotionTask
    outcome: PromotionOutcome
    then: PromotionTask | None = None


class Committed(NamedTuple):
    """What a commit brought about: the batches that are done by it, and what each changed of its table's columns."""

    done: list[str]
    changes: list[tuple[str, list[ColumnChange]]]


class OutcomeLedger:
    """What became of promotions."""

    def __init__(self, store: Store, promotions: PromotionLedger) -> None:
        self._store = store
        self._promotions = promotions
        self._filed: list[str] = []
        self._lock = threading.Lock()

    def commit(
        self, hops: Sequence[Hop], new_id: Callable[[], str], now: datetime, leave_at: datetime
    ) -> list[Committed]:
        """Make the outcomes of a climb's hops the truth, from below to above, up to the first that is void.

        Each plans the hop above it. A generation that one takes the place of may be removed from `leave_at` on. A staged
        batch may ask for a rebuild: when it teaches other types, or its files replace earlier ones of their names.

        A hop is void when an item's source was rewritten since the task was made, or its target layer is another
        generation now, or is being rebuilt, or a file was taken as new whose content the table has. Raises
        StaleSourceError, in the last case KnownContentError, and changes nothing, when that is the first.
        """
        made: list[Committed] = []
        with self._store.transaction() as tx:
            self._flush(tx)
            for hop in hops:
                try:
                    with tx.part():
                        made.append(self._commit(tx, hop, new_id, now, leave_at))
                except StaleSourceError:
                    if not made:
                        raise
                    break
        return made

    def _commit(
        self, tx: Store, hop: Hop, new_id: Callable[[], str], now: datetime, leave_at: datetime
    ) -> Committed:
        """Make one outcome the truth, within an open transaction."""
        task, outcome, then = hop
        if task.generation != self._promotions.generation(task.key, task.target) or is_held(
            tx, task.key, task.target, "building"
        ):
            raise StaleSourceError(task.items[0].transition_id)
        for item in task.items:
            if item.source != (
                None
                if task.target is Layer.STAGED
                else self._promotions.layer_file(task.key, task.target.below, item.batch_id)
            ):
                raise StaleSourceError(item.transition_id)
            tx.execute(
                "UPDATE promotions SET state = 'done', error = NULL, error_kind = NULL WHERE transition_id = ?",
                (item.transition_id,),
            )
        if known := known_contents(tx, outcome):
            raise KnownContentError(task.items[0].transition_id, known)
        for batch in (*outcome.items, *outcome.rewritten):
            record(tx, batch.transition, task.key)
            place(tx, task.key, task.target, batch)
            settle_files(tx, batch)
            branch(tx, task.key, batch, new_id, now)
            note_quarantine(tx, task.key, batch, now)
        tx.execute(
            "UPDATE layers SET generation = ?, version = version + 1 "
            "WHERE domain = ? AND table_name = ? AND layer = ?",
            (outcome.generation, *task.key, task.target),
        )
        if outcome.generation != task.generation:
            tx.execute(
                "INSERT OR IGNORE INTO removals VALUES (?, ?)",
                (generation_path(task.key, task.target, task.generation), leave_at.isoformat()),
            )
        changes: list[tuple[str, list[ColumnChange]]] = []
        if task.target is Layer.STAGED:
            changes = self._heed_columns(tx, task, outcome, new_id, now)
            if task.contract.landing.revisions == "replace":
                replace_namesakes(tx, task, outcome, new_id(), now)
        if then is not None:
            item = then.items[0]
            plan(tx, then.key, item.batch_id, then.target, item.transition_id, item.planned_at)
        else:
            plan_above(tx, task, outcome, new_id, now)
        return Committed(finish(tx, task, outcome, now), changes)

    def _heed_columns(
        self,
        tx: Store,
        task: PromotionTask,
        outcome: PromotionOutcome,
        new_id: Callable[[], str],
        now: datetime,
    ) -> list[tuple[str, list[ColumnChange]]]:
        """Take up what staged batches teach of their table's columns; other types than so far ask for a rebuild.

        Returns what changed, by batch.
        """
        heeded: list[tuple[str, list[ColumnChange]]] = []
        for batch in outcome.items:
            if not batch.delivered:
                continue
            before, delivered = columns_of(tx, task.key), dict(batch.delivered)
            if not before.columns and has_other_batches(tx, task.key, batch.transition.batch_id):
                # Staged before anything was learned: what those values allow is not known, so all is text.
                delivered = dict.fromkeys(delivered, frozenset[str]())
            columns, changes = before.merged(delivered, task.contract.bronze)
            if columns == before and not changes:
                continue
            keep_columns(tx, task.key, columns, changes, batch.transition.batch_id, now)
            if changes:
                heeded.append((batch.transition.batch_id, changes))
            widened = [change for change in changes if change.kind == "type"]
            if widened and task.contract.learns and not is_asked_for(tx, task.key):
                why = ", ".join(f"{change.column}: {change.before} -> {change.after}" for change in widened)
                ask(tx, Rebuild(new_id(), task.key, "widen", Layer.STAGED, why=why), now)
        return heeded

    def retry(self, due: DuePromotion, kind: str, error: str, now: datetime) -> None:
        """Write down a failed attempt; the promotion stays planned.

        `kind` worker_died, timed_out and too_much_memory count as deaths.
        """
        death = int(kind in {"worker_died", "timed_out", "too_much_memory"})
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
            record(tx, log, due.key)
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
                plan(tx, due.key, half, Layer.STAGED, new_id(), log.completed_at)
            tx.execute("UPDATE batches SET state = 'split' WHERE batch_id = ?", (batch_id,))

    def set_aside(self, due: DuePromotion, log: LayerTransitionLog, kind: str, reason: str) -> None:
        """Give up on a batch whose data is bad: its files are set aside, what it published is taken back."""
        batch_id = due.items[0].batch_id
        with self._store.transaction() as tx:
            record(tx, log, due.key)
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
            file = self._promotions.layer_file(key, layer, batch_id)
            # A file may stand published and uncommitted, if a crash came between the two: it goes as well.
            name = file.name if file else f"{batch_id}.parquet"
            generation = self._promotions.generation(key, layer)
            tx.execute(
                "INSERT OR IGNORE INTO removals VALUES (?, '')",
                (f"{generation_path(key, layer, generation)}/{name}",),
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
        tx.execute(
            "INSERT OR IGNORE INTO removals SELECT DISTINCT path, '' FROM quarantine WHERE batch_id = ?",
            (batch_id,),
        )
        tx.execute("DELETE FROM quarantine WHERE batch_id = ?", (batch_id,))

    def unfiled(self) -> list[LayerTransitionLog]:
        """Transitions whose lineage file is not known to be written."""
        rows = self._store.rows("SELECT record FROM transitions WHERE filed = 0")
        return [LayerTransitionLog.model_validate_json(row["record"]) for row in rows]

    def newest(self, count: int) -> list[LayerTransitionLog]:
        """The newest transitions."""
        rows = self._store.rows(
            "SELECT record FROM transitions ORDER BY transition_id DESC LIMIT ?", (count,)
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
        tx.execute_many(
            "UPDATE transitions SET filed = 1 WHERE transition_id = ?", [(name,) for name in names]
        )
