"""The daemon as a whole: builds every part, starts and stops them in order, and watches that they are well.

The only module that knows all rooms. Called by the commands `run` and `drain`. Stopping is the reverse of
starting: take nothing new, finish the running hops, hand back the rest (the ledger keeps it), close the
ledger, let the lock go.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from types import FrameType

import structlog

from daemon.catalog.contract_store import ContractStore
from daemon.catalog.ledger import Ledger
from daemon.catalog.ledger.lock import RootLock
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.errors import ContractError
from daemon.events import Event
from daemon.lake.durable import make_directories
from daemon.lake.layout import Layout
from daemon.landing.candidates import Candidates
from daemon.landing.claims import Claims
from daemon.landing.intake import Intake
from daemon.landing.watcher import Watcher
from daemon.notify import Notifier
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.chain import Chain
from daemon.scheduling.clock import utc_now
from daemon.scheduling.jobs import Jobs
from daemon.scheduling.models import ModelRefresher
from daemon.scheduling.promoter import Promoter
from daemon.scheduling.recovery import recover
from daemon.scheduling.rest import RestKeeper
from daemon.scheduling.workers import WorkerPool
from daemon.settings import Settings

log = structlog.get_logger(__name__)

_TICK = 1.0
"""Seconds between two looks at the health of everything."""
_CONTRACTS = 2.0
"""Seconds between two looks at the contracts and transforms."""
_BLIND = 30.0
"""Seconds a watcher may stay blind although it is rebuilt; then systemd is left to restart the service."""
_LOOK = 0.02
"""Seconds between two looks at how far a drain is."""
_STUCK = 2.0
"""Seconds beyond `settle` after which a drain gives up on files that do not become ready: somebody still has them open,
their done-marker is missing, or their contract is broken."""
_PATIENCE = 10.0
"""Drain waits for a retry that is due within this many seconds, and gives up on the others."""
_FAILING = 3
"""Exit status of drain when something is still failing."""


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a drain is: files in landing, files at rest, batches between them, rows in gold."""

    files_waiting: int
    files_done: int
    batches_in_flight: int
    rows_in_gold: int


