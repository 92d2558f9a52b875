"""Which layers of a table are being carried into, so that a climb and the jobs of the hops above it never meet.

Shared by the promoter's steps, one a thread. A step that finds its layer taken leaves word, and is woken when it is free.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer


class Lanes:
    """Layers taken, by table."""

    def __init__(self) -> None:
        self._taken: set[tuple[TableKey, Layer]] = set()
        self._wanted: set[tuple[TableKey, Layer]] = set()
        self._lock = threading.Lock()

    def take(self, key: TableKey, layer: Layer) -> bool:
        """Take a layer, or leave word that it is wanted; returns whether it was free."""
        with self._lock:
            if (key, layer) in self._taken:
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
            free = tuple(takewhile(lambda above: (key, above) not in self._taken, layer.all_above))
            if not free or not is_clear(free):
                return ()
            self._taken.update((key, above) for above in free)
            return free

    def leave(self, key: TableKey, layers: Iterable[Layer]) -> set[Layer]:
        """Let layers go; returns those that were wanted meanwhile."""
        lanes = {(key, layer) for layer in layers}
        with self._lock:
            self._taken -= lanes
            wanted = self._wanted & lanes
            self._wanted -= lanes
        return {layer for _, layer in wanted}
