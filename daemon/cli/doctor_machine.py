"""The doctor's looks at the machine: inotify, the file system of landing, the clock, space.

Each takes the layout of a root and returns a Finding; OSError passes through. The judgements are pure
functions of what was read, so that they can be tested for machines that are not at hand.
"""

import ctypes
import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daemon.cli.findings import Finding, fail, ok, warn
from daemon.cli.landing_view import count_folders
from daemon.cli.output import size
from daemon.lake.layout import Layout
from daemon.lake.room import Room
from daemon.landing.mounts import file_system_type, is_remote
from daemon.settings import load_settings

_INOTIFY = Path("/proc/sys/fs/inotify")
_MOUNTS = Path("/proc/self/mountinfo")

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_SPACE_LOW, _SPACE_OUT = 0.05, 0.005
_BYTES_LOW, _BYTES_OUT = 1_000_000_000, 50_000_000


def inotify_watches(layout: Layout) -> Finding:
    """See whether there is a watch for every folder of landing."""
    return judge_watches(count_folders(layout.landing), _limit("max_user_watches"))


def judge_watches(folders: int, limit: int) -> Finding:
    """Judge `folders` to be watched against the watches one user may have, of all programs together."""
    found = f"{folders:,} folders in landing, {limit:,} watches allowed to all programs of a user"
    more = f"sysctl fs.inotify.max_user_watches={max(524288, 4 * folders)}"
    if folders >= limit:
        return fail(f"{found}: files are found by the sweep only", more)
    return warn(found, more) if folders > limit // 2 else ok(found)


def inotify_instances(_layout: Layout) -> Finding:
    """See whether one more watcher can be started."""
    limit = _limit("max_user_instances")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor >= 0:
        os.close(descriptor)
        return ok(f"one more can be started ({limit:,} are allowed to a user)")
    if ctypes.get_errno() == errno.EMFILE:
        return fail(
            f"all {limit:,} instances that a user may have are taken",
            f"sysctl fs.inotify.max_user_instances={limit * 4}",
        )
    return fail(os.strerror(ctypes.get_errno()), "let the daemon use inotify_init1(2)")


def inotify_queue(_layout: Layout) -> Finding:
    """See whether a burst of files fits the kernel's queue of events."""
    limit = _limit("max_queued_events")
    found = f"{limit:,} events fit the queue"
    if limit < 16384:  # noqa: PLR2004 - the kernel's own default
        return warn(
            f"{found}; what a burst loses is found by the sweep, later",
            "sysctl fs.inotify.max_queued_events=65536",
        )
    return ok(found)


def landing_file_system(layout: Layout) -> Finding:
    """See whether the file system of landing tells what is written to it."""
    landing = layout.landing.resolve()
    return judge_file_system(file_system_type(_MOUNTS.read_text(), landing), remote=is_remote(landing))


def judge_file_system(kind: str, *, remote: bool) -> Finding:
    """Judge a file system by its type, e.g. `ext4`, and by whether other machines may write to it."""
    if remote:
        return warn(
            f"{kind}: what other machines write there makes no event; files are found by the sweep only",
            "nothing, if the sweep's interval is soon enough; or put landing on a local disk",
        )
    return ok(kind)


def clock(_layout: Layout) -> Finding:
    """See whether the wall clock is kept right by someone."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.05)
    drift = abs((time.time() - wall) - (time.monotonic() - steady))
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    return judge_clock(drift, None if state < 0 else state != _TIME_ERROR)


def judge_clock(drift: float, synchronised: bool | None) -> Finding:  # noqa: FBT001 - the kernel's answer, or none
    """Judge `drift`, seconds that wall and steady clock came apart in a moment, and what the kernel says."""
    if drift > 0.02:  # noqa: PLR2004 - in 50 ms: no slewing is as fast
        return warn(f"the wall clock jumped by {drift:.3f} s just now", "see what sets it: two programs may")
    if synchronised is None:
        return warn(
            "the kernel does not tell whether the clock is synchronised", "see that the host's is (NTP)"
        )
    if not synchronised:
        return warn(
            "not synchronised: times in lineage may be wrong",
            "switch NTP on, e.g. `timedatectl set-ntp true`",
        )
    return ok("synchronised")


def disk_space(layout: Layout) -> Finding:
    """See whether there is room for what is to come."""
    return _scarcest(
        layout, lambda found: judge_space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
    )


def judge_space(free: int, total: int) -> Finding:
    """Judge the `free` and `total` bytes of a file system."""
    found = f"{size(free)} free of {size(total)}"
    step = (
        "make room: the daemon cannot write when it is full, and goes on by itself when there is room again"
    )
    if free < _BYTES_OUT or free < _SPACE_OUT * total:
        return fail(found, step)
    return warn(found, step) if free < _BYTES_LOW or free < _SPACE_LOW * total else ok(found)


def room(layout: Layout) -> Finding:
    """See whether there is enough free for files to be taken in at all."""
    shortage = Room(layout, load_settings({"root": layout.root}, os.environ).floor).shortage()
    if shortage:
        return fail(
            f"{shortage}: nothing new is taken in",
            "make room, or lower `min_free_bytes` or `min_free_inodes`; files are taken again by themselves then",
        )
    return ok("above the floor: files are taken in")


def inodes(layout: Layout) -> Finding:
    """See whether as many files can be made as are to come."""
    return _scarcest(layout, lambda found: judge_inodes(found.f_favail, found.f_files))


def judge_inodes(free: int, total: int) -> Finding:
    """Judge the `free` and `total` inodes of a file system; 0 in all where it makes them as needed."""
    if not total:
        return ok("made as needed")
    found = f"{free:,} free of {total:,}"
    step = "remove files, or move data/archive to another file system"
    if free < _SPACE_OUT * total:
        return fail(found, step)
    return warn(found, step) if free < _SPACE_LOW * total else ok(found)


_SEVERITY = {"ok": 0, "warn": 1, "fail": 2}


def _scarcest(layout: Layout, judge: Callable[[os.statvfs_result], Finding]) -> Finding:
    """Judge every file system that the root lies on, and return the worst finding."""
    judged: dict[int, Finding] = {}
    for folder in (layout.landing, layout.data, layout.catalog):
        if folder.exists():
            finding = judge(os.statvfs(folder))
            judged.setdefault(
                folder.stat().st_dev, replace(finding, found=f"{folder.name}/: {finding.found}")
            )
    return max(judged.values(), key=lambda finding: _SEVERITY[finding.status])


def _limit(name: str) -> int:
    return int((_INOTIFY / name).read_text())
