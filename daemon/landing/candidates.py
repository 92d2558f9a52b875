"""What is known of landing: paths that may become files of a batch, and those that are ready.

Owned by intake's thread.

Bounded: past a number of paths nothing is added, and a later sweep finds the rest.
"""

import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from daemon.catalog.contract import LandingRules
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError
from daemon.events import Event
from daemon.landing.claims import ReadyFile
from daemon.landing.leases import lease_answer
from daemon.landing.readiness import (
    MARKER,
    Ignore,
    Observation,
    Ready,
    Sighting,
    is_marker,
    is_temporary,
    judge,
)
from daemon.landing.routing import route_path, source_name
from daemon.landing.sweep import Found, sweep
from daemon.landing.watcher import Hint

log = structlog.get_logger(__name__)

_MAX_PATHS = 50_000
_TOGETHER = 0.05
"""Seconds: files that settle within the same twentieth are looked at together, and so become one batch."""
_HINDERED_WAIT = 30.0
"""Seconds until a file is looked at again that the daemon's user may not take."""
_CONTRACT_WAIT = 5.0
"""Seconds until a file is looked at again whose table's contract is broken."""


@dataclass(slots=True)
class _Watched:
    """A path that is not ready: how it looked, since when (monotonic), and when to look again."""

    sighting: Sighting
    quiet_since: float
    moved: bool
    due: float


