"""One promotion, from the ledger's plan to its commit: asks what is due, sends it to a worker, makes the outcome the truth.

Called by the chain, one (table, hop) at a time. What the outcome was decides what happens: machine's fault ->
again later; contract's fault -> again when the contract changes; the data's fault -> split until the file is
found, then set it aside.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from daemon.catalog.columns import TableColumns
from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger import DuePromotion, KnownContentError, Ledger, StaleSourceError
from daemon.catalog.promotion import BatchOutcome, PromotionOutcome, PromotionTask, TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import ContractError, RejectDataError, RetryLaterError, is_machine_fault
from daemon.events import Event
from daemon.lake.durable import remove_leftovers
from daemon.lake.generations import ensure_generation, point_link
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.clock import utc_now
from daemon.scheduling.rebuilder import Rebuilder, contract_in_force
from daemon.scheduling.tables import TableNotes
from daemon.scheduling.tasks import promote
from daemon.scheduling.workers import StoppingError, WorkerLostError, WorkerPool

log = structlog.get_logger(__name__)

_DEATHS_ALONE = 2
"""A file that has cost this many workers while it was alone is set aside."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    `ran`: a promotion was due; `published`: it changed the target layer; `settled`: the fate of dropped files is known
    now; `withdrawn`: a batch was taken back; `outstanding`: the disk does not show yet what the ledger says;
    `branched`: other tables have batches by it.
    """

    ran: bool
    published: bool = False
    settled: bool = False
    withdrawn: bool = False
    outstanding: bool = False
    branched: bool = False


class Promoter:
    """Carries batches up, one hop at a time.

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
        grace: timedelta,
        incomplete_wait: float,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._contracts = contracts
        self._workers = workers
        self._backoff = backoff
        self._rebuilder = rebuilder
        self._grace = grace
        self._incomplete_wait = incomplete_wait
        self._tables = TableNotes(layout)
        self._recognised: dict[str, frozenset[str]] = {}

    def step(self, key: TableKey, target: Layer) -> Step:
        """Carry out the oldest due promotion of a hop, if there is one."""
        due = self._ledger.promotions.due(key, target, self._backoff.waiting())
        if due is None:
            return Step(ran=False)
        started = utc_now()
        try:
            task = self._task(due, contract_in_force(self._contracts, self._ledger, key))
            outcome = self._workers.call(promote, task)
            return self._commit(due, task, outcome)
        except KnownContentError as error:
            self._recognised[due.group_id] = error.hashes
            return Step(ran=True)
        except StaleSourceError:
            return Step(ran=True)
        except StoppingError:
            return Step(ran=False)
        except Exception as error:  # noqa: BLE001 - every kind has its answer
            return self._answer(due, error, started)

    def _answer(self, due: DuePromotion, error: Exception, started: datetime) -> Step:
        """Do what the error asks for: again later, wait for a person, or find the file at fault."""
        if isinstance(error, ContractError):
            return self._again(due, "contract", error)
        if isinstance(error, RejectDataError):
            return self._isolate(due, error.kind, error.reason, started)
        if isinstance(error, WorkerLostError):
            return self._after_death(due, error, started)
        if is_machine_fault(error):
            return self._again(due, "machine", error)
        log.error(Event.PROMOTION_FAILED, **_about(due), exc_info=error)
        return self._isolate(due, "unexpected", f"{type(error).__name__}: {error}", started)

    def _task(self, due: DuePromotion, contract: Contract) -> PromotionTask:
        promotions = self._ledger.promotions
        generation = promotions.generation(due.key, due.target)
        ensure_generation(self._layout, due.target, due.key, generation)
        task = PromotionTask(
            root=self._layout.root,
            key=due.key,
            target=due.target,
            items=due.items,
            contract=contract,
            source_generation=1
            if due.target is Layer.STAGED
            else promotions.generation(due.key, due.target.below),
            generation=generation,
            next_generation=promotions.next_generation(due.key, due.target),
            columns=promotions.columns(due.key)
            if due.target in {Layer.STAGED, Layer.BRONZE}
            else TableColumns(),
        )
        if due.target is Layer.STAGED:
            sources = tuple(
                replace(file, path=self._layout.root / file.path) for file in due.items[0].sources
            )
            return replace(
                task,
                items=(replace(due.items[0], sources=sources),),
                known_hashes=promotions.known_hashes(due.key, sources)
                | self._recognised.pop(due.group_id, frozenset()),
                known_names=promotions.known_names(due.key, sources)
                if contract.landing.revisions == "reject"
                else frozenset(),
                incomplete_since=time.time() - self._incomplete_wait,
                replays=self._ledger.quarantine.taken_up_again(due.key, [file.name for file in sources]),
            )
        dedup = contract.silver.dedup
        if due.target is Layer.SILVER:
            released = self._ledger.quarantine.released(due.key.real, due.items[0].batch_id)
            task = replace(task, released=released)
        if due.target is Layer.SILVER and dedup is not None and dedup.across_batches:
            return replace(
                task,
                published=promotions.published(due.key, Layer.SILVER),
                published_transitions=promotions.published_transitions(due.key, Layer.SILVER),
                lower_published=promotions.published(due.key, Layer.BRONZE),
            )
        if any(item.replaces for item in due.items):
            return replace(task, published=promotions.published(due.key, due.target))
        return task

    def _commit(self, due: DuePromotion, task: PromotionTask, outcome: PromotionOutcome) -> Step:
        now = utc_now()
        done = self._ledger.outcomes.commit(task, outcome, new_id, now, now + self._grace)
        self._backoff.forget(due.group_id)
        outstanding = not self._make_visible(task, outcome)
        for batch in (*outcome.items, *outcome.rewritten):
            _tell(batch)
        for warning in outcome.warnings:
            log.warning(Event.CHECK_WARNED, domain=task.key.domain, table=task.key.table, warning=warning)
        for batch_id in done:
            log.info(Event.BATCH_COMPLETED, domain=task.key.domain, table=task.key.table, batch_id=batch_id)
        settled = bool(done) or any(file.fate != "staged" for batch in outcome.items for file in batch.files)
        branched = any(file.parts for batch in outcome.items for file in batch.files)
        return Step(ran=True, published=True, settled=settled, outstanding=outstanding, branched=branched)

    def _make_visible(self, task: PromotionTask, outcome: PromotionOutcome) -> bool:
        """Show on disk what the ledger has committed; returns False where the disk refuses: upkeep does it then."""
        try:
            if outcome.generation != task.generation and not task.key.is_shadow:
                point_link(self._layout, task.target, task.key, outcome.generation)
                log.info(
                    Event.GENERATION_PUBLISHED,
                    domain=task.key.domain,
                    table=task.key.table,
                    layer=task.target,
                    generation=outcome.generation,
                )
            for batch in (*outcome.items, *outcome.rewritten):
                write_transition(self._layout, batch.transition)
                self._ledger.outcomes.filed([batch.transition.transition_id])
                self._tables.note(task.key.real, task.target, batch)
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

    def _after_death(self, due: DuePromotion, error: WorkerLostError, started: datetime) -> Step:
        event = error.event
        log.warning(event, **_about(due), error=str(error), files=due.file_count)
        self._remove_leftovers(due)
        alone = due.file_count <= 1 or due.key.is_shadow  # what a rebuild makes was read before
        if alone and due.deaths + 1 < _DEATHS_ALONE:
            return self._again(due, error.kind, error)
        return self._isolate(due, error.kind, str(error), started)

    def _remove_leftovers(self, due: DuePromotion) -> None:
        """Remove what a lost worker was writing. The folder of a layer is this hop's alone, quarantine is not."""
        generation = self._ledger.promotions.generation(due.key, due.target)
        with suppress(OSError):  # then the next start removes it
            remove_leftovers(self._layout.generation(due.target, due.key, generation))
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
