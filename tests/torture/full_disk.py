"""The disk is full, in bytes or in inodes, at every stage of a file's way, and then there is room again.

Room is left for a part of what the work needs, a little more each time, so that the disk runs full at another step each
time; with the data or with the ledger, which are on file systems of their own. What was refused must be tried again by
itself, nothing may be condemned for it, and once there is room all of it must come to its end without a hand. At last the
floor: below it nothing new may be taken in, and the daemon must say so.
"""

import errno
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from torture import images
from torture.campaign import Campaign, Plan, Report
from torture.images import Image, Kind
from torture.world import World, content

_MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-N", "4000")
_KIND = Kind("ext4", _MAKE, size=32 << 20)
_FILES, _ROWS = 4, 20
_REFUSALS = ("claim_refused", "promotion_retried", "archive_retried", "model_failed")
_PATIENCE = 60.0
_FULL = (
    f"[Errno {errno.ENOSPC}]",
    f"os error {errno.ENOSPC}",
    "No space left",
    "disk is full",
    "disk I/O error",
)
"""How the kernel, Polars and SQLite say it."""
_NEEDS = {"data": {"bytes": 640 << 10, "inodes": 90}, "catalog": {"bytes": 192 << 10, "inodes": 24}}
"""About what the work on the files of one round takes."""
_FLOOR = 8_000_000


@dataclass(slots=True)
class Filler:
    """What takes the room away: a large file, or many empty ones."""

    at: Path
    made: list[Path] = field(default_factory=list)

    def leave(self, what: str, room: int) -> None:
        """Take everything but `room` bytes or inodes."""
        self.at.mkdir(exist_ok=True)
        found = os.statvfs(self.at)
        if what == "bytes":
            self.made.append(self.at / "large")
            with self.made[-1].open("wb") as file, suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - room))
        else:
            for number in range(found.f_favail - room):
                self.made.append(self.at / f"{number}")
                self.made[-1].touch()

    def free(self) -> None:
        """Give it all back."""
        for path in self.made:
            path.unlink(missing_ok=True)
        self.made.clear()


class CrampedWorld(World):
    """A root with data and ledger on small file systems."""

    def __init__(self, plan: Plan) -> None:
        root = plan.work / "root"
        self.images = {
            "data": Image(_KIND, plan.work / "data.image", root),
            "catalog": Image(_KIND, plan.work / "catalog.image", root / "catalog"),
        }
        super().__init__(plan.work, plan.breakage, root)
        self.fillers = {"data": Filler(root / "filler"), "catalog": Filler(root / "catalog/filler")}
        self.log = plan.work / "daemon.log"
        self._number = 0

    def drop_some(self) -> list[int]:
        """Drop the files of one round; returns their numbers."""
        numbers = list(range(self._number, self._number + _FILES))
        self._number += _FILES
        for number in numbers:
            folder = self.root / "landing" / ("sales/orders" if number % 2 else "events")
            part = folder / f".{number:06}.csv.part"  # here, as what lies outside is on another file system
            part.write_text(content(number, _ROWS))
            part.rename(folder / f"{number:06}.csv")
            self.dropped[number] = _ROWS
        return numbers

    def lines(self) -> list[dict[str, str]]:
        """What the daemon has logged."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def refusals(self) -> list[dict[str, str]]:
        """Those of them that tell of a full disk."""
        return [
            line
            for line in self.lines()
            if line["event"] in (*_REFUSALS, "daemon_failed") and any(word in str(line) for word in _FULL)
        ]

    def is_at_rest(self) -> bool:
        """Whether everything that was dropped has left landing and its claims."""
        # not by `rglob`, which fails where a claim's folder goes while it looks
        left = (name for _, _, names in os.walk(self.root / "landing") for name in names)
        return not any(name.endswith(".csv") and not name.startswith(".") for name in left)


def run(plan: Plan) -> Report:
    """Fill a disk `n` times; the last of them is the floor's."""
    # In a process of its own: mounts are private to it, and lives are forked from one that has not used polars or DuckDB.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_run, plan).result()


