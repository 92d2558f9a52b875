"""Promotions from the ledger's plan to their commit: asks what is due, sends it to a worker, makes the outcome the truth.

Called by the chain, one (table, hop) at a time. A batch that nothing stands in the way of climbs several hops in one call
of a worker; each hop is committed by itself. What the outcome was decides what happens: machine's fault ->
again later; contract's fault -> again when the contract changes; the data's fault -> split until the file is
found, then set it aside.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest

import structlog

from daemon.catalog.columns import ColumnChange
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger import DuePromotion, KnownContentError, Ledger, StaleSourceError
from daemon.catalog.promotion import (
    BatchOutcome,
    Climb,
    PromotionOutcome,
    PromotionTask,
    TableKey,
    following,
)
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import ContractError, RejectDataError, RetryLaterError, SharedFileError, is_machine_fault
from daemon.events import Event
from daemon.lake.durable import remove_leftovers
from daemon.lake.generations import point_link
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.clock import utc_now
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.planning import Planner
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.recovery import remove_uncommitted
from daemon.scheduling.tables import TableNotes
from daemon.scheduling.tasks import climb
from daemon.scheduling.workers import StoppingError, WorkerLostError, WorkerPool

log = structlog.get_logger(__name__)

_Committed = tuple[PromotionTask, PromotionOutcome]

_DEATHS_ALONE = 2
"""A file that has cost this many workers while it was alone is set aside."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    `ran`: a promotion was due; `published`: the layers that it changed; `settled`: the fate of dropped files is known
    now; `withdrawn`: a batch was taken back; `outstanding`: the disk does not show yet what the ledger says;
    `branched`: other tables have batches by it; `part`: it staged a further sheet of a workbook;
    `wanted`: steps that waited for it to end.
    """

    ran: bool
    published: tuple[Layer, ...] = ()
    settled: bool = False
    withdrawn: bool = False
    outstanding: bool = False
    branched: bool = False
    part: bool = False
    wanted: frozenset[tuple[TableKey, Layer]] = frozenset()


class Promoter:
    """Carries batches up.

    `grace` is how long a generation stays that readers may still be in, `incomplete_wait` (seconds) how long a file that
    is cut short waits in landing for its other half.
    """

    def __init__(  # noqa: PLR0913 - what a promotion touches; the service's parts are its only builder
        self,
        *,
        ledger: Ledger,
        layout: Layout,
        contracts: ContractStore,
        workers: WorkerPool,
        backoff: Backoff,
        rebuilder: Rebuilder,
        lanes: Lanes,
        compactor: Compactor,
        grace: timedelta,
        incomplete_wait: float,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._workers = workers
        self._backoff = backoff
        self._rebuilder = rebuilder
        self._compactor = compactor
        self._grace = grace
        self._tables = TableNotes(layout)
        self._lanes = lanes
        self._planner = Planner(ledger, layout, contracts, lanes, incomplete_wait)
        self._unclean: set[str] = set()
        self._grounded: set[str] = set()
        self._recognised: dict[str, frozenset[str]] = {}

    def step(self, key: TableKey, target: Layer) -> Step:
        """Carry out the oldest due promotion of a hop, if there is one and no climb is in the way."""
        if not self._lanes.take(key, target):
            return Step(ran=False)
        taken = [target]
        try:
            step = self._carry(key, target, taken)
        finally:
            wanted = self._lanes.leave(key, taken)
        return replace(step, wanted=step.wanted | wanted)

    def _carry(self, key: TableKey, target: Layer, taken: list[Layer]) -> Step:
        due = self._ledger.promotions.due(key, target, self._backoff.waiting())
        if due is None:
            return Step(ran=False)
        if not due.is_large:
            return self._attempt(due, taken)
        if not self._lanes.take_large(key, target):
            return Step(ran=False)
        try:
            step = self._attempt(due, taken)
        finally:
            waiting = self._lanes.leave_large()
        return replace(step, wanted=frozenset({waiting} if waiting else ()))

    def _attempt(self, due: DuePromotion, taken: list[Layer]) -> Step:
        started = utc_now()
        try:
            batch_id = due.items[0].batch_id
            replaced = [item.batch_id for item in due.items if item.replaces is not None]
            if self._compactor.take_apart(due.key, due.target, replaced):
                return Step(ran=True)
            self._clean(due.key, due.target, batch_id)
            recognised = self._recognised.pop(due.group_id, frozenset())
            plan = self._planner.plan(due, recognised, taken, climbs=batch_id not in self._grounded)
            if plan.above:
                self._unclean.add(batch_id)
            try:
                outcomes = self._workers.call(climb, plan)
            except SharedFileError as error:
                self._compactor.take_apart(due.key, due.target, error.batch_ids)
                return Step(ran=True)
            return self._commit(due, plan, outcomes)
        except StoppingError:
            return Step(ran=False)
        except WorkerLostError as error:
            return self._after_death(due, error, started, taken)
        except Exception as error:  # noqa: BLE001 - every kind has its answer
            return self._answer(due, error, started)

    def _clean(self, key: TableKey, target: Layer, batch_id: str) -> None:
        """Remove what a climb that came to no good end has left of a batch in `target` and above. Raises OSError."""
        if batch_id in self._unclean:
            for layer in (target, *target.all_above):
                generation = self._ledger.promotions.generation(key, layer)
                remove_uncommitted(self._layout, key, layer, generation, batch_id)
            self._unclean.discard(batch_id)

    def _give_up(self, task: PromotionTask) -> None:
        """Take back what a climb published from a void hop on; what the disk refuses goes before the hop is done again."""
        with suppress(OSError):
            self._clean(task.key, task.target, task.items[0].batch_id)

    def _answer(self, due: DuePromotion, error: Exception, started: datetime) -> Step:
        """Do what the error asks for: again later, wait for a person, or find the file at fault."""
        if isinstance(error, ContractError):
            return self._again(due, "contract", error)
        if isinstance(error, RejectDataError):
            return self._isolate(due, error.kind, error.reason, started)
        if is_machine_fault(error):
            return self._again(due, "machine", error)
        log.error(Event.PROMOTION_FAILED, **_about(due), exc_info=error)
        return self._isolate(due, "unexpected", f"{type(error).__name__}: {error}", started)

    def _commit(self, due: DuePromotion, plan: Climb, outcomes: Sequence[PromotionOutcome]) -> Step:
        """Make the outcomes of a climb the truth, hop by hop; from a void one on they are due again.

        Raises RetryLaterError where the ledger refuses the first, OSError where the tables' metadata cannot be written.
        """
        self._note(plan, outcomes)
        task: PromotionTask | None = plan.task
        committed: list[_Committed] = []
        done: list[str] = []
        for outcome, above in zip_longest(outcomes, plan.above[: len(outcomes)]):
            assert task is not None  # noqa: S101 - a climb ends where nothing follows
            then = following(plan, task, outcome, above) if above else None
            now = utc_now()
            try:
                outcome = self._recorded(task, outcome)  # noqa: PLW2901 - the same outcome, complete
                found = self._ledger.outcomes.commit(task, outcome, new_id, now, now + self._grace, then)
            except (StaleSourceError, RetryLaterError) as error:
                if isinstance(error, KnownContentError):
                    self._recognised[due.group_id] = error.hashes
                self._give_up(task)
                if isinstance(error, RetryLaterError) and not committed:
                    raise
                break
            done += found.done
            _tell_changes(task.key, found.changes)
            committed.append((task, outcome))
            task = then
        if committed:
            self._backoff.forget(due.group_id)
        if task is None:
            self._unclean.discard(due.items[0].batch_id)
        return self._step(plan.task.key, committed, done)

    def _note(self, plan: Climb, outcomes: Sequence[PromotionOutcome]) -> None:
        """Say in the table's metadata what is about to be published: before the commit, so that none is ever without."""
        batches = [
            (task.target, batch)
            for task, outcome in zip(plan.tasks, outcomes, strict=False)
            for batch in (*outcome.items, *outcome.rewritten)
        ]
        try:
            self._tables.note(plan.task.key.real, batches)
        except OSError:
            self._give_up(plan.task)
            raise

    def _recorded(self, task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        """The outcome with the records of older batches that lost rows to it. Raises StaleSourceError where one is gone."""

        def standing(batch_id: str) -> LayerTransitionLog:
            log = self._ledger.promotions.transition(task.key, task.target, batch_id)
            if log is None:
                raise StaleSourceError(batch_id)
            return log

        return outcome.recorded(standing, new_id)

    def _step(self, key: TableKey, committed: Sequence[_Committed], done: Sequence[str]) -> Step:
        """Show and tell what was committed."""
        outstanding = not self._make_visible(key, committed)
        for _, outcome in committed:
            for batch in (*outcome.items, *outcome.rewritten):
                _tell(batch)
            for warning in outcome.warnings:
                log.warning(Event.CHECK_WARNED, domain=key.domain, table=key.table, warning=warning)
        self._grounded.difference_update(done)
        for batch_id in done:
            log.info(Event.BATCH_COMPLETED, domain=key.domain, table=key.table, batch_id=batch_id)
        files = [file for _, outcome in committed for batch in outcome.items for file in batch.files]
        return Step(
            ran=True,
            published=tuple(task.target for task, _ in committed),
            settled=bool(done) or any(file.fate != "staged" for file in files),
            outstanding=outstanding,
            branched=any(file.parts for file in files),
            part=any(source.sheet is not None for task, _ in committed for source in task.items[0].sources),
        )

    def _make_visible(self, key: TableKey, committed: Sequence[_Committed]) -> bool:
        """Show on disk what the ledger has committed; returns False where the disk refuses: upkeep does it then."""
        try:
            for task, outcome in committed:
                if outcome.generation != task.generation and not key.is_shadow:
                    point_link(self._layout, task.target, key, outcome.generation)
                    log.info(
                        Event.GENERATION_PUBLISHED,
                        domain=key.domain,
                        table=key.table,
                        layer=task.target,
                        generation=outcome.generation,
                    )
            for _, outcome in committed:
                for batch in (*outcome.items, *outcome.rewritten):
                    write_transition(self._layout, batch.transition)
                    self._ledger.outcomes.filed([batch.transition.transition_id])
        except OSError as error:
            log.warning(Event.PROMOTION_RETRIED, kind="machine", error=str(error))
            return False
        return True

    def _again(self, due: DuePromotion, kind: str, error: Exception) -> Step:
        """Leave the promotion planned, and try it again later."""
        self._ledger.outcomes.retry(due, kind, str(error), utc_now())
        parked = kind == "contract"
        seconds = (self._backoff.park if parked else self._backoff.hold)(due.group_id, kind)
        event = Event.BATCH_PARKED if parked else Event.PROMOTION_RETRIED
        log.warning(
            event,
            **_about(due),
            kind=kind,
            error=str(error),
            attempt=due.items[0].attempt,
            seconds=round(seconds, 3),
        )
        return Step(ran=True)

    def _after_death(
        self, due: DuePromotion, error: WorkerLostError, started: datetime, taken: Sequence[Layer]
    ) -> Step:
        """A worker was lost on its way into the layers `taken`; after a climb the hops are tried one by one."""
        event = error.event
        log.warning(event, **_about(due), error=str(error), files=due.file_count)
        self._remove_leftovers(due, taken)
        self._grounded.add(due.items[0].batch_id)
        single = due.file_count <= 1 or due.key.is_shadow  # what a rebuild makes was read before
        if len(taken) > 1 or (single and due.deaths + 1 < _DEATHS_ALONE):
            return self._again(due, error.kind, error)
        return self._isolate(due, error.kind, str(error), started)

    def _remove_leftovers(self, due: DuePromotion, layers: Sequence[Layer]) -> None:
        """Remove what a lost worker was writing. The folders of the layers are this step's alone, quarantine is not."""
        with suppress(OSError):  # then the next start removes it
            for layer in layers:
                generation = self._ledger.promotions.generation(due.key, layer)
                remove_leftovers(self._layout.generation(layer, due.key, generation))
            for item in due.items:
                remove_leftovers(self._layout.quarantine(due.key), item.batch_id)

    def _isolate(self, due: DuePromotion, kind: str, reason: str, started: datetime) -> Step:
        """Find the file at fault: split the batch, or, when it is one file, set that aside.

        Gold only derives from what silver vouched for, and may be one of a group: there is nothing to set
        aside there.
        """
        if due.key.is_shadow:
            self._rebuilder.fail(due.key, f"batch {due.items[0].batch_id}: {reason}")
            return Step(ran=True)
        if due.target is Layer.GOLD:
            return self._again(due, kind, RetryLaterError(reason))
        record = self._failed(due, reason, started)
        if due.file_count > 1:
            halves = (new_id(), new_id())
            if due.items[0].batch_id in self._grounded:
                self._grounded.update(halves)
            self._ledger.outcomes.split(due, record, halves, new_id)
            log.warning(
                Event.BATCH_SPLIT,
                **_about(due),
                into=halves,
                files=due.file_count,
                kind=kind,
                reason=_for_logs(kind, reason),
            )
        else:
            self._ledger.outcomes.set_aside(due, record, kind, reason)
            log.warning(Event.BATCH_FAILED, **_about(due), kind=kind, reason=_for_logs(kind, reason))
        self._grounded.discard(due.items[0].batch_id)
        write_transition(self._layout, record)
        return Step(ran=True, settled=True, withdrawn=True)

    def _failed(self, due: DuePromotion, reason: str, started: datetime) -> LayerTransitionLog:
        item = due.items[0]
        rows = item.source.rows if item.source else 0
        return LayerTransitionLog.model_validate(
            {
                "transition_id": item.transition_id,
                "batch_id": item.batch_id,
                "domain": due.key.domain,
                "table": due.key.table,
                "source_layer": due.target.below,
                "target_layer": due.target,
                "row_count_in": rows,
                "rows_quarantined": rows,
                "started_at": started,
                "completed_at": utc_now(),
                "attempt": item.attempt,
                "status": "failed",
                "errors": (reason,),
            }
        )


def _about(due: DuePromotion) -> dict[str, object]:
    return {
        "domain": due.key.domain,
        "table": due.key.table,
        "batch_id": due.items[0].batch_id,
        "target_layer": str(due.target),
    }


def _for_logs(kind: str, reason: str) -> str:
    """What a log line may say: not what other people's code says of values, which logs must not hold."""
    told_by_others = kind in {"transform_failed", "refining_failed", "unexpected"}
    return f"{kind.replace('_', ' ')}: `medalliond lineage` tells the reason" if told_by_others else reason


def _tell_changes(key: TableKey, changes: Sequence[tuple[str, Sequence[ColumnChange]]]) -> None:
    """Log what batches changed of their table's columns."""
    for batch_id, changed in changes:
        told = [str(change) for change in changed]
        log.info(Event.SCHEMA_CHANGED, domain=key.domain, table=key.table, batch_id=batch_id, changes=told)


def _tell(batch: BatchOutcome) -> None:
    """Log what a transition did: a handful of lines a batch, however many files it has."""
    done = batch.transition
    about = {"domain": done.domain, "table": done.table, "batch_id": done.batch_id}
    log.info(
        Event.TRANSITION_COMPLETED,
        **about,
        source_layer=done.source_layer,
        target_layer=done.target_layer,
        rows=done.row_count_out,
        rows_in=done.row_count_in,
        quarantined=done.rows_quarantined,
        deduplicated=done.rows_deduplicated,
        filtered=done.rows_filtered,
        seconds=round(done.seconds, 4),
    )
    if batch.rows_by_rule:
        log.warning(Event.RECORDS_QUARANTINED, **about, rules=batch.rows_by_rule, file=batch.quarantine_file)
    fates = {
        "duplicate": Event.FILE_DUPLICATE,
        "set_aside": Event.FILE_SET_ASIDE,
        "returned": Event.FILE_INCOMPLETE,
    }
    for fate, event in fates.items():
        files = [file for file in batch.files if file.fate == fate]
        if files:
            log.warning(
                event, **about, files=len(files), reasons=_first_reasons(file.reason for file in files)
            )


def _first_reasons(reasons: Iterable[str | None]) -> list[str]:
    found = [reason for reason in reasons if reason]
    return [*found[:3], f"and {len(found) - 3} more"] if len(found) > 3 else found  # noqa: PLR2004 - three are read
