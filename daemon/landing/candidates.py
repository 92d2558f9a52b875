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

    `kept` holds files that were ingested and stay in landing: path relative to the root -> (size, mtime_ns).
    """

    def __init__(
        self,
        landing: Path,
        *,
        rules: Callable[[TableKey], LandingRules],
        route: Callable[[str], TableKey | None],
        settle: float,
        kept: Callable[[], dict[Path, tuple[int, int]]],
    ) -> None:
        self.ready: dict[TableKey, dict[Path, ReadyFile]] = {}
        self.overflowed = False
        self._landing = landing
        self._rules = rules
        self._route = route
        self._settle = settle
        self._kept = kept
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
        kept = self._kept()
        seen = 0
        # In the order of their arrival, which `keep: last` goes by; mtime would be the sender's.
        for found in sorted(
            self._walk(self._landing), key=lambda found: (found.sighting.ctime_ns, found.path)
        ):
            seen += 1
            if ignored.get(found.path) == found.sighting:
                self._ignored[found.path] = found.sighting
            elif kept.get(found.path.relative_to(self._landing.parent)) != (
                found.sighting.size,
                found.sighting.mtime_ns,
            ):
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
        if path not in self._watched and self.is_full:
            self.overflowed = True
            return
        before = self._watched.get(path)
        unchanged = before is not None and before.sighting == sighting
        quiet_since = before.quiet_since if before and unchanged else now
        moved = moved or (before is not None and before.moved and before.sighting.inode == sighting.inode)
        relative = path.relative_to(self._landing)
        try:
            key = route_path(relative, self._route)
            rules = self._rules(key)
        except ContractError:  # said by whoever reloads the contracts; the file waits for the mend
            self._watch(path, _Watched(sighting, quiet_since, moved, now + _CONTRACT_WAIT))
            return
        if rules.done_marker and is_marker(path.name):
            self.hint(
                Hint(path.with_name(path.name.removesuffix(MARKER)), moved=False, is_directory=False), now
            )
            return
        marker = path.with_name(path.name + MARKER) if rules.done_marker else None
        try:
            lease = lease_answer(path) if stat.S_ISREG(sighting.mode) else "unknown"
        except FileNotFoundError:
            self._forget(path)
            return
        verdict = judge(
            Observation(
                sighting=sighting,
                moved=moved,
                lease=lease,
                quiet_since=quiet_since,
                now=now,
                age=time.time() - max(sighting.mtime_ns, sighting.ctime_ns) / 1e9,
                has_marker=marker is not None and marker.exists(),
            ),
            self._settle if rules.settle is None else rules.settle,
            rules.done_marker,
        )
        if isinstance(verdict, Ready):
            self._watched.pop(path, None)
            self._ready_paths.add(path)
            file = ReadyFile(
                path, source_name(relative), sighting.size, sighting.mtime_ns, sighting.inode, marker
            )
            self.ready.setdefault(key, {})[path] = file
        elif isinstance(verdict, Ignore):
            self._ignore(key, path, sighting, verdict)
        else:
            due = math.ceil((now + verdict.seconds) / _TOGETHER) * _TOGETHER
            self._watch(path, _Watched(sighting, quiet_since, moved, due))

    def _watch(self, path: Path, watched: _Watched) -> None:
        self._watched[path] = watched
        self._wake_at = watched.due if self._wake_at is None else min(self._wake_at, watched.due)

    def _forget(self, path: Path) -> None:
        self._watched.pop(path, None)

    def _ignore(self, key: TableKey, path: Path, sighting: Sighting, verdict: Ignore) -> None:
        """Say once that a path is left where it is, until it changes."""
        self._forget(path)
        if self._ignored.get(path) != sighting:
            event = Event.FILE_EMPTY if verdict.kind == "empty" else Event.FILE_IGNORED
            name = source_name(path.relative_to(self._landing))
            log.warning(event, domain=key.domain, table=key.table, file=name, reason=verdict.reason)
            self._ignored[path] = sighting
