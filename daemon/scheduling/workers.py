"""The worker processes (pebble, spawn): a call either returns, raises what the worker raised, or says how it was lost.

Called by the promoter and the model refresher, from the chain's threads. The parent never forks and never
imports polars.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, wait
from typing import Any, ClassVar, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from daemon.errors import RetryLaterError
from daemon.events import Event
from daemon.scheduling.memory import MemoryWatch, memory_left
from daemon.scheduling.tasks import start_worker, warm_up

_HEARTBEAT = 1.0
"""Seconds between two looks at whether the pool that a task waits for is still one."""

_BROKEN = "the worker processes broke down together; they are started anew"

T = TypeVar("T")
R = TypeVar("R")


class WorkerLostError(Exception):
    """A worker did not come to the end of its task. Raised as one of the classes below."""

    kind: ClassVar[str]
    event: ClassVar[Event]


class WorkerDiedError(WorkerLostError):
    """A worker ended in the middle of a task: it crashed, or was killed."""

    kind = "worker_died"
    event = Event.WORKER_DIED


class WorkerTimedOutError(WorkerLostError):
    """A worker ran past its time limit and was ended."""

    kind = "timed_out"
    event = Event.WORKER_TIMED_OUT


class WorkerTooLargeError(WorkerLostError):
    """A worker held more memory than it may and was ended, or asked at once for more than there can be."""

    kind = "too_much_memory"
    event = Event.WORKER_TOO_LARGE


class StoppingError(Exception):
    """The daemon is stopping: the task was handed back before it began, or ended in the middle.

    It is done at next start.
    """


class WorkerPool:
    """`count` processes, each task within `time_limit` seconds and `memory_limit` bytes.

    A pool that broke as a whole (an idle worker killed while it held the queue's lock) is replaced: that is the machine's
    fault, never the data's.
    """

    def __init__(self, count: int, time_limit: float, memory_limit: int) -> None:
        self.count = count
        self._time_limit = time_limit
        self._memory = MemoryWatch(memory_limit)
        self._queued: set[ProcessFuture[Any]] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._pool = self._new_pool()

    def warm_up(self) -> None:
        """Start the processes without waiting for them."""
        for _ in range(self.count):
            self._pool.schedule(warm_up)

    def call(self, function: Callable[[T], R], task: T) -> R:
        """Run `function(task)` in a worker and wait for it.

        Raises WorkerLostError, StoppingError, RetryLaterError when the pool broke, or whatever `function` raised; but a
        MemoryError only where the machine is short of memory: else the task asked for more than it may have.
        """
        pool, future = self._schedule(function, task)
        try:
            with self._memory.working():
                while not wait([future], timeout=_HEARTBEAT).done:
                    if not pool.active:  # what a pool that has ended still owes never comes
                        raise StoppingError if self._stopping else RetryLaterError(_BROKEN)
            result: R = future.result()
        except CancelledError as error:
            raise StoppingError from error
        except BrokenExecutor as error:
            raise RetryLaterError(_BROKEN) from error
        except ProcessExpired as error:
            raise self._ended(error) from error
        except TimeoutError as error:
            raise WorkerTimedOutError(
                f"the worker took longer than {self._time_limit:g} s and was ended. Send it in smaller parts, or raise "
                "worker_timeout in the daemon's settings"
            ) from error
        except MemoryError as error:
            if memory_left() < self._memory.limit:
                raise  # the machine has none to give
            raise self._too_large() from error
        finally:
            with self._lock:
                self._queued.discard(future)
        return result

    def _ended(self, error: ProcessExpired) -> Exception:
        if self._stopping:
            return StoppingError()
        if self._memory.has_ended(error.pid):
            return self._too_large()
        return WorkerDiedError(
            f"the worker process died (exit code {error.exitcode}). What ends a worker each time is damaged in a way that "
            "its reader does not survive: have it written anew"
        )

    def _too_large(self) -> WorkerTooLargeError:
        return WorkerTooLargeError(
            f"this needs more memory than a worker may have ({self._memory.limit / 1e9:.1f} GB). Send it in smaller parts, "
            "or raise worker_memory in the daemon's settings"
        )

    def heal(self) -> bool:
        """Replace the pool if it broke; returns whether there is one that takes tasks."""
        with self._lock:
            return self._stopping or bool(self._working_pool().active)

    def stop(self, grace: float) -> None:
        """Hand back what has not begun, let what runs end within `grace` seconds, then end the processes."""
        with self._lock:
            self._stopping = True
            for future in self._queued:
                if not future.running():
                    future.cancel()
        self._pool.close()
        try:
            self._pool.join(timeout=grace)
        except TimeoutError:
            self._pool.stop()
            self._pool.join()

    def _schedule(self, function: Callable[[T], R], task: T) -> tuple[ProcessPool, "ProcessFuture[Any]"]:
        with self._lock:
            if self._stopping:
                raise StoppingError
            pool = self._working_pool()
            future = pool.schedule(function, args=[task], timeout=self._time_limit)
            self._queued.add(future)
        return pool, future

    def _working_pool(self) -> ProcessPool:
        if not self._pool.active:
            self._pool.stop()
            # Whatever still holds a broken pool back must not hold us back.
            threading.Thread(target=self._pool.join, name="broken pool", daemon=True).start()
            self._pool = self._new_pool()
        return self._pool

    def _new_pool(self) -> ProcessPool:
        # glibc gives each thread a heap of its own, up to 16 on two cores, and each keeps what a task freed. Polars has an
        # allocator of its own; for what is left, such as compressors of Parquet, one will do. Read as a process starts.
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        return ProcessPool(
            max_workers=self.count,
            initializer=start_worker,
            initargs=(os.getpid(),),
            context=multiprocessing.get_context("spawn"),
        )
