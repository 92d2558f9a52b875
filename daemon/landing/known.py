"""What is known of landing: paths that are watched until they are ready, and those that are.

Owned by candidates.py. Paths are absolute, and strings: there are many, and a Path costs more than a look at the disk.

Bounded: past a number of paths nothing is added, and a later sweep finds the rest.
"""

import os
from collections import Counter
from dataclasses import dataclass

from daemon.catalog.promotion import TableKey
from daemon.landing.claims import ReadyFile
from daemon.landing.readiness import Sighting

_MAX_PATHS = 60_000
_MAX_IN_FOLDER = 20_000
"""Paths that are known at once, in all (some 70 MB) and in one folder: a million files of one table leave room for others,
and are more than it can have claimed before a sweep has found the next."""


@dataclass(slots=True)
class Watched:
    """A path that is not ready: how it looked, since when (monotonic), and when to look again."""

    sighting: Sighting
    quiet_since: float
    moved: bool
    due: float


class KnownPaths:
    """Paths that may become files of a batch, and the files that are `ready`, by table and path."""

    def __init__(self) -> None:
        self.ready: dict[TableKey, dict[str, ReadyFile]] = {}
        self.ready_paths: set[str] = set()
        self.watched: dict[str, Watched] = {}
        self.passed_over: set[str] = set()
        self._in_folder: Counter[str] = Counter()
        self._wake_at: float | None = None

    @property
    def count(self) -> int:
        """Paths that are ready or may become so."""
        return len(self.watched) + len(self.ready_paths)

    @property
    def room(self) -> int:
        """How many more paths are taken in."""
        return _MAX_PATHS - self.count

    def room_in(self, folder: str) -> int:
        """How many more paths of one folder are."""
        return _MAX_IN_FOLDER - self._in_folder[folder]

    def is_full(self, folder: str) -> bool:
        """Whether no further path of a folder is taken in."""
        return self.count >= _MAX_PATHS or self._in_folder[folder] >= _MAX_IN_FOLDER

    @property
    def is_worth_a_sweep(self) -> bool:
        """Whether folders were passed over, and by now there is room for so many paths that a sweep pays."""
        return self.count <= _MAX_PATHS // 2 and any(
            self._in_folder[folder] <= _MAX_IN_FOLDER // 2 for folder in self.passed_over
        )

    @property
    def next_due(self) -> float | None:
        """When (monotonic) the first watched path is to be looked at again; None without any."""
        return self._wake_at

    def due(self, now: float) -> list[str]:
        """The watched paths whose time has come."""
        return [path for path, watched in self.watched.items() if watched.due <= now]

    def wait_anew(self) -> None:
        """Find out when the first path is due, after those that were have been looked at."""
        self._wake_at = min((watched.due for watched in self.watched.values()), default=None)

    def watch(self, path: str, watched: Watched, due: float) -> None:
        """Look at a path again at `due` (monotonic), or when something is heard of it."""
        watched.due = due
        if path not in self.watched:
            self._in_folder[os.path.dirname(path)] += 1
        self.watched[path] = watched
        self._wake_at = watched.due if self._wake_at is None else min(self._wake_at, watched.due)

    def make_ready(self, key: TableKey, file: ReadyFile) -> None:
        """This file may be taken into a batch of its table."""
        self.forget(file.path)
        self.ready_paths.add(file.path)
        self._in_folder[os.path.dirname(file.path)] += 1
        self.ready.setdefault(key, {})[file.path] = file

    def taken(self, key: TableKey, path: str) -> None:
        """This ready file is in a batch now."""
        self.ready_paths.discard(path)
        self._leaves(path)
        del self.ready[key][path]
        if not self.ready[key]:
            del self.ready[key]

    def forget(self, path: str) -> None:
        """Watch a path no longer."""
        if self.watched.pop(path, None) is not None:
            self._leaves(path)

    def _leaves(self, path: str) -> None:
        folder = os.path.dirname(path)
        self._in_folder[folder] -= 1
        if not self._in_folder[folder]:
            del self._in_folder[folder]
