"""Whether the file systems of a root have room for more, or are below the floor at which nothing new is to be taken in.

Asked by landing's intake before it claims, and by `status` and `doctor`. What is under way goes on below the floor: the
room that is left is for it, and for the ledger.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.lake.layout import Layout

_SHARE = 100
"""By default the floor is one hundredth of a file system, so that a small disk is not hindered, …"""
_BYTES_MAX = 1_000_000_000
_INODES_MAX = 10_000
"""… and at most this much, so that a large one is not wasted."""
_SLACK = 1.25
"""There is room again at this many times the floor: intake must not begin and pause with every file."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Free bytes and inodes below which nothing new is taken in; None for what the size of the file system asks for."""

    free_bytes: int | None
    free_inodes: int | None


class Room:
    """The room on the file systems that hold landing, data and catalog. Not safe to share between threads."""

    def __init__(self, layout: Layout, floor: Floor) -> None:
        self._folders = (layout.landing, layout.data, layout.catalog)
        self._floor = floor
        self._short = False

    def shortage(self) -> str | None:
        """What is short, for people; None where there is room. Once short, it stays so until a little more is free.

        Raises OSError.
        """
        lacks = list(self._lacks(_SLACK if self._short else 1.0))
        self._short = bool(lacks)
        return lacks[0] if lacks else None

    def _lacks(self, slack: float) -> Iterator[str]:
        looked_at = set()
        for folder in self._folders:
            if not folder.exists() or (device := folder.stat().st_dev) in looked_at:
                continue
            looked_at.add(device)
            found = os.statvfs(folder)
            size = found.f_blocks * found.f_frsize
            lack = _lack(found.f_bavail * found.f_frsize, size, self._floor.free_bytes, _BYTES_MAX, slack)
            if lack is not None:
                yield f"{folder.name}/: {found.f_bavail * found.f_frsize:,} bytes are free, the floor is {lack:,}"
            lack = _lack(found.f_favail, found.f_files, self._floor.free_inodes, _INODES_MAX, slack)
            if found.f_files and lack is not None:  # 0 in all: the file system makes them as needed
                yield f"{folder.name}/: {found.f_favail:,} inodes are free, the floor is {lack:,}"


def _lack(free: int, total: int, floor: int | None, most: int, slack: float) -> int | None:
    """The floor, where `free` is less than `slack` times that; None where there is enough."""
    least = min(total // _SHARE, most) if floor is None else floor
    return least if free < least * slack else None
