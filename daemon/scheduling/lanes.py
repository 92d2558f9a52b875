"""Which layers of a table are being carried into, so that a climb, the hops above it and compaction never meet there.

Shared by the promoter's steps, one a thread, and by the compactor. A step that finds its layer taken leaves word, and is
woken when it is free.
Large work has a lane of its own, across tables: it never has all workers, so that it does not hold up what is small.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer


class Lanes:
    """Layers taken, by table; `large` pieces of large work may go on at once."""

    def __init__(self, large: int = 1) -> None:
        self._room = large
        self._waiting: deque[tuple[TableKey, Layer]] = deque()
        self._taken: set[tuple[TableKey, Layer]] = set()
        self._wanted: set[tuple[TableKey, Layer]] = set()
        self._reserved: set[tuple[TableKey, Layer]] = set()
        self._lock = threading.Condition()

    def take(self, key: TableKey, layer: Layer) -> bool:
        """Take a layer, or leave word that it is wanted; returns whether it was free."""
        with self._lock:
            if (key, layer) in self._taken | self._reserved:
                self._wanted.add((key, layer))
                return False
            self._taken.add((key, layer))
            return True

    def take_above(
        self, key: TableKey, layer: Layer, is_clear: Callable[[Sequence[Layer]], bool]
    ) -> tuple[Layer, ...]:
        """Take the layers above, up to the first that is taken, if `is_clear` says that nothing waits in them.

        Returns those that were taken, from below to above.
        """
        with self._lock:
            free = tuple(
                takewhile(lambda above: (key, above) not in self._taken | self._reserved, layer.all_above)
            )
            if not free or not is_clear(free):
                return ()
            self._taken.update((key, above) for above in free)
            return free

    def take_large(self, key: TableKey, layer: Layer) -> bool:
        """Begin a piece of large work, or leave word that it waits; returns whether there was room."""
        with self._lock:
            if self._room:
                self._room -= 1
                return True
            if (key, layer) not in self._waiting:
                self._waiting.append((key, layer))
            return False

    def leave_large(self) -> tuple[TableKey, Layer] | None:
        """End a piece of large work; returns what has waited longest for its room."""
        with self._lock:
            self._room += 1
            return self._waiting.popleft() if self._waiting else None

    def leave(self, key: TableKey, layers: Iterable[Layer]) -> set[tuple[TableKey, Layer]]:
        """Let layers go; returns those that were wanted meanwhile."""
        lanes = {(key, layer) for layer in layers}
        with self._lock:
            self._taken -= lanes
            wanted = self._wanted & lanes
            self._wanted -= lanes
            self._lock.notify_all()
        return wanted

    @contextmanager
    def alone(self, key: TableKey, layer: Layer) -> Iterator[None]:
        """Have a layer to oneself once whoever is in it has left; nobody else is let in before.

        Whoever was refused meanwhile must be woken by the caller.
        """
        with self._lock:
            self._lock.wait_for(lambda: (key, layer) not in self._reserved)
            self._reserved.add((key, layer))
            self._lock.wait_for(lambda: (key, layer) not in self._taken)
        try:
            yield
        finally:
            with self._lock:
                self._reserved.discard((key, layer))
                self._lock.notify_all()
