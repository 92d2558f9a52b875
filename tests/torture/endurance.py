"""Mixed load for a long time: what the daemon holds must not grow with what has passed through it.

`n` is how many seconds of load. Files come one by one and in bursts, into tables with and without a contract, some of them
unreadable; merging small files begins a few seconds after them, so that all that a daemon ever does is done from the
beginning. Sampled all the while: memory of the daemon and of its workers, open files, threads, inotify watches, the
ledger's write-ahead log, and the ledger, which may only grow by what it keeps of each file.
"""

import os
import random
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median

from torture.campaign import Campaign, Plan, Report
from torture.world import World

_EVERY = 1.0
_WARM = 0.4
"""The share of the samples at the beginning that does not count: pools, caches and allocators fill."""
_DIRTY = re.compile(r"^Private_Dirty: +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """What there is at one moment. Memory in MB, the write-ahead log in MB, the ledger in kB for each file delivered.

    Memory is what nothing but the end of a process gives back: pages of mapped files and those that an allocator has
    offered to the kernel (13 MB of a worker at times) are not in it.
    """

    daemon_memory: float
    worker_memory: float
    open_files: float
    threads: float
    watches: float
    wal: float
    ledger: float


_GROWTH = Sample(
    daemon_memory=5.0, worker_memory=10.0, open_files=3.0, threads=6.0, watches=0.5, wal=1.0, ledger=1.0
)
"""How much higher each may be at the end than after the warm-up.

Two to three times what short runs of the whole daemon showed while all was still filling: 1.7, 5.3, 0.2, 3.0, 0, 0.2 and
0.6. In a long one, a kilobyte kept of every file comes to 16 MB.
"""


def run(plan: Plan) -> Report:
    """Let the load go on for `n` seconds; the faults are the damaged files in it."""
    report = Report()
    world = World(plan.work, plan.breakage)
    log = plan.work / "daemon.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            world.command("run"),
            env=world.environment(log_level="info", generation_grace="5", compaction_min_age="5"),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while b"daemon_ready" not in log.read_bytes() and daemon.poll() is None:
                time.sleep(0.05)
            samples = _load(plan, world, daemon, report)
        finally:
            daemon.terminate()
            daemon.wait(60)
    if daemon.returncode != 0:
        report.hands += 1
        report.findings.append(f"the daemon ended with {daemon.returncode}: {log.read_text()[-1000:]}")
    _judge(samples, report)
    world.settle(report, "the load")
    report.figures["files"] = f"{len(world.dropped):,}"
    return report


def _load(plan: Plan, world: World, daemon: "subprocess.Popen[bytes]", report: Report) -> list[Sample]:
    chance = random.Random(plan.seed)
    samples: list[Sample] = []
    began = sampled = time.monotonic()
    number = 0
    while time.monotonic() - began < plan.n and daemon.poll() is None:
        for _ in range(chance.choice((1, 1, 1, 2, 20))):
            path = world.drop(number := number + 1)
            if number % 50 == 0:  # an unreadable one as well
                report.planned += 1
                damaged = world.outside / f"damaged-{number}.xlsx"
                damaged.write_bytes(chance.randbytes(200))
                damaged.rename(path.parent / damaged.name)
                report.fired += 1
        while _waiting(world) > 100 and time.monotonic() - began < plan.n:
            time.sleep(0.05)  # the load is what the machine can carry, not more
        time.sleep(chance.uniform(0, 0.2))
        if time.monotonic() - sampled > _EVERY:
            sampled = time.monotonic()
            sample = _sample(world, daemon.pid)
            if sample:
                samples.append(sample)
    return samples


def _waiting(world: World) -> int:
    found = os.walk(world.root / "landing")
    return sum(len(files) for here, _, files in found if not here.endswith("/.receipts"))


def _sample(world: World, pid: int) -> Sample | None:
    catalog = world.root / "catalog"
    process = Path(f"/proc/{pid}")
    try:
        threads = list((process / "task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
        memory, worker_memory = _memory(pid), sum(map(_memory, children))
        infos = [info.read_text() for info in (process / "fdinfo").iterdir()]
        watches = sum(info.count("inotify wd:") for info in infos)
        wal = (catalog / "state.sqlite3-wal").stat().st_size / 1e6
        ledger = (catalog / "state.sqlite3").stat().st_size / 1e3 / max(1, len(world.dropped))
    except OSError:  # a worker was replaced, a descriptor closed in that instant: the next sample will do
        return None
    return Sample(memory, worker_memory, float(len(infos)), float(len(threads)), float(watches), wal, ledger)


def _memory(pid: int | str) -> float:
    dirty = _DIRTY.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(dirty[1]) * 1024 / 1e6 if dirty else 0.0


def _judge(samples: Sequence[Sample], report: Report) -> None:
    counted = samples[int(len(samples) * _WARM) :]
    if len(counted) < 6:
        report.findings.append(f"only {len(counted)} samples after the warm-up")
        return
    for place, name in enumerate(field.name for field in fields(Sample)):
        series = [astuple(sample)[place] for sample in counted]
        growth, allowed = _growth(series), astuple(_GROWTH)[place]
        report.figures[name.replace("_", " ")] = f"{series[-1]:.1f} ({growth:+.1f})"
        if growth > allowed:
            report.findings.append(
                f"{name} grew by {growth:.1f} (at most {allowed:g}): {series[0]:.1f} to {series[-1]:.1f}"
            )


def _growth(series: Sequence[float]) -> float:
    """The rise from the first to the last value, by the medians of the first and the last third.

    What a task needs for a moment does not count: a worker was seen with 40 MB more.
    """
    third = len(series) // 3
    return (median(series[-third:]) - median(series[:third])) * 1.5  # their middles lie two thirds apart


CAMPAIGN = Campaign(
    "endurance",
    "mixed load for n seconds: memory, open files, threads, watches, write-ahead log, ledger",
    run,
    short=50,
    long=1800,
    teeth={"leaks_descriptors": 25, "wal_never_folded": 25, "leaks_memory": 25, "worker_leaks_memory": 25},
)
