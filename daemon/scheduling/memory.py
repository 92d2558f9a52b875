"""Watches how much memory the workers hold, and ends one that is past its limit. Owned by the worker pool.

The parent looks, from a thread of its own: in the worker a library that is busy would keep a watching thread from
running. Address space is no measure (Polars reserves far more than it uses), and neither are the pages of files that are
mapped (the kernel takes them back at will): what counts is memory that nothing but the worker's end gives back.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LOOK = 0.1
"""Seconds between two looks, while a task runs: a worker fills some 200 MB in that time."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Ends (SIGKILL) every child of this process that holds more than `limit` bytes, while there is work."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._ended: set[int] = set()
        self._tasks = 0
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """A task runs while the block does: look at the workers."""
        with self._lock:
            self._tasks += 1
            self._busy.set()
            if self._thread is None:
                # a daemon thread: it holds nothing that would have to be put away
                self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._tasks -= 1
                if not self._tasks:
                    self._busy.clear()

    def has_ended(self, pid: int) -> bool:
        """Whether it was this watch that ended process `pid`; it answers so once."""
        with self._lock:
            known = pid in self._ended
            self._ended.discard(pid)
            return known

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            self._busy.wait()
            pause.wait(_LOOK)  # most tasks are over by then, and nobody has looked
            if not self._busy.is_set():
                continue
            for pid in _children():
                if memory_held(pid) > self.limit:
                    self._end(pid)

    def _end(self, pid: int) -> None:
        with self._lock:  # `has_ended` must not be asked between the kill and the note of it
            if pid in _children():  # it may have ended by itself meanwhile, and its number be another's
                self._ended.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def memory_held(pid: int) -> int:
    """The bytes that process `pid` holds and no file backs; 0 when it is gone."""
    try:
        _, resident, shared, *_ = _told(f"/proc/{pid}/statm").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def memory_left() -> int:
    """The bytes that the machine could still give (`MemAvailable`); 0 where the kernel does not tell."""
    with suppress(OSError):
        for line in _told("/proc/meminfo").splitlines():
            name, _, value = line.partition(b":")
            if name == b"MemAvailable":
                return int(value.split()[0]) * 1024
    return 0


def _children() -> set[int]:
    """The processes that this one has started, whichever thread did."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):  # the thread has ended
            found.update(map(int, _told(f"/proc/self/task/{thread}/children").split()))
    return found


def _told(path: str) -> bytes:
    """What a file of /proc says; ten times a second, of every thread: neither Path nor a file object for that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _PAGE)
    finally:
        os.close(descriptor)
