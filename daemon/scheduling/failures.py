"""What is done about a promotion that failed. Called by the promoter.

The machine's fault -> again later; the contract's -> again when the contract changes; the data's -> split until the file is
found, then set it aside. A batch that cost a worker goes hop by hop from then on.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from daemon.catalog.identity import new_id
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import ContractError, RejectDataError, RetryLaterError, is_machine_fault
from daemon.events import Event
from daemon.lake.durable import remove_leftovers
from daemon.lake.generations import remove_unpublished
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.clock import utc_now
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.step import Step
from daemon.scheduling.telling import about, for_logs
from daemon.scheduling.workers import WorkerLostError

log = structlog.get_logger(__name__)

_DEATHS_ALONE = 2
"""A file that has cost this many workers while it was alone is set aside."""


class Failures:
    """Answers failures."""

    def __init__(self, ledger: Ledger, layout: Layout, backoff: Backoff, rebuilder: Rebuilder) -> None:
        self._ledger = ledger
        self._layout = layout
        self._backoff = backoff
        self._rebuilder = rebuilder
        self._grounded: set[str] = set()

    def is_grounded(self, batch_id: str) -> bool:
        """Whether a batch cost a worker, so that it is to go hop by hop."""
        return batch_id in self._grounded

    def forget(self, batch_ids: Iterable[str]) -> None:
        """Forget batches that are done."""
        self._grounded.difference_update(batch_ids)

    def answer(self, due: DuePromotion, error: Exception, started: datetime, taken: Sequence[Layer]) -> Step:
        """Do what the error asks for: again later, wait for a person, or find the file at fault.

        `taken`: the layers that were being made.
        """
        if isinstance(error, WorkerLostError):
            return self._after_death(due, error, started, taken)
        if isinstance(error, ContractError):
            return self._again(due, "contract", error)
        if isinstance(error, RejectDataError):
            return self._isolate(due, error.kind, error.reason, started)
        if is_machine_fault(error):
            self._remove_leftovers(due, taken)  # it may be what could not be removed
            return self._again(due, "machine", error)
        log.error(Event.PROMOTION_FAILED, **about(due), exc_info=error)
        return self._isolate(due, "unexpected", f"{type(error).__name__}: {error}", started)

    def _again(self, due: DuePromotion, kind: str, error: Exception) -> Step:
        """Leave the promotion planned, and try it again later."""
        self._ledger.outcomes.retry(due, kind, str(error), utc_now())
        parked = kind == "contract"
        seconds = (self._backoff.park if parked else self._backoff.hold)(due.group_id, kind)
        event = Event.BATCH_PARKED if parked else Event.PROMOTION_RETRIED
        log.warning(
            event,
            **about(due),
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
        log.warning(event, **about(due), error=str(error), files=due.file_count)
        self._remove_leftovers(due, taken)
        self._grounded.add(due.items[0].batch_id)
        single = due.file_count <= 1 or due.key.is_shadow  # what a rebuild makes was read before
        if len(taken) > 1 or (single and due.deaths + 1 < _DEATHS_ALONE):
            return self._again(due, error.kind, error)
        return self._isolate(due, error.kind, str(error), started)

    def _remove_leftovers(self, due: DuePromotion, layers: Sequence[Layer]) -> None:
        """Remove what a worker was writing and left. The folders of the layers are this step's alone, quarantine is not."""
        with suppress(OSError):  # then the next start removes it
            for layer in layers:
                generation = self._ledger.promotions.generation(due.key, layer)
                remove_unpublished(self._layout, layer, due.key, generation)
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
                **about(due),
                into=halves,
                files=due.file_count,
                kind=kind,
                reason=for_logs(kind, reason),
            )
        else:
            self._ledger.outcomes.set_aside(due, record, kind, reason)
            log.warning(Event.BATCH_FAILED, **about(due), kind=kind, reason=for_logs(kind, reason))
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
