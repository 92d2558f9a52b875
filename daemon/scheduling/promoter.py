"""Promotions from the ledger's plan to their commit: asks what is due, sends it to a worker, makes the outcome the truth.

Called by the chain, one (table, hop) at a time. A batch that nothing stands in the way of climbs several hops in one call
of a worker; what came of them is committed together. What failed is answered by failures.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import zip_longest

import structlog

from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.outcomes import Hop, KnownContentError
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.promotion import (
    Climb,
    PromotionOutcome,
    PromotionTask,
    TableKey,
    following,
)
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import SharedFileError
from daemon.events import Event
from daemon.lake.generations import point_link
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.clock import utc_now
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.failures import Failures
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.planning import Planner
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.recovery import remove_uncommitted
from daemon.scheduling.step import Step
from daemon.scheduling.tables import TableNotes
from daemon.scheduling.tasks import climb
from daemon.scheduling.telling import tell, tell_changes
from daemon.scheduling.workers import StoppingError, WorkerPool

log = structlog.get_logger(__name__)


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
        self._failures = Failures(ledger, layout, backoff, rebuilder)
        self._compactor = compactor
        self._grace = grace
        self._tables = TableNotes(layout)
        self._lanes = lanes
        self._planner = Planner(ledger, layout, contracts, lanes, incomplete_wait)
        self._unclean: set[str] = set()
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
            batches = [item.batch_id for item in due.items]
            replaced = [item.batch_id for item in due.items if item.replaces is not None]
            if self._compactor.take_apart(due.key, due.target, replaced):
                return Step(ran=True)
            self._clean(due.key, due.target, batches)
            recognised = self._recognised.pop(due.group_id, frozenset())
            plan = self._planner.plan(
                due, recognised, taken, climbs=not self._failures.is_grounded(batches[0])
            )
            self._unclean.update(batches)
            try:
                outcomes = self._workers.call(climb, plan)
            except SharedFileError as error:
                self._compactor.take_apart(due.key, due.target, error.batch_ids)
                return Step(ran=True)
            return self._commit(due, plan, outcomes)
        except StoppingError:
            return Step(ran=False)
        except Exception as error:  # noqa: BLE001 - every kind has its answer
            step = self._failures.answer(due, error, started, taken)
            if step.withdrawn:  # nobody does it again
                self._unclean.difference_update(item.batch_id for item in due.items)
            return step

    def _clean(self, key: TableKey, target: Layer, batches: Iterable[str]) -> None:
        """Remove what calls that came to no good end have left of batches in `target` and above, where they are new.

        A batch that is made again takes the place of what is left of it, but not one that has lost all its rows meanwhile.
        Raises OSError.
        """
        unclean = self._unclean.intersection(batches)
        for hop in self._ledger.promotions.uncommitted() if unclean else ():
            if hop.key == key and hop.batch_id in unclean and hop.layer in {target, *target.all_above}:
                generation = self._ledger.promotions.generation(key, hop.layer)
                remove_uncommitted(
                    self._layout,
                    key,
                    hop.layer,
                    generation,
                    hop.batch_id,
                    with_quarantine=not hop.has_quarantine,
                )
        self._unclean -= unclean

    def _give_up(self, task: PromotionTask) -> None:
        """Take back what was published from a void hop on; what the disk refuses goes before the hop is done again."""
        with suppress(OSError):
            self._clean(task.key, task.target, [item.batch_id for item in task.items])

    def _commit(self, due: DuePromotion, plan: Climb, outcomes: Sequence[PromotionOutcome]) -> Step:
        """Make the outcomes of a climb the truth; from a void one on they are due again.

        Raises RetryLaterError where the ledger refuses, OSError where the tables' metadata cannot be written. What was
        published stays then until it is tried again: a commit whose sync failed may come back after a death, until the
        ledger answers again (`Store.settle`).
        """
        self._note(plan, outcomes)
        hops = list(self._hops(plan, outcomes))
        now = utc_now()
        try:
            made = self._ledger.outcomes.commit(hops, new_id, now, now + self._grace)
        except StaleSourceError as error:
            if isinstance(error, KnownContentError):
                self._recognised[due.group_id] = error.hashes
            self._give_up(plan.task)
            return Step(ran=True)
        if made:
            self._backoff.forget(due.group_id)
        if len(made) < len(outcomes):
            self._give_up(plan.tasks[len(made)])
        elif hops[-1].then is None:
            self._unclean.difference_update(item.batch_id for item in due.items)
        for found in made:
            tell_changes(plan.task.key, found.changes)
        done = [batch_id for found in made for batch_id in found.done]
        return self._step(plan.task.key, hops[: len(made)], done)

    def _hops(self, plan: Climb, outcomes: Sequence[PromotionOutcome]) -> Iterator[Hop]:
        """The outcomes as they are to be committed, up to one that lost its ground: a batch that it rewrote is gone."""
        task: PromotionTask | None = plan.task
        for outcome, above in zip_longest(outcomes, plan.above[: len(outcomes)]):
            assert task is not None  # noqa: S101 - a climb ends where nothing follows
            then = following(plan, task, outcome, above) if above else None
            try:
                recorded = self._recorded(task, outcome)
            except StaleSourceError:
                return
            yield Hop(task, recorded, then)
            task = then

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

    def _step(self, key: TableKey, committed: Sequence[Hop], done: Sequence[str]) -> Step:
        """Show and tell what was committed."""
        outstanding = not self._make_visible(key, committed)
        for _, outcome, _ in committed:
            for batch in (*outcome.items, *outcome.rewritten):
                tell(batch)
            for warning in outcome.warnings:
                log.warning(Event.CHECK_WARNED, domain=key.domain, table=key.table, warning=warning)
        self._failures.forget(done)
        for batch_id in done:
            log.info(Event.BATCH_COMPLETED, domain=key.domain, table=key.table, batch_id=batch_id)
        files = [file for _, outcome, _ in committed for batch in outcome.items for file in batch.files]
        return Step(
            ran=True,
            published=tuple(task.target for task, _, _ in committed),
            settled=bool(done) or any(file.fate != "staged" for file in files),
            outstanding=outstanding,
            branched=any(file.parts for file in files),
            part=any(
                source.sheet is not None for task, _, _ in committed for source in task.items[0].sources
            ),
        )

    def _make_visible(self, key: TableKey, committed: Sequence[Hop]) -> bool:
        """Show on disk what the ledger has committed; returns False where the disk refuses: upkeep does it then."""
        try:
            for task, outcome, _ in committed:
                if outcome.generation != task.generation and not key.is_shadow:
                    point_link(self._layout, task.target, key, outcome.generation)
                    log.info(
                        Event.GENERATION_PUBLISHED,
                        domain=key.domain,
                        table=key.table,
                        layer=task.target,
                        generation=outcome.generation,
                    )
            for _, outcome, _ in committed:
                for batch in (*outcome.items, *outcome.rewritten):
                    write_transition(self._layout, batch.transition)
                    self._ledger.outcomes.filed([batch.transition.transition_id])
        except OSError as error:
            log.warning(Event.PROMOTION_RETRIED, kind="machine", error=str(error))
            return False
        return True