class Service:
    """One daemon on one root."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(settings.root)
        self._notifier = Notifier()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._failure: str | None = None

    def run(self) -> int:
        """Work until SIGTERM or Ctrl-C. Returns 0, or 1 when a part of the daemon failed.

        Raises HaltError when it cannot start.
        """
        with self._signals(), self._parts() as parts:
            watcher = Watcher(self._layout.landing, parts.intake.hint, parts.intake.sweep)
            watcher.start()
            try:
                parts.jobs.every(self._settings.sweep_interval, "sweep", _job(parts.intake.sweep))
                parts.intake.start()
                parts.intake.sweep()
                self._notifier.ready()
                log.info(Event.DAEMON_READY)
                _Guard(self._notifier, parts, watcher, self._fail).keep(self._stop, self._reload)
            finally:
                self._stopping()
                watcher.stop()
        return 1 if self._failure else 0

    def drain(self, report: Callable[[DrainProgress], None]) -> int:
        """Carry everything that is in landing to where it belongs, then stop.

        `report` is told about it as it goes.

        Returns 0: all of it is in gold or set aside; 3: something is still failing; 1: a part of the daemon
        failed. Raises HaltError when it cannot start.
        """
        with self._signals(), self._parts() as parts:
            parts.intake.sweep()
            parts.intake.start()
            self._watch_drain(parts, report)
            status = 0 if parts.chain.is_done and parts.intake.is_idle else _FAILING
            self._stopping()
        return 1 if self._failure else status

    def _watch_drain(self, parts: "_Parts", report: Callable[[DrainProgress], None]) -> None:
        """Return when nothing is left to do, or nothing has moved for longer than a file may need to settle."""
        patience = self._settings.settle + _STUCK
        moved_at, before = time.monotonic(), None
        while not self._stop.wait(_LOOK):
            progress = parts.progress()
            report(progress)
            if progress != before:
                moved_at, before = time.monotonic(), progress
            if not parts.chain.is_idle or parts.retries_soon():
                moved_at = time.monotonic()
            elif parts.intake.is_idle or time.monotonic() - moved_at > patience:
                return

    @contextmanager
    def _parts(self) -> Iterator["_Parts"]:
        """Everything built and started but intake and watcher; put away again in reverse."""
        began = time.monotonic()
        for folder in (
            self._layout.landing / ".claimed",
            self._layout.data,
            self._layout.catalog,
            self._layout.contracts,
        ):
            make_directories(folder)
        lock = RootLock.acquire(self._layout.lock)
        try:
            log.info(Event.DAEMON_STARTED, root=str(self._layout.root), version=version("medalliond"))
            parts = _Parts(self._settings, self._layout, self._fail)
            try:
                parts.start()
                yield parts
            finally:
                parts.stop()
        finally:
            lock.release()
            log.info(Event.DAEMON_STOPPED, seconds=round(time.monotonic() - began, 3))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop, SIGHUP reads the contracts again; a second SIGINT is no different from the first."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stop.set()

        def reload(_number: int, _frame: FrameType | None) -> None:
            self._reload.set()

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stopping(self) -> None:
        self._notifier.stopping()
        log.info(Event.DAEMON_STOPPING, reason=self._failure or "asked to")

    def _fail(self, part: str, error: BaseException | str) -> None:
        """A part met a bug or died: stop, with an error, for systemd to start anew."""
        reason = f"{part}: {error if isinstance(error, str) else f'{type(error).__name__}: {error}'}"
        self._failure = self._failure or reason
        exception = error if isinstance(error, BaseException) else None
        log.critical(Event.DAEMON_FAILED, reason=reason, exc_info=exception)
        self._stop.set()


class _Parts:
    """The parts of a working daemon, each handed what it needs."""

    def __init__(
        self, settings: Settings, layout: Layout, fail: Callable[[str, BaseException | str], None]
    ) -> None:
        self._settings = settings
        self._layout = layout
        self.contracts = ContractStore(layout.contracts)
        self._transforms = _signature(layout)
        self.ledger = Ledger.open(layout.ledger)
        self._claims = Claims(self.ledger.intake, layout)
        self.workers = WorkerPool(settings.workers, settings.worker_timeout)
        self.backoff = Backoff(settings.retry_base, settings.retry_cap, time.monotonic)
        self.jobs = Jobs(4 * settings.workers + 4, fail)
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
                grace=timedelta(seconds=settings.generation_grace),
            ),
            rest=RestKeeper(self.ledger, layout, self.contracts, settings.archive),
            models=ModelRefresher(self.ledger, layout, self.contracts, self.workers, self.backoff),
            backoff=self.backoff,
            staged=lambda key: self.intake.staged(key),  # noqa: PLW0108 - intake is built below
        )
        self.intake = Intake(
            candidates=Candidates(
                layout.landing,
                rules=lambda key: self.contracts.get(key).landing,
                route=self.contracts.route,
                settle=settings.settle,
                kept=self.ledger.intake.kept_in_landing,
            ),
            claims=self._claims,
            ledger=self.ledger,
            limit=self._limit,
            now=utc_now,
            claimed=lambda key: self.chain.wake(key, Layer.STAGED),
            failed=lambda error: fail("intake", error),
        )

    def start(self) -> None:
        """Put right what an earlier run left, then go on with what is unfinished."""
        self.workers.warm_up()
        self.read_contracts()
        self._claims.recover(utc_now())
        recover(self.ledger, self._layout)
        self.jobs.start()
        self.jobs.every(_CONTRACTS, "contracts", _job(self.read_contracts))
        self.jobs.every(self._settings.sweep_interval, "look", _job(self.chain.wake_all))
        self.chain.wake_all()

    def stop(self) -> None:
        """Claim nothing more, finish the running hops, close the ledger."""
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
        for key in reload.changed:
            log.info(Event.CONTRACT_RELOADED, domain=key.domain, table=key.table)
        transforms = _signature(self._layout)
        if reload.changed or transforms != self._transforms:
            self._transforms = transforms
            self.chain.contracts_changed()

    def retries_soon(self) -> bool:
        """Whether something that failed is tried again in a moment."""
        seconds = self.backoff.seconds_to_next()
        return seconds is not None and seconds < _PATIENCE

    def progress(self) -> DrainProgress:
        """How far the work is."""
        views = self.ledger.views
        return DrainProgress(
            files_waiting=self.intake.waiting,
            files_done=views.files_at_rest(),
            batches_in_flight=sum(views.batches_in_flight().values()),
            rows_in_gold=sum(totals.rows for totals in views.layers() if totals.layer is Layer.GOLD),
        )

    @property
    def trouble(self) -> str | None:
        """Which part is dead, None when all are well."""
        wells = {
            "intake": self.intake.is_well,
            "scheduler": self.jobs.is_well,
            "workers": self.workers.is_well,
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


class _Guard:
    """Looks once a second whether everything is truly well, and only then feeds systemd's watchdog."""

    def __init__(
        self,
        notifier: Notifier,
        parts: _Parts,
        watcher: Watcher,
        fail: Callable[[str, BaseException | str], None],
    ) -> None:
        self._notifier = notifier
        self._parts = parts
        self._watcher = watcher
        self._fail = fail
        self._blind_since: float | None = None

    def keep(self, stop: threading.Event, reload: threading.Event) -> None:
        """Guard until `stop` is set; `reload` asks for the contracts to be read again."""
        while not stop.wait(_TICK):
            if reload.is_set():
                reload.clear()
                self._notifier.reloading()
                self._parts.read_contracts()
                self._notifier.ready()
            step = self._parts.jobs.follow_clock()
            if step:
                log.warning(Event.CLOCK_STEPPED, seconds=step.total_seconds())
            trouble = self._parts.trouble
            if trouble:
                self._fail(trouble, "its thread has ended")
            elif self._watcher_is_well():
                self._notifier.watchdog()
            self._notifier.status(self._summary())

    def _watcher_is_well(self) -> bool:
        """Ask the canary; rebuild a blind watcher and sweep for what it missed."""
        blindness = self._watcher.health()
        self._watcher.ask_canary()
        if blindness is None:
            self._blind_since = None
            return True
        now = time.monotonic()
        if self._blind_since is None:
            self._blind_since = now
        log.error(Event.WATCHER_BLIND, reason=blindness)
        if now - self._blind_since > _BLIND:
            self._fail("watcher", f"blind for {_BLIND:g} s: {blindness}")
            return False
        try:
            self._watcher.rebuild()
        except OSError as error:
            log.warning(Event.WATCHER_BLIND, reason=str(error))
        else:
            log.info(Event.WATCHER_REBUILT, seconds=round(time.monotonic() - now, 4))
        self._parts.intake.sweep()
        return True

    def _summary(self) -> str:
        progress = self._parts.progress()
        return (
            f"{progress.files_waiting} files waiting, {progress.batches_in_flight} batches in flight, "
            f"{progress.rows_in_gold} rows in gold"
        )


def _job(act: Callable[[], None]) -> Callable[[], bool]:
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
