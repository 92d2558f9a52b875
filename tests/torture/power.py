"""Power cuts on real file systems, landing and data on one image, the ledger on another.

A daemon works, both images are cut off at a random moment and mounted again (which replays their journals), and the next
daemon takes over. Acknowledged is what the ledger showed before the cut: it must be there ever after. Every `_EPOCH` cuts
the root is drained, proved and accounted for, record by record, and the next cuts begin with new images.
"""

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from torture import images
from torture.campaign import Campaign, Plan, Report
from torture.images import Image, Kind
from torture.standstill import end, freeze
from torture.world import World, content

_EPOCH = 40
_FILES = 3
"""Dropped before each life, at most."""
_COMMITS = 16
"""After how many commits of a life it is cut, at most; counted, as time means little on a machine that is shared."""
_JITTER = 0.03
"""Seconds from the last of these commits to the cut, at most."""
_LOOK = 0.002
_ONE_THREAD = {"POLARS_MAX_THREADS": "1"}
"""For lives that refine a few rows, one beside the other: threads that wait for each other would only cost time."""
_QUIET = 0.5
"""Seconds without a commit after which it is asked whether there is anything left to do."""
_HUNG = 60.0
"""Seconds without a commit after which a daemon with work in hand is cut all the same."""
_EXT4 = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0")
_KINDS = {
    "ext4": Kind("ext4", _EXT4, "data=ordered"),
    "writeback": Kind("ext4", _EXT4, "data=writeback,noauto_da_alloc"),
    "xfs": Kind("xfs", ("mkfs.xfs", "-q", "-f"), size=300 << 20),
}


@dataclass(frozen=True, slots=True)
class Epoch:
    """Some cuts with one pair of images."""

    kind: str
    cuts: int
    seed: int
    work: Path
    breakage: str | None


@dataclass(slots=True)
class Tally:
    """What an epoch saw. `busy` counts the cuts that hit a daemon with work in hand."""

    report: Report = field(default_factory=Report)
    acknowledged: int = 0
    busy: int = 0


class PoweredWorld(World):
    """A root on two images."""

    def __init__(self, epoch: Epoch) -> None:
        root = epoch.work / "root"
        kind = _KINDS[epoch.kind]
        self.data = Image(kind, epoch.work / "data.image", root)
        self.catalog = Image(kind, epoch.work / "catalog.image", root / "catalog")
        super().__init__(epoch.work, epoch.breakage, root)
        for folder in (root, root / "landing", root / "landing/sales", root / "catalog/contracts"):
            _sync(folder)
        os.sync()
        self.log = epoch.work / "daemon.log"
        self._acknowledged: frozenset[str] = frozenset()

    def drop(self, number: int, rows: int = 20) -> Path:
        """Drop file `number` as a sender does who is sure of it: synced, renamed, synced."""
        folder = self.root / "landing" / ("sales/orders" if number % 2 else "events")
        path, part = folder / f"{number:06}.csv", folder / f".{number:06}.csv.part"
        with part.open("w") as file:
            file.write(content(number, rows))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        _sync(folder)
        self.dropped[number] = rows
        return path

    def cut(self, chance: random.Random, pid: int) -> bool:
        """Cut both images off, either first, under a daemon that stands still; returns whether both are dead.

        A sync that a cut overtakes may succeed and be gone (1 of 20 on xfs, 1 of 13 on ext4), and one image dies before the
        other: neither is so when the power fails, and a daemon that lived on in between would be led to believe both.
        """
        freeze(pid)
        both = [self.data, self.catalog]
        chance.shuffle(both)
        for image in both:
            image.cut()
        return self.data.is_cut and self.catalog.is_cut

    def remount(self) -> None:
        """Bring the power back."""
        self.catalog.unmount()
        self.data.unmount()
        self.data.mount()
        self.catalog.mount()

    def acknowledge(self) -> tuple[int, int]:
        """Read what the ledger has committed. Returns how many transitions are new since, and how many are gone."""
        now = self._read("SELECT transition_id FROM transitions")
        if now is None:
            return 0, 0
        fresh, gone = len(now - self._acknowledged), len(self._acknowledged - now)
        self._acknowledged = now
        return fresh, gone

    def wait_for_commits(self, count: int) -> None:
        """Wait until the ledger has been written to `count` times more, or all that was dropped has come to rest."""
        log = self.root / "catalog/state.sqlite3-wal"
        before, moved_at = _look(log), time.monotonic()
        while count > 0:
            time.sleep(_LOOK)
            now, quiet = _look(log), time.monotonic() - moved_at
            if now != before:
                before, moved_at, count = now, time.monotonic(), count - 1
            elif quiet > _HUNG or (quiet > _QUIET and self.is_at_rest):
                return

    @property
    def is_at_rest(self) -> bool:
        """Whether everything that was dropped has come to its end."""
        resting = self._read("SELECT file_id FROM files WHERE at_rest")
        return resting is not None and len(resting) >= len(self.dropped)

    def _read(self, sql: str) -> frozenset[str] | None:
        """The first column of a query on the ledger; None where it cannot be read yet."""
        path = self.root / "catalog/state.sqlite3"
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                return frozenset(row[0] for row in connection.execute(sql))
        except sqlite3.OperationalError:
            return None