class Candidates:
    """Judges paths below `landing`.

    `rules` and `route` speak for the contracts; `settle` (seconds) where they are silent.

    `known` tells of files that were here before (path relative to the root, size, mtime_ns): kept ones stay, those cut
    short wait until `incomplete_wait` seconds after they were last written to.
    """

    def __init__(
        self,
        landing: Path,
        *,
        rules: Callable[[TableKey], LandingRules],
        route: Callable[[str], TableKey | None],
        settle: float,
        known: Callable[[Path, int, int], Literal["kept", "incomplete"] | None],
        incomplete_wait: float,
    ) -> None:
        self.ready: dict[TableKey, dict[Path, ReadyFile]] = {}
        self.overflowed = False
        self._landing = landing
        self._rules = rules
        self._route = route
        self._settle = settle
        self._known = known
        self._incomplete_wait = incomplete_wait
        self._watched: dict[Path, _Watched] = {}
        self._ready_paths: set[Path] = set()
        self._ignored: dict[Path, Sighting] = {}
        self._wake_at: float | None = None

    @property
    def count(self) -> int:
        """Paths that are ready or may become so."""
        return len(self._watched) + len(self._ready_paths)

    @property
    def is_full(self) -> bool:
        """Whether no further path is taken in."""
        return self.count >= _MAX_PATHS

    @property
    def next_due(self) -> float | None:
        """When (monotonic) the first watched path is to be looked at again; None without any."""
        return self._wake_at

    def hint(self, hint: Hint, now: float) -> None:
        """Look at a path that somebody spoke of; a folder is looked through."""
        if hint.is_directory:
            self._look_through(hint.path, now, moved=hint.moved)
            return
        try:
            found = os.lstat(hint.path)
        except OSError:
            self._forget(hint.path)
            return
        self._look(Found(hint.path, Sighting.of(hint.path.name, found)), now, moved=hint.moved)

    def sweep(self, now: float) -> int:
        """Look at every file of landing. Returns how many there are."""
        self.overflowed = False
        ignored, self._ignored = self._ignored, {}
        seen = 0
        # In the order of their arrival, which `keep: last` goes by; mtime would be the sender's.
        for found in sorted(
            self._walk(self._landing), key=lambda found: (found.sighting.ctime_ns, found.path)
        ):
            seen += 1
            if ignored.get(found.path) == found.sighting:
                self._ignored[found.path] = found.sighting
            else:
                self._look(found, now, moved=False)
        return seen

    def look_again(self, now: float) -> None:
        """Look again at the watched paths whose time has come."""
        if self._wake_at is None or now < self._wake_at:
            return
        for path in [path for path, watched in self._watched.items() if watched.due <= now]:
            self.hint(Hint(path, moved=False, is_directory=False), now)
        self._wake_at = min((watched.due for watched in self._watched.values()), default=None)

    def taken(self, key: TableKey, path: Path) -> None:
        """This ready file is in a batch now."""
        self._ready_paths.discard(path)
        del self.ready[key][path]
        if not self.ready[key]:
            del self.ready[key]

    def _walk(self, folder: Path) -> Iterator[Found]:
        problems: list[str] = []
        yield from sweep(folder, problems)
        for problem in problems:
            log.warning(Event.FILE_IGNORED, reason=problem)

    def _look_through(self, folder: Path, now: float, *, moved: bool) -> None:
        for found in self._walk(folder):
            self._look(found, now, moved=moved)

    def _look(self, found: Found, now: float, *, moved: bool) -> None:
        """Judge one path by what the disk shows."""
        path, sighting = found.path, found.sighting
        if path in self._ready_paths or is_temporary(path.name):
            return
        known = self._known(path.relative_to(self._landing.parent), sighting.size, sighting.mtime_ns)
        if known == "kept":
            self._ignored[path] = sighting
        elif path not in self._watched and self.is_full:
            self.overflowed = True
        else:
            watched = self._since_before(path, sighting, now, moved=moved)
            left = self._incomplete_wait - (time.time() - sighting.mtime_ns / 1e9)
            if known == "incomplete" and left > 0:
                self._watch(path, watched, now + left)
            else:
                self._judge(path, watched, now)

    def _judge(self, path: Path, watched: _Watched, now: float) -> None:
        """Judge one path that may become a file of a batch."""
        sighting = watched.sighting
        try:
            key = route_path(path.relative_to(self._landing), self._route)
            rules = self._rules(key)
        except ContractError:  # said by whoever reloads the contracts; the file waits for the mend
            self._watch(path, watched, now + _CONTRACT_WAIT)
            return
        if rules.done_marker and is_marker(path.name):
            marked = path.with_name(path.name.removesuffix(MARKER))
            self.hint(Hint(marked, moved=False, is_directory=False), now)
            return
        hindrance = _hindrance(path) if stat.S_ISREG(sighting.mode) else None
        if hindrance:
            self._say_once(key, path, sighting, Event.FILE_IGNORED, hindrance)
            self._watch(path, watched, now + _HINDERED_WAIT)
            return
        try:
            self._weigh(path, watched, key, rules, now)
        except FileNotFoundError:
            self._forget(path)

    def _since_before(self, path: Path, sighting: Sighting, now: float, *, moved: bool) -> _Watched:
        """What is known of a path, earlier sightings included."""
        before = self._watched.get(path)
        if before is None:
            return _Watched(sighting, now, moved, now)
        quiet_since = before.quiet_since if before.sighting == sighting else now
        was_moved = before.moved and before.sighting.inode == sighting.inode
        return _Watched(sighting, quiet_since, moved or was_moved, now)

    def _weigh(self, path: Path, watched: _Watched, key: TableKey, rules: LandingRules, now: float) -> None:
        """Ask the rule of readiness, and do what it says. Raises FileNotFoundError."""
        sighting = watched.sighting
        marker = path.with_name(path.name + MARKER) if rules.done_marker else None
        observation = Observation(
            sighting=sighting,
            moved=watched.moved,
            lease=lease_answer(path) if stat.S_ISREG(sighting.mode) else "unknown",
            quiet_since=watched.quiet_since,
            now=now,
            age=time.time() - max(sighting.mtime_ns, sighting.ctime_ns) / 1e9,
            has_marker=marker is not None and marker.exists(),
        )
        settle = self._settle if rules.settle is None else rules.settle
        verdict = judge(observation, settle, rules.done_marker)
        if isinstance(verdict, Ready):
            self._forget(path)
            self._ready_paths.add(path)
            name = source_name(path.relative_to(self._landing))
            file = ReadyFile(path, name, sighting.size, sighting.mtime_ns, sighting.inode, marker)
            self.ready.setdefault(key, {})[path] = file
        elif isinstance(verdict, Ignore):
            self._ignore(key, path, sighting, verdict)
        else:
            self._watch(path, watched, math.ceil((now + verdict.seconds) / _TOGETHER) * _TOGETHER)

    def _watch(self, path: Path, watched: _Watched, due: float) -> None:
        """Look at a path again at `due` (monotonic), or when something is heard of it."""
        watched.due = due
        self._watched[path] = watched
        self._wake_at = watched.due if self._wake_at is None else min(self._wake_at, watched.due)

    def _forget(self, path: Path) -> None:
        self._watched.pop(path, None)

    def _ignore(self, key: TableKey, path: Path, sighting: Sighting, verdict: Ignore) -> None:
        """Say once that a path is left where it is, until it changes."""
        self._forget(path)
        event = Event.FILE_EMPTY if verdict.kind == "empty" else Event.FILE_IGNORED
        self._say_once(key, path, sighting, event, verdict.reason)

    def _say_once(self, key: TableKey, path: Path, sighting: Sighting, event: Event, reason: str) -> None:
        if self._ignored.get(path) != sighting:
            name = source_name(path.relative_to(self._landing))
            log.warning(event, domain=key.domain, table=key.table, file=name, reason=reason)
            self._ignored[path] = sighting


def _hindrance(path: Path) -> str | None:
    """Why the daemon's user cannot take a file, with the way out; None when nothing is in the way."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"it cannot be taken out of its folder; give the daemon's user wx on {path.parent}"
    if not os.access(path, os.R_OK):
        return "it cannot be read; give the daemon's user r on it"
    return None