def _run(plan: Plan) -> Report:
    images.keep_mounts_private()
    world = CrampedWorld(plan)
    report = Report(planned=plan.n)
    stages: Counter[str] = Counter()
    chance = random.Random(plan.seed)
    try:
        for number in range(plan.n - 1):
            place, what = (("data", "bytes"), ("data", "inodes"), ("catalog", "bytes"))[number % 3]
            share = (number // 3 + chance.random()) / max(1, (plan.n + 1) // 3)
            while not report.findings and not _fill(world, place, what, share, stages, report):
                share /= 2  # there was room enough: again, with less
        if not report.findings:
            _floor(world, report)
        world.settle(report, "the full disks")
    finally:
        for image in reversed(world.images.values()):
            image.close()
    report.figures["refused at"] = ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items()))
    return report


def _fill(
    world: CrampedWorld, place: str, what: str, share: float, stages: Counter[str], report: Report
) -> bool:
    """Let the disk run full in the midst of the work, then make room; returns whether anything was refused."""
    from torture.forked import Life

    words = ["run", "--root", str(world.root)]
    environment = world.environment(workers="1", min_free_bytes="1", min_free_inodes="0", retry_cap="1")
    world.log.unlink(missing_ok=True)
    world.drop_some()
    world.fillers[place].leave(what, int(_NEEDS[place][what] * share))
    life = Life(words, world.log, environment, world.breakage)
    _wait(lambda: bool(world.refusals()) or world.is_at_rest() or life.status is not None)
    ended = life.status is not None
    refused = world.refusals()
    if refused or ended:
        stages[f"{place} {what}: {'start' if ended else _stage(refused[0])}"] += 1
        report.fired += 1
    world.fillers[place].free()
    if ended:  # it could not even start: systemd starts it again, until it can
        life = Life(words, world.log, environment, world.breakage)
    restarted = life
    _wait(lambda: world.is_at_rest() or restarted.status is not None)
    if not world.is_at_rest():
        report.hands += 1
        report.findings.append(f"{place} full of {what}: it did not go on by itself: {life.last_words()}")
    if list((world.root / "data/quarantine").rglob("*.reason.json")):
        report.findings.append(f"{place} full of {what}: files were condemned for it: {life.last_words()}")
    life.kill()
    return bool(refused) or ended


def _stage(refusal: dict[str, str]) -> str:
    return refusal.get("target_layer") or refusal.get("job") or refusal["event"]


def _floor(world: CrampedWorld, report: Report) -> None:
    """Below the floor nothing is taken in, and it is said; above it, files are taken again."""
    from torture.forked import Life

    world.log.unlink(missing_ok=True)
    world.fillers["data"].leave("bytes", _FLOOR - 2_000_000)
    numbers = world.drop_some()
    life = Life(
        ["run", "--root", str(world.root)],
        world.log,
        world.environment(workers="1", min_free_bytes=str(_FLOOR)),
        world.breakage,
    )
    _wait(lambda: any(line["event"] == "intake_paused" for line in world.lines()) or world.is_at_rest())
    time.sleep(1)
    waiting = sum(1 for number in numbers for _ in (world.root / "landing").rglob(f"{number:06}.csv"))
    if waiting != len(numbers):
        report.findings.append(f"below the floor {len(numbers) - waiting} of {len(numbers)} files were taken")
    status = world.run("status", "--json", workers="1", min_free_bytes=str(_FLOOR))
    if status.returncode == 0 and not json.loads(status.stdout)["landing"]["no_room"]:
        report.findings.append("status does not say that there is no room")
    report.fired += 1
    world.fillers["data"].free()
    if not _wait(world.is_at_rest):
        report.hands += 1
        report.findings.append(f"above the floor again, files were not taken: {life.last_words()}")
    life.kill()


def _wait(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


CAMPAIGN = Campaign(
    "full-disk",
    "data or ledger without bytes or inodes at each stage, then freed; intake below the floor",
    run,
    short=5,
    long=300,
    teeth={"condemns_what_the_machine_did": 10, "floor_ignored": 1},
    missing=partial(images.missing, _KIND),
)
