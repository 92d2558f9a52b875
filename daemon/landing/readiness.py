"""When a file in landing is finished: a pure decision on what was observed of it. Asked by intake.

No input or output and no clock here. A file that was renamed or moved in is finished, and so is one whose
done-marker came; one that is written in place is finished when nobody has it open for writing and it has been
quiet for a while.
"""

import os
import stat
from dataclasses import dataclass
from typing import Self

from daemon.lake.layout import MARKER
from daemon.lake.leases import LeaseAnswer

_TEMPORARY_STARTS = (".", "~$")
_TEMPORARY_ENDS = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp")
_SHORTEST_WAIT = 0.01  # a rounding error must not become a busy loop

_KINDS = {
    stat.S_IFLNK: "a symbolic link, which is never followed; put the file itself there",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What `lstat` said of a path whose last part is `name`. An equal one later: unchanged since."""

    name: str
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, name: str, found: os.stat_result) -> Self:
        """Make it of an answer of `os.lstat`."""
        return cls(
            name,
            found.st_mode,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
            found.st_dev,
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a verdict rests on. `quiet_since` and `now` are seconds of our monotonic clock.

    `moved`: an event told that the file was renamed or moved in. `quiet_since`: when this very sighting was
    first made. `age`: seconds of the wall clock since the later of mtime and ctime; negative when the file is
    from the future.
    """

    sighting: Sighting
    moved: bool
    lease: LeaseAnswer
    quiet_since: float
    now: float
    age: float
    has_marker: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The file may be claimed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after `seconds`, or when an event comes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ignore:
    """Never take it as it is. `kind`: temporary, marker, irregular or empty; `reason` is for people."""

    reason: str
    kind: str


Verdict = Ready | Wait | Ignore


def judge(observation: Observation, settle: float, marker_required: bool) -> Verdict:  # noqa: FBT001 - a rule
    """Decide on one file. `settle` is how long a file written in place must be quiet, in seconds."""
    sighting = observation.sighting
    refusal = _never(sighting, marker_required=marker_required)
    if refusal is not None:
        return refusal
    left = _quiet_time_left(observation, settle)
    if observation.lease == "open_for_writing":
        return _wait(settle)
    if not sighting.size:
        return (
            _wait(left) if left > 0 else Ignore("the file is empty; it is taken once it has content", "empty")
        )
    if marker_required:
        return Ready() if observation.has_marker else _wait(settle)
    if observation.moved or left <= 0:
        return Ready()
    return _wait(left)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is not meant to be seen yet, whatever is in it."""
    folded = name.casefold()
    return folded.startswith(_TEMPORARY_STARTS) or folded.endswith(_TEMPORARY_ENDS)


def is_marker(name: str) -> bool:
    """Whether a file of this name declares another one finished, in a table that wants done-markers."""
    return name.endswith(MARKER) and name != MARKER


def _never(sighting: Sighting, *, marker_required: bool) -> Ignore | None:
    """Refuse what no waiting would change."""
    if is_temporary(sighting.name):
        return Ignore("a temporary name; the file is taken once it is renamed", "temporary")
    if not stat.S_ISREG(sighting.mode):
        what = _KINDS.get(stat.S_IFMT(sighting.mode), "of an unknown kind")
        return Ignore(f"not a regular file but {what}", "irregular")
    if marker_required and is_marker(sighting.name):
        return Ignore("a done-marker", "marker")
    return None


def _quiet_time_left(observation: Observation, settle: float) -> float:
    """Return how many seconds of quiet are missing; not positive when none are.

    Our own clock decides. The file's times may only shorten the wait (it lay there before we looked), and
    only when the kernel vouches that nobody is writing: they come from another clock, and a date in the
    future must not stop the file.
    """
    left = settle - (observation.now - observation.quiet_since)
    if observation.lease == "free":
        return min(left, settle - observation.age)
    return left


def _wait(seconds: float) -> Wait:
    return Wait(max(seconds, _SHORTEST_WAIT))
