"""The daemon as a whole: builds every part, starts and stops them in order, and watches that they are well.

The only module that knows all rooms. Called by the commands `run` and `drain`. Stopping is the reverse of
starting: take nothing new, finish the running climbs, hand back the rest (the ledger keeps it), close the
ledger, let the lock go.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType

import structlog

from daemon.catalog.ledger.lock import RootLock
from daemon.errors import HaltError
from daemon.events import Event
from daemon.guard import Guard
from daemon.lake.durable import make_directories
from daemon.lake.layout import Layout
from daemon.lake.lost_ledger import refuse_lost_ledger
from daemon.landing.watcher import Watcher
from daemon.notify import Notifier
from daemon.parts import Parts, WorkProgress, job
from daemon.settings import Settings

log = structlog.get_logger(__name__)

_LOOK = 0.05
"""Seconds between two looks at how far a drain is."""
_STUCK = 2.0
"""Seconds beyond `settle` after which a drain gives up on files that do not become ready: somebody still has them open,
their done-marker is missing, or their contract is broken."""
FAILING = 3
"""Exit status of drain when something is still failing, or waits in landing."""


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
                parts.jobs.every(self._settings.sweep_interval, "sweep", job(parts.intake.sweep))
                parts.intake.start()
                parts.intake.sweep()
                self._notifier.ready()
                log.info(Event.DAEMON_READY)
                Guard(self._notifier, parts, watcher, self._fail).keep(self._stop, self._reload)
            finally:
                self._stopping()
                watcher.stop()
        return 1 if self._failure else 0

    def drain(self, report: Callable[[WorkProgress], None], *, takes: bool = True) -> int:
        """Carry everything that is in landing to where it belongs, then stop.

        `report` is told about it as it goes. Without `takes`, landing is left alone: only what was taken before, and what
        people asked for, is done.

        Returns 0: all of it is in gold or set aside; 3: something is still failing, or waits in landing; 1: a part of
        the daemon failed. Raises HaltError when it cannot start.
        """
        with self._signals(), self._parts() as parts:
            if takes:
                parts.intake.sweep()
                parts.intake.start()
            self._watch_drain(parts, report)
            if takes:  # what was cut short went back, which a sweep alone finds
                parts.intake.sweep()
                self._watch_drain(parts, report)
            is_done = parts.chain.is_done and parts.intake.is_idle and not parts.unanswered
            status = 0 if is_done else FAILING
            self._stopping()
        return 1 if self._failure else status

    def _watch_drain(self, parts: Parts, report: Callable[[WorkProgress], None]) -> None:
        """Return when nothing is left to do, or nothing has moved for longer than a file may need to settle."""
        patience = self._settings.settle + _STUCK
        moved_at, before = time.monotonic(), None
        while not self._stop.wait(_LOOK):
            parts.jobs.follow_clock()
            progress = parts.progress()
            report(progress)
            if progress != before:
                moved_at, before = time.monotonic(), progress
            nothing_to_take = (
                parts.intake.is_idle
            )  # looked at first: what is claimed after that is found to be the chain's
            # Retries are asked for first: what comes due between the two questions is then found to be due, not overlooked.
            if parts.retries_soon() or not parts.chain.is_idle:
                moved_at = time.monotonic()
            elif nothing_to_take or time.monotonic() - moved_at > patience:
                return

    @contextmanager
    def _parts(self) -> Iterator[Parts]:
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
            refuse_lost_ledger(self._layout)
            log.info(Event.DAEMON_STARTED, root=str(self._layout.root), version=version("medalliond"))
            parts = Parts(self._settings, self._layout, self._fail)
            try:
                parts.start()
                yield parts
            finally:
                parts.stop()
        except HaltError as error:  # also for the log, which may be all that is read of a service
            log.critical(Event.DAEMON_FAILED, reason=str(error))
            raise
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