def run(kind: str, plan: Plan) -> Report:
    """Cut the power `n` times, in epochs that go on beside each other."""
    report = Report()
    tallies = Tally(report)
    with ProcessPoolExecutor(
        2 * len(os.sched_getaffinity(0)), mp_context=get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        for part in processes.map(_epoch, _epochs(kind, plan)):
            report.add(part.report)
            tallies.acknowledged += part.acknowledged
            tallies.busy += part.busy
    report.figures["acknowledged"] = f"{tallies.acknowledged:,} transitions"
    report.figures["with work in hand"] = f"{tallies.busy:,}"
    return report


def _epochs(kind: str, plan: Plan) -> Iterator[Epoch]:
    for first in range(0, plan.n, _EPOCH):
        work = plan.work / f"epoch-{first}"
        yield Epoch(kind, min(_EPOCH, plan.n - first), plan.seed + first, work, plan.breakage)


def _epoch(epoch: Epoch) -> Tally:
    """Run one epoch, in a process of its own, which has used neither polars nor DuckDB before."""
    epoch.work.mkdir()
    images.keep_mounts_private()
    world = PoweredWorld(epoch)
    try:
        tally = _suffer(world, epoch)
        _settle(world, tally.report)
    finally:
        world.catalog.close()
        world.data.close()
    for image in epoch.work.glob("*.image"):
        image.unlink()
    return tally


def _suffer(world: PoweredWorld, epoch: Epoch) -> Tally:
    from torture.forked import Life  # loads polars, which the process that asks for epochs does not need

    chance = random.Random(epoch.seed)
    tally = Tally(Report(planned=epoch.cuts))
    report = tally.report
    number = 0
    for cut in range(epoch.cuts):
        for _ in range(chance.randint(1, _FILES)):
            world.drop(number := number + 1)
        life = Life(
            ["run", "--root", str(world.root)],
            world.log,
            world.environment(workers="1") | _ONE_THREAD,
            epoch.breakage,
        )
        commits = chance.randint(0, _COMMITS)
        early = chance.randint(0, commits)
        world.wait_for_commits(early)
        world.drop(number := number + 1)
        world.wait_for_commits(commits - early)
        time.sleep(chance.uniform(0, _JITTER))
        busy = not world.is_at_rest
        fresh, gone = world.acknowledge()
        tally.acknowledged += fresh
        tally.busy += busy
        ended = life.status
        report.fired += world.cut(chance, life.pid)
        if ended is None:
            end(life.pid)
            life.wait()
        world.remount()
        if gone:
            report.findings.append(
                f"seed {epoch.seed}, before cut {cut}: {gone} acknowledged transitions are gone"
            )
        if ended is not None:
            report.hands += 1
            report.findings.append(
                f"seed {epoch.seed}, before cut {cut}: the daemon ended with {ended}: {life.last_words()}"
            )
            break
    return tally


def _settle(world: PoweredWorld, report: Report) -> None:
    """Drain, prove and account."""
    patience = (
        {"retry_base": "20"} if world.breakage else {}
    )  # a drain stays for retries that come soon, for what is gone as well
    world.drain(report, "the cuts", workers="1", **patience)
    _, gone = world.acknowledge()
    if gone:
        report.findings.append(f"{gone} acknowledged transitions are gone at the end")
    world.account().add_to(report)


def _look(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _title(kind: Kind) -> str:
    return f"{kind.type} {kind.options}".strip()


def _campaign(kind: str, **teeth: int) -> Campaign:
    return Campaign(
        f"power-{kind}",
        f"power cuts, data and ledger on different images: {_title(_KINDS[kind])}",
        partial(run, kind),
        short=20,
        long=1000,
        teeth=teeth,
        missing=partial(images.missing, _KINDS[kind]),
    )


# With its usual options ext4 itself makes a file durable that was cut to no length before it was written, as Polars does
# (auto_da_alloc): there a missing sync does not show.
EXT4 = _campaign("ext4", no_directory_sync=20, ledger_not_synced=12)
WRITEBACK = _campaign("writeback", no_file_sync=12)
XFS = _campaign("xfs", no_file_sync=12)
