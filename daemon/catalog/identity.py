"""Identifiers that sort by the time they were made: of batches, transitions, groups. Used by every room that makes one.

What was made later sorts later, though the wall clock steps back, and though the process that made the earlier one has
ended: whoever knows the newest id of a root says so by `sort_after`.
"""

import threading
from uuid import UUID

from uuid6 import uuid7

_BELOW_TIME = 80
"""Bits of a UUIDv7 under its milliseconds since 1970."""


class _Order:
    """The milliseconds of the last id: the next one is of a later one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> UUID:
        made = uuid7().int
        with self._lock:
            late = max(0, self._last + 1 - (made >> _BELOW_TIME))
            made += late << _BELOW_TIME
            self._last = made >> _BELOW_TIME
        return UUID(int=made)

    def raise_to(self, known: UUID) -> None:
        with self._lock:
            self._last = max(self._last, known.int >> _BELOW_TIME)


_order = _Order()


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text; it sorts after every other that this process made or was told of."""
    return str(_order.next())


def sort_after(known: str) -> None:
    """From now on this process makes ids that sort after the id `known`."""
    _order.raise_to(UUID(known))
