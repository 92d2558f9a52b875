"""Waiting times of what failed, on the monotonic clock: a step of the wall clock neither hurries nor delays a retry.

Shared by the chain and its parts. Not persisted: after a restart everything unfinished is tried at once.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Wait:
    until: float
    seconds: float
    reason: str


class Backoff:
    """Who waits, until when and why.

    The first wait is `base` seconds, each further one twice as long, up to `cap`.
    """

    def __init__(self, base: float, cap: float, clock: Callable[[], float]) -> None:
        self._base = base
        self._cap = cap
        self._clock = clock
        self._waits: dict[str, _Wait] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def hold(self, name: str, reason: str) -> float:
        """Let `name` wait after one more failure; returns the seconds."""
        with self._lock:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            seconds: float = min(self._cap, self._base * 2.0 ** min(failures - 1, 60))
            self._waits[name] = _Wait(self._clock() + seconds, seconds, reason)
        return seconds

    def park(self, name: str, reason: str) -> float:
        """Let `name` wait the longest time: only a person can help, and `release` is called when one has."""
        with self._lock:
            self._waits[name] = _Wait(self._clock() + self._cap, self._cap, reason)
        return self._cap

    def forget(self, name: str) -> None:
        """`name` succeeded: its next failure is a first one."""
        with self._lock:
            self._waits.pop(name, None)
            self._failures.pop(name, None)

    def waiting(self) -> frozenset[str]:
        """Everyone whose time has not come."""
        now = self._clock()
        with self._lock:
            return frozenset(name for name, wait in self._waits.items() if wait.until > now)

    def seconds_to_next(self) -> float | None:
        """Seconds until the first of those who wait may go on; None when nobody waits."""
        now = self._clock()
        with self._lock:
            return min((wait.until - now for wait in self._waits.values() if wait.until > now), default=None)

    def any_shorter_than(self, seconds: float) -> bool:
        """Whether anyone waits whose whole wait is shorter, however much of it is left."""
        now = self._clock()
        with self._lock:
            return any(wait.until > now and wait.seconds < seconds for wait in self._waits.values())

    def release(self, reason: str) -> None:
        """End the waits with this reason: what they waited for has changed."""
        with self._lock:
            self._waits = {name: wait for name, wait in self._waits.items() if wait.reason != reason}
