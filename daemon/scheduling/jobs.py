"""Named jobs on a few threads, at once or later: none is missed, merged or run beside itself, whatever the clock does.

The chain and the service hand it work by name; it knows nothing of tables. What has a time is APScheduler's, with its
defaults corrected (design/facts: `misfire_grace_time=1` loses jobs in silence, and a wall clock that steps back stops
every job until it has caught up); what is to be done at once goes to the threads without that detour.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor as Ringers
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

_STEP = timedelta(seconds=2)
_INSTANCES = 1000


class Jobs:
    """Named jobs on a few threads. A job that raises has met a bug: `failed` is told, and the daemon stops."""

    def __init__(self, threads: int, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._threads = ThreadPoolExecutor(threads, "jobs")
        self._scheduler = BackgroundScheduler(
            executors={"default": Ringers(1)},  # a timer that rings only wakes
            # A timer may come due again while the thread of the time before has not returned. With the default limit it
            # would be lost.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": _INSTANCES},
            timezone=UTC,
        )
        self._lock = threading.Lock()
        self._awake: set[str] = set()
        self._early: list[tuple[str, Callable[[], bool]]] | None = []
        """What was woken before the start; None from then on."""
        self._again: dict[str, Callable[[], bool]] = {}
        self._due: dict[str, float] = {}
        self._stopped = False
        self._clock_offset = _clock_offset()

    def start(self) -> None:
        """Begin to run jobs."""
        self._scheduler.start()
        with self._lock:
            early, self._early = self._early or [], None
        for name, work in early:
            self._submit(name, work)

    def wake(self, name: str, work: Callable[[], bool]) -> None:
        """Run `work` soon on some thread, never beside itself; a wake during its run makes it run once more.

        `work` returns whether there is more to do; then it queues again behind the others, so that no table
        starves.
        """
        with self._lock:
            if self._stopped:
                return
            if name in self._awake:
                self._again[name] = work
                return
            self._awake.add(name)
        self._submit(name, work)

    def after(self, seconds: float, name: str, work: Callable[[], bool]) -> None:
        """Wake `work` once `seconds` have passed; of several calls for one name the first that is due counts.

        So it comes about however often it is asked for.
        """
        self._set_timer(f"{name} later", seconds, lambda: self.wake(name, work))

    def every(self, seconds: float, name: str, work: Callable[[], bool]) -> None:
        """Wake `work` at a steady interval, the first time after one interval."""

        def again() -> None:
            self.every(seconds, name, work)
            self.wake(name, work)

        self._set_timer(f"{name} interval", seconds, again)

    def follow_clock(self) -> timedelta:
        """Set every timer anew when the wall clock has stepped, by the monotonic clock, which knows when it is due.

        Returns the step, zero if there was none. Call it about once a second: it compares the two clocks.
        """
        offset = _clock_offset()
        step = offset - self._clock_offset
        if abs(step) < _STEP:
            return timedelta()
        self._clock_offset = offset
        now, wall = time.monotonic(), datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            left = max(0.0, self._due.get(job.id, now) - now)
            with suppress(JobLookupError):  # it has run meanwhile
                job.modify(next_run_time=wall + timedelta(seconds=left))
        self._scheduler.wakeup()
        return step

    @property
    def is_well(self) -> bool:
        """Whether the scheduler's thread lives."""
        thread = self._scheduler._thread  # noqa: SLF001 - APScheduler 3 tells of a dead thread in no other way
        return bool(self._scheduler.running) and thread is not None and thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """Whether no work is running or about to run."""
        with self._lock:
            return not self._awake

    def stop(self) -> None:
        """Start nothing more; work that runs goes on to its end."""
        with self._lock:
            self._stopped = True
        if self._scheduler.running:
            self._scheduler.pause()

    def join(self) -> None:
        """Wait for the work that still runs, then end the threads."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self._threads.shutdown(wait=True)

    def _set_timer(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        with self._lock:
            if self._stopped or self._due.get(name, math.inf) <= due:
                return
            self._due[name] = due

        def ring() -> None:
            with self._lock:
                self._due.pop(name, None)
            act()

        run_date = datetime.now(UTC) + timedelta(seconds=seconds)
        self._scheduler.add_job(ring, "date", run_date=run_date, id=name, replace_existing=True)

    def _submit(self, name: str, work: Callable[[], bool]) -> None:
        with self._lock:
            if self._early is not None:
                self._early.append((name, work))
            elif not self._stopped:
                self._threads.submit(self._run, name, work)

    def _run(self, name: str, work: Callable[[], bool]) -> None:
        more = False
        try:
            more = not self._stopped and work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must reach the service, not a log nobody reads
            self._failed(name, error)
        with self._lock:
            again = self._again.pop(name, work if more else None)
            if again is None or self._stopped:
                self._awake.discard(name)
                return
        self._submit(name, again)


def _clock_offset() -> timedelta:
    return timedelta(seconds=time.time() - time.monotonic())
