"""The parts of a working daemon, built and handed what they need, started and stopped in order. Owned by the service."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from daemon.catalog.compaction import CompactionLimits
from daemon.catalog.contract import CompactionRules
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import sort_after
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.errors import ContractError, HaltError, RetryLaterError
from daemon.events import Event
from daemon.lake.layout import Layout
from daemon.lake.room import Room
from daemon.landing.candidates import Candidates
from daemon.landing.claims import Claims
from daemon.landing.intake import Intake
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.chain import Chain
from daemon.scheduling.clock import utc_now
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.jobs import Jobs
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.models import ModelRefresher
from daemon.scheduling.promoter import Promoter
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.recovery import recover
from daemon.scheduling.requests import RequestDesk
from daemon.scheduling.rest import RestKeeper
from daemon.scheduling.workers import WorkerPool
from daemon.settings import Settings

log = structlog.get_logger(__name__)

Fail = Callable[[str, BaseException | str], None]
"""Told which part of the daemon met a bug or died, and how."""

_SOON = 10.0
"""A drain stays for a retry that waits less than so many seconds; for others it does not."""
_CONTRACTS = 2.0
"""Seconds between two looks at the contracts and transforms."""
_REQUESTS = 1.0
"""Seconds between two looks at what people ask for."""


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """How far the work is: files in landing, files at rest, batches between them, rows in gold."""

    files_waiting: int
    files_done: int
    batches_in_flight: int
    rows_in_gold: int


class Parts:
    """The parts of a working daemon, each handed what it needs.

    `unanswered`: the machine refused the last look at what people ask for.
    """

    def __init__(self, settings: Settings, layout: Layout, fail: Fail) -> None:
        self._settings = settings
        self._layout = layout
        self._fail = fail
        self.contracts = ContractStore(layout.contracts)
        self._transforms = _signature(layout)
        self.unanswered = False
        self.ledger = Ledger.open(layout.ledger)
        newest = self.ledger.promotions.newest_id()
        if newest:  # the wall clock may have been set back while no daemon ran
            sort_after(newest)
        self._claims = Claims(self.ledger.intake, layout)
        self.workers = WorkerPool(settings.workers, settings.worker_timeout, settings.worker_memory)
        self.backoff = Backoff(settings.retry_base, settings.retry_cap, time.monotonic)
        self.jobs = Jobs(4 * settings.workers + 4, fail)
        grace = timedelta(seconds=settings.generation_grace)
        lanes = Lanes(large=max(1, settings.workers - 1))
        compactor = Compactor(
            ledger=self.ledger,
            layout=layout,
            workers=self.workers,
            lanes=lanes,
            limits=self._compaction,
            grace=grace,
        )
        rebuilder = Rebuilder(
            ledger=self.ledger,
            layout=layout,
            contracts=self.contracts,
            workers=self.workers,
            compactor=compactor,
            grace=grace,
        )
        self.chain = Chain(
            jobs=self.jobs,
            ledger=self.ledger,
            layout=layout,
            promoter=Promoter(
                ledger=self.ledger,
                layout=layout,
                contracts=self.contracts,
                workers=self.workers,
                backoff=self.backoff,
                rebuilder=rebuilder,
                lanes=lanes,
                compactor=compactor,
                grace=grace,
                incomplete_wait=settings.incomplete_wait,
            ),
            rest=RestKeeper(
                self.ledger, layout, self.contracts, policy=settings.archive, receipts=settings.receipts
            ),
            models=ModelRefresher(self.ledger, layout, self.contracts, self.workers, self.backoff),
            rebuilder=rebuilder,
            compactor=compactor,
            backoff=self.backoff,
            staged=lambda key: self.intake.staged(key),  # noqa: PLW0108 - intake is built below
        )
        self._desk = RequestDesk(self.ledger, layout, self.chain.wake_all)
        self.intake = Intake(
            candidates=Candidates(
                layout.landing,
                rules=lambda key: self.contracts.get(key).landing,
                route=self.contracts.route,
                settle=settings.settle,
                known=self.ledger.intake.known,
                incomplete_wait=settings.incomplete_wait,
            ),
            claims=self._claims,
            ledger=self.ledger,
            limit=self._limit,
            shortage=Room(layout, settings.floor).shortage,
            now=utc_now,
            claimed=lambda key: self.chain.wake(key, Layer.STAGED),
            failed=lambda error: fail("intake", error),
        )

    def start(self) -> None:
        """Put right what an earlier run left, then go on with what is unfinished."""
        self.workers.warm_up()
        self.read_contracts()
        self._claims.recover(utc_now())
        recover(self.ledger, self._layout, self.contracts.models())
        self.jobs.start()
        self.jobs.every(_CONTRACTS, "contracts", job(self.read_contracts))
        self.jobs.every(_REQUESTS, "requests", job(self._answer_requests))
        self.jobs.every(self._settings.sweep_interval, "look", job(self.chain.wake_all))
        self.jobs.every(self._settings.sweep_interval, "compaction", self.chain.compact)
        if not self.ledger.is_checked:
            self.jobs.wake("ledger check", job(self._check_ledger))
        self._answer_requests()
        self.chain.wake_all()

    def stop(self) -> None:
        """Claim nothing more, finish the running climbs, close the ledger."""
        self.intake.stop()
        self.jobs.stop()
        self.workers.stop(self._settings.shutdown_grace)
        self.jobs.join()
        self.ledger.close()

    def read_contracts(self) -> None:
        """Read contracts that have changed, say what is broken, and wake what waited for an edit."""
        reload = self.contracts.reload()
        for path, message in reload.broken.items():
            log.error(Event.CONTRACT_BROKEN, path=path, reason=message)
        for key in (key for key in reload.changed if key not in reload.parked):
            log.info(Event.CONTRACT_RELOADED, domain=key.domain, table=key.table)
        transforms = _signature(self._layout)
        if reload.changed or transforms != self._transforms:
            self._transforms = transforms
            self.chain.contracts_changed()

    def _check_ledger(self) -> None:
        """Look at a ledger that was too large to be looked at before the start; a damaged one stops the daemon."""
        try:
            self.ledger.check()
        except (HaltError, RetryLaterError) as error:
            self._fail("ledger", error)

    def _answer_requests(self) -> None:
        """Carry out what people asked for; what the machine refuses is tried again at the next look."""
        try:
            self._desk.look()
            self.unanswered = False
        except (OSError, RetryLaterError) as error:
            self.unanswered = True
            log.warning(Event.PROMOTION_RETRIED, job="requests", kind="machine", error=str(error))

    def retries_soon(self) -> bool:
        """Whether something that failed is tried again before long; what has failed so often that it waits longer is not.

        By the whole wait, not by what is left of it: of many that wait for long, one is always due in a moment.
        """
        return self.backoff.any_shorter_than(_SOON)

    def progress(self) -> WorkProgress:
        """How far the work is."""
        views = self.ledger.views
        return WorkProgress(
            files_waiting=self.intake.waiting,
            files_done=views.files_at_rest(),
            batches_in_flight=sum(views.batches_in_flight().values()),
            rows_in_gold=views.rows_in_gold(),
        )

    @property
    def trouble(self) -> str | None:
        """Which part is dead, None when all are well."""
        wells = {
            "intake": self.intake.is_well,
            "scheduler": self.jobs.is_well,
            "workers": self.workers.heal(),
        }
        return next((name for name, well in wells.items() if not well), None)

    def _limit(self, key: TableKey) -> tuple[int, int]:
        defaults = self._settings.batch
        try:
            limits = self.contracts.get(key).landing.batch
        except (
            ContractError
        ):  # the batch is parked until the contract is mended; its size then does not matter
            return defaults.max_files, defaults.max_bytes
        return limits.max_files or defaults.max_files, limits.max_bytes or defaults.max_bytes

    def _compaction(self, key: TableKey) -> CompactionLimits:
        defaults = self._settings.compaction
        try:
            rules = self.contracts.get(key).compaction
        except ContractError:
            rules = CompactionRules()
        return CompactionLimits(
            min_files=defaults.min_files if rules.min_files is None else rules.min_files,
            max_bytes=rules.max_bytes or defaults.max_bytes,
            min_age=defaults.min_age if rules.min_age is None else rules.min_age,
        )


def job(act: Callable[[], None]) -> Callable[[], bool]:
    """`act` as a job that never has more to do."""

    def work() -> bool:
        act()
        return False

    return work


def _signature(layout: Layout) -> tuple[tuple[str, int, int], ...]:
    """What the transforms look like from outside; differs when one was edited."""
    files = sorted(layout.transforms.glob("*.py")) if layout.transforms.is_dir() else []
    facts = [(path.name, path.stat()) for path in files]
    return tuple((name, found.st_mtime_ns, found.st_size) for name, found in facts)
