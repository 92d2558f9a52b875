"""The guard: looks once a second whether everything is truly well, and only then feeds systemd's watchdog.

Owned by the service, in the main thread.
"""

import threading
import time

import structlog

from daemon.events import Event
from daemon.landing.watcher import Watcher
from daemon.notify import Notifier
from daemon.parts import Fail, Parts

log = structlog.get_logger(__name__)

_TICK = 1.0
"""Seconds between two looks at the health of everything."""
_BLIND = 30.0
"""Seconds a watcher may stay blind although it is rebuilt; then systemd is left to restart the service."""


class Guard:
    """Watches the watcher, the clock and the threads until it is told to stop."""

    def __init__(
        self,
        notifier: Notifier,
        parts: Parts,
        watcher: Watcher,
        fail: Fail,
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
            if self._watcher.sees:  # one that was just rebuilt is not yet proved to see
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
        paused = self._parts.intake.paused
        return (
            f"{f'intake is paused, {paused}; ' if paused else ''}"
            f"{progress.files_waiting} files waiting, {progress.batches_in_flight} batches in flight, "
            f"{progress.rows_in_gold} rows in gold"
        )
