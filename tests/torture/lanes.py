"""Runs side by side: each lane is a warm process with a folder of its own, and takes the next task when it is free.

A long campaign may be ended with SIGTERM: what has begun is finished and reported, nothing more is begun.
"""

import queue
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from torture.warm import Warm

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lane:
    """One warm process, and the root that it works on."""

    warm: Warm
    root: Path


class Lanes:
    """`count` lanes below `work`."""

    def __init__(self, work: Path, count: int = 2, prepare: str | None = None) -> None:
        self._stack = ExitStack()
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        self._count = count
        self._enough = threading.Event()
        for number in range(count):
            folder = work / f"lane{number}"
            self._free.put(Lane(self._stack.enter_context(Warm(folder, prepare)), folder / "root"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def spread(self, act: Callable[[Lane, T], R], tasks: Iterable[T]) -> list[R]:
        """Carry out `act` for every task, each in a lane that is free; returns what they gave, in the tasks' order."""

        def taken(task: T) -> list[R]:
            lane = self._free.get()
            try:
                return [] if self._enough.is_set() else [act(lane, task)]
            finally:
                self._free.put(lane)

        before = signal.signal(signal.SIGTERM, lambda *_: self._enough.set())
        try:
            with ThreadPoolExecutor(self._count) as pool:
                return [given for gave in pool.map(taken, tasks) for given in gave]
        finally:
            signal.signal(signal.SIGTERM, before)
