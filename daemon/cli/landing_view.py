"""What waits in landing, seen from outside: looks that disturb nothing. Used by status, drain and doctor."""

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.lake.layout import Layout
from daemon.landing.readiness import is_temporary
from daemon.landing.sweep import Found, sweep


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many `files` wait, the `oldest` (its name relative to landing) and how many seconds it has waited.

    `problems` says which folders could not be looked through.
    """

    files: int
    oldest: str | None
    seconds: float
    problems: tuple[str, ...]


def waiting_files(layout: Layout, kept: Mapping[str, tuple[int, int]]) -> Waiting:
    """Look for files that the daemon will want and has not claimed; empty ones it leaves where they are.

    `kept` holds those that were ingested and stay: path relative to the root -> (size, mtime_ns).
    """
    problems: list[str] = []
    files, oldest = 0, None
    for found in sweep(str(layout.landing), problems):
        if not _is_wanted(found) or kept.get(found.path.removeprefix(f"{layout.root}/")) == _looks(found):
            continue
        files += 1
        if oldest is None or found.sighting.ctime_ns < oldest.sighting.ctime_ns:
            oldest = found
    if oldest is None:
        return Waiting(0, None, 0.0, tuple(problems))
    name = oldest.path.removeprefix(f"{layout.landing}/")
    return Waiting(files, name, max(0.0, time.time() - oldest.sighting.ctime_ns / 1e9), tuple(problems))


def count_folders(landing: Path) -> int:
    """Count the folders of landing that are watched, itself included."""
    count = 0
    for _, folders, _ in os.walk(landing):
        count += 1
        folders[:] = [name for name in folders if not name.startswith(".")]
    return count


def _is_wanted(found: Found) -> bool:
    sighting = found.sighting
    return stat.S_ISREG(sighting.mode) and sighting.size > 0 and not is_temporary(sighting.name)


def _looks(found: Found) -> tuple[int, int]:
    return found.sighting.size, found.sighting.mtime_ns
