"""Which paths of landing may become files of a batch: looked at on a hint, in a sweep, and again when it is time.

Owned by intake's thread. What is known of them is in known.py; a full sweep takes those that came first before others.
"""

import math
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from heapq import nsmallest
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

import structlog

from daemon.catalog.contract import LandingRules
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError
from daemon.events import Event
from daemon.lake.layout import MARKER
from daemon.lake.leases import lease_answer
from daemon.landing.claims import ReadyFile
from daemon.landing.known import KnownPaths, Watched
from daemon.landing.readiness import (
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

_TOGETHER = 0.05
"""Seconds: files that settle within the same twentieth are looked at together, and so become one batch."""
_HINDERED_WAIT = 30.0
"""Seconds until a file is looked at again that the daemon's user may not take."""
_CONTRACT_WAIT = 5.0
"""Seconds until a file is looked at again whose table's contract is broken."""

_BREATH = 1000
"""Paths that are looked at in a row, before intake may do what has come meanwhile."""
_Item = TypeVar("_Item")


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
        known: Callable[[str, int, int], Literal["kept", "incomplete"] | None],
        incomplete_wait: float,
    ) -> None:
        self.known = KnownPaths()
        self._swept = 0
        self._landing = f"{landing}/"
        self._root = f"{landing.parent}/"
        self._rules = rules
        self._route = route
        self._settle = settle
        self._seen_before = known
        self._incomplete_wait = incomplete_wait
        self._ignored: dict[str, Sighting] = {}
        self._abandoned = False
        self.between: Callable[[], None] = _nothing

    def abandon(self) -> None:
        """Look at nothing more, and end a look that is under way: the daemon stops. The one call for other threads."""
        self._abandoned = True

    def hint(self, hint: Hint, now: float) -> None:
        """Look at a path that somebody spoke of; a folder is looked through."""
        if hint.is_directory:
            self._look_through(hint.path, now, moved=hint.moved)
            return
        try:
            found = os.lstat(hint.path)
        except OSError:
            self.known.forget(hint.path)
            return
        self._look(Found(hint.path, Sighting.of(os.path.basename(hint.path), found)), now, moved=hint.moved)

    def sweep(self, now: float) -> int:
        """Look at every file of landing that is not known, as far as there is room. Returns how many there are in all."""
        self.known.passed_over.clear()
        self._swept = 0
        found = nsmallest(self.known.room + 1, self._first_of_folders(now), key=_arrival)
        # In the order of their arrival, which `keep: last` goes by; mtime would be the sender's.
        for one in self._until_abandoned(found):
            self._look(one, now, moved=False)
        return self._swept

    def _first_of_folders(self, now: float) -> Iterator[Found]:
        """What is in landing and not known; of each folder what came first, and one more than there is room for."""
        for folder, found in groupby(self._unknown(now), key=lambda found: os.path.dirname(found.path)):
            yield from nsmallest(self.known.room_in(folder) + 1, found, key=_arrival)

    def _unknown(self, now: float) -> Iterator[Found]:
        """What is in landing and not known; at what is watched it looks again."""
        ignored, self._ignored = self._ignored, {}
        for found in self._walk(self._landing[:-1]):
            self._swept += 1
            if ignored.get(found.path) == found.sighting:
                self._ignored[found.path] = found.sighting
            elif found.path in self.known.watched:
                self._look(found, now, moved=False)
            elif found.path not in self.known.ready_paths:
                yield found

    def look_again(self, now: float) -> None:
        """Look again at the watched paths whose time has come."""
        if self.known.next_due is None or now < self.known.next_due:
            return
        for path in self._until_abandoned(self.known.due(now)):
            self.hint(Hint(path, moved=False, is_directory=False), now)
        self.known.wait_anew()

    def _walk(self, folder: str) -> Iterator[Found]:
        problems: list[str] = []
        yield from self._until_abandoned(sweep(folder, problems))
        for problem in problems:
            log.warning(Event.FILE_IGNORED, reason=problem)

    def _until_abandoned(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, until the daemon stops: there may be a million. What is left out, the next start finds."""
        for number, item in enumerate(items, start=1):
            if self._abandoned:
                return
            yield item
            if number % _BREATH == 0:
                self.between()

    def _look_through(self, folder: str, now: float, *, moved: bool) -> None:
        for found in self._walk(folder):
            self._look(found, now, moved=moved)

    def _look(self, found: Found, now: float, *, moved: bool) -> None:
        """Judge one path by what the disk shows."""
        path, sighting = found.path, found.sighting
        if path in self.known.ready_paths or is_temporary(sighting.name):
            return
        if path not in self.known.watched and self.known.is_full(os.path.dirname(path)):
            self.known.passed_over.add(os.path.dirname(path))
            return
        known = self._seen_before(path.removeprefix(self._root), sighting.size, sighting.mtime_ns)
        if known == "kept":
            self._ignored[path] = sighting
        else:
            watched = self._since_before(path, sighting, now, moved=moved)
            left = self._incomplete_wait - (time.time() - sighting.mtime_ns / 1e9)
            if known == "incomplete" and left > 0:
                self.known.watch(path, watched, now + left)
            else:
                self._judge(path, watched, now)

    def _judge(self, path: str, watched: Watched, now: float) -> None:
        """Judge one path that may become a file of a batch."""
        sighting = watched.sighting
        try:
            key = route_path(path.removeprefix(self._landing), self._route)
            rules = self._rules(key)
        except ContractError:  # said by whoever reloads the contracts; the file waits for the mend
            self.known.watch(path, watched, now + _CONTRACT_WAIT)
            return
        if rules.done_marker and is_marker(sighting.name):
            self.hint(Hint(path.removesuffix(MARKER), moved=False, is_directory=False), now)
            return
        try:
            hindrance = _hindrance(path) if stat.S_ISREG(sighting.mode) else None
            if hindrance:
                self._say_once(key, path, sighting, Event.FILE_IGNORED, hindrance)
                self.known.watch(path, watched, now + _HINDERED_WAIT)
                return
            self._weigh(path, watched, key, rules, now)
        except FileNotFoundError:
            self.known.forget(path)

    def _since_before(self, path: str, sighting: Sighting, now: float, *, moved: bool) -> Watched:
        """What is known of a path, earlier sightings included."""
        before = self.known.watched.get(path)
        if before is None:
            return Watched(sighting, now, moved, now)
        quiet_since = before.quiet_since if before.sighting == sighting else now
        was_moved = before.moved and before.sighting.inode == sighting.inode
        return Watched(sighting, quiet_since, moved or was_moved, now)

    def _weigh(self, path: str, watched: Watched, key: TableKey, rules: LandingRules, now: float) -> None:
        """Ask the rule of readiness, and do what it says. Raises FileNotFoundError."""
        sighting = watched.sighting
        marker = path + MARKER if rules.done_marker else None
        observation = Observation(
            sighting=sighting,
            moved=watched.moved,
            lease=lease_answer(path) if stat.S_ISREG(sighting.mode) else "unknown",
            quiet_since=watched.quiet_since,
            now=now,
            age=time.time() - max(sighting.mtime_ns, sighting.ctime_ns) / 1e9,
            has_marker=marker is not None and os.path.exists(marker),
        )
        settle = self._settle if rules.settle is None else rules.settle
        verdict = judge(observation, settle, rules.done_marker)
        if isinstance(verdict, Ready):
            name = source_name(path.removeprefix(self._landing))
            file = ReadyFile(path, name, sighting.size, sighting.mtime_ns, sighting.inode, marker)
            self.known.make_ready(key, file)
        elif isinstance(verdict, Ignore):
            self._ignore(key, path, sighting, verdict)
        else:
            self.known.watch(path, watched, math.ceil((now + verdict.seconds) / _TOGETHER) * _TOGETHER)

    def _ignore(self, key: TableKey, path: str, sighting: Sighting, verdict: Ignore) -> None:
        """Say once that a path is left where it is, until it changes."""
        self.known.forget(path)
        event = Event.FILE_EMPTY if verdict.kind == "empty" else Event.FILE_IGNORED
        self._say_once(key, path, sighting, event, verdict.reason)

    def _say_once(self, key: TableKey, path: str, sighting: Sighting, event: Event, reason: str) -> None:
        if self._ignored.get(path) != sighting:
            name = source_name(path.removeprefix(self._landing))
            log.warning(event, domain=key.domain, table=key.table, file=name, reason=reason)
            self._ignored[path] = sighting


def _nothing() -> None:
    """Nobody waits."""


def _arrival(found: Found) -> tuple[int, str]:
    return found.sighting.ctime_ns, found.path


def _hindrance(path: str) -> str | None:
    """Why the daemon's user cannot take a file, with the way out; None when nothing is in the way.

    Raises FileNotFoundError: what is gone, or went with its folder, is nobody's to give rights on.
    """
    folder = os.path.dirname(path)
    if os.access(folder, os.W_OK | os.X_OK) and os.access(path, os.R_OK):
        return None
    with suppress(PermissionError):
        os.lstat(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"it cannot be taken out of its folder; give the daemon's user wx on {folder}"
    return "it cannot be read; give the daemon's user r on it"
