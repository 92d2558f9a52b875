"""The chain of promotions: one job per (table, hop), woken by the commit below it, by a retry, and by the sweep.

Built and started by the service; landing wakes it when a batch is claimed. A wake only says "look": what is
due is asked of the ledger, so a lost wake costs time, never data.
"""

from collections.abc import Callable

import structlog

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError
from daemon.events import Event
from daemon.lake.layout import Layout
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.jobs import Jobs
from daemon.scheduling.models import ModelRefresher
from daemon.scheduling.promoter import Promoter
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.rest import RestKeeper
from daemon.scheduling.step import Step
from daemon.scheduling.upkeep import keep_up

log = structlog.get_logger(__name__)

_MODEL_DELAY = 0.5
"""Seconds between a change of an input and the refresh of its models: changes that come together make one refresh."""


class Chain:
    """Wakes the right job when something has changed.

    `staged` is told when a table has one claimed batch less waiting.
    """

    def __init__(  # noqa: PLR0913 - the meeting point of the parts of this room; the service is its only builder
        self,
        *,
        jobs: Jobs,
        ledger: Ledger,
        layout: Layout,
        promoter: Promoter,
        rest: RestKeeper,
        models: ModelRefresher,
        rebuilder: Rebuilder,
        compactor: Compactor,
        backoff: Backoff,
        staged: Callable[[TableKey], None],
    ) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._layout = layout
        self._promoter = promoter
        self._rest = rest
        self._models = models
        self._rebuilder = rebuilder
        self._compactor = compactor
        self._backoff = backoff
        self._staged = staged

    def wake(self, key: TableKey, target: Layer) -> None:
        """Look whether a promotion of this table into `target` is due."""
        name = f"{key} {target}"
        self._jobs.wake(name, lambda: self._patiently(name, lambda: self._hop(key, target)))

    def wake_all(self) -> None:
        """Look at everything the ledger knows to be unfinished."""
        for key, target in self._ledger.promotions.due_hops():
            self.wake(key, target)
        for key in self._ledger.rest.tables():
            self._wake_rest(key)
        for key in self._ledger.rebuilds.tables():
            self.wake_rebuild(key)
        self._wake_upkeep()
        self.wake_models()

    def wake_rebuild(self, key: TableKey) -> None:
        """Look whether a rebuild of this table is to begin or to end."""
        name = f"{key} rebuild"
        self._jobs.wake(name, lambda: self._patiently(name, lambda: self._rebuild(key)))

    def wake_models(self) -> None:
        """Look, in a moment, whether gold models are due."""
        if not self._models.are_there:
            return
        self._jobs.after(_MODEL_DELAY, "models", lambda: self._patiently("models", self._refresh_models))

    def compact(self) -> bool:
        """Merge some small files, if there are enough; returns whether there may be more."""

        def work() -> bool:
            did = self._compactor.step()
            if did:
                self.wake_all()  # hops that were not let in meanwhile
            return did

        return self._patiently("compaction", work)

    def contracts_changed(self) -> None:
        """Try again at once what waited for a contract or a transform to be edited."""
        self._backoff.release("contract")
        self._ledger.rebuilds.try_again()
        self.wake_all()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do now: what is still planned waits for a retry."""
        waiting = self._backoff.waiting()
        promotions = self._ledger.promotions
        return (
            self._jobs.is_idle
            and all(
                f"{key} {target}" in waiting or promotions.due(key, target, waiting) is None
                for key, target in promotions.due_hops()
            )
            and ("models" in waiting or not self._models.due(waiting))
            and all(f"{key} rest" in waiting for key in self._ledger.rest.tables())
            and not any(
                f"{key} rebuild" not in waiting and self._rebuilder.is_due(key)
                for key in self._ledger.rebuilds.tables()
            )
        )

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do at all, now or later."""
        return not (
            self._ledger.promotions.unfinished()
            or self._models.due(())
            or self._ledger.rest.tables()
            or self._ledger.rebuilds.tables()
        )

    def _hop(self, key: TableKey, target: Layer) -> bool:
        step = self._promoter.step(key, target)
        for other in step.wanted:
            self.wake(*other)
        if not step.ran:
            self._retry_in_time()
            return False
        above = step.published[-1].above if step.published else None
        if above is not None:
            self.wake(key, above)
        if key.is_shadow:
            self.wake_rebuild(key.real)
            return True
        if not {Layer.SILVER, Layer.GOLD}.isdisjoint(step.published):
            self.wake_models()
        if step.withdrawn:  # the batch starts again from landing, split, or was set aside
            self.wake(key, Layer.STAGED)
            self._wake_upkeep()
        if target is Layer.STAGED:
            self._after_staging(key, step)
        if step.outstanding:
            self._wake_upkeep()
        if step.settled:
            self._wake_rest(key)
        return self._ledger.promotions.is_planned(key, target)

    def _after_staging(self, key: TableKey, step: Step) -> None:
        self._staged(key)
        if self._ledger.rebuilds.current(key) is not None:
            self.wake_rebuild(key)
        if step.part:
            for table in self._ledger.rest.tables():  # a workbook rests when its last sheet is staged
                self._wake_rest(table)
        if step.branched:
            self.wake_all()

    def _rebuild(self, key: TableKey) -> bool:
        if not self._rebuilder.step(key):
            return False
        self.wake_all()
        return True

    def _wake_upkeep(self) -> None:
        def work() -> bool:
            keep_up(self._ledger, self._layout)
            return False

        self._jobs.wake("upkeep", lambda: self._patiently("upkeep", work))

    def _wake_rest(self, key: TableKey) -> None:
        name = f"{key} rest"
        self._jobs.wake(name, lambda: self._patiently(name, lambda: self._rest.step(key)))

    def _refresh_models(self) -> bool:
        self._models.step()
        self._retry_in_time()
        return False

    def _patiently(self, name: str, work: Callable[[], bool]) -> bool:
        """Do `work`; when the disk or the ledger refuses, everything unfinished is looked at again after a while.

        Until that while is over, whoever wakes the job wakes it in vain: a full disk must not keep a core busy.
        """
        if name in self._backoff.waiting():
            return False
        try:
            more = work()
        except (RetryLaterError, OSError) as error:
            seconds = self._backoff.hold(name, "machine")
            log.warning(
                Event.PROMOTION_RETRIED, job=name, kind="machine", error=str(error), seconds=round(seconds, 3)
            )
            self._retry_in_time()
            return False
        self._backoff.forget(name)
        return more

    def _retry_in_time(self) -> None:
        """Set the one timer of all that wait, for the first of them."""
        seconds = self._backoff.seconds_to_next()
        if seconds is not None:
            self._jobs.after(seconds, "retries", self._retry)

    def _retry(self) -> bool:
        self.wake_all()
        self._retry_in_time()
        return False
