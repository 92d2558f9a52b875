"""Hostile input: damaged files of every format, bombs, links and odd names; nothing dies, hangs, leaks or lies.

Most files go through the readers and the staged layer in the daemon's own worker pool (`fuzzing`), judged by `oracle`; a
sample of them, the bombs and the oddities go through a real daemon.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from torture import broken
from torture.besieged import besiege
from torture.campaign import Campaign, Plan, Report
from torture.fuzzing import GROUP, Tally, Task, fuzz

_SHARES = {"csv": 100, "json": 7, "ndjson": 3, "parquet": 10, "arrow": 3, "avro": 3, "xlsx": 10, "ods": 1}
_SHARES |= dict.fromkeys(("zip", "gz", "bz2", "xz", "zst"), 1)
_GROUPS_A_TASK = 5
_FUZZ_MEMORY = 2_000_000_000
_FUZZ_SECONDS = 120.0
_LOST = ("worker_died", "timed_out", "too_much_memory")


def run(plan: Plan) -> Report:
    """Damage `n` files; bombs and oddities besides."""
    report = Report()
    for name, value in broken.environment(plan.breakage).items():
        os.environ[name] = value  # the workers of our own pool are a broken build as well
    try:
        if plan.breakage not in ("no_memory_limit", "follows_links"):
            _fuzz(plan, report)
    finally:
        for name in broken.environment(plan.breakage):
            del os.environ[name]
    if plan.breakage != "panics_unexplained":
        besiege(plan, report)
    return report


def _tasks(plan: Plan, folder: Path) -> Iterator[Task]:
    from torture.seeds import found_seeds

    found = found_seeds(os.environ.get("TORTURE_SEEDS"))
    for kind, share in _SHARES.items():
        task = Task(kind, plan.seed, 0, 0, folder, tuple(found.get(kind, ())))
        yield replace(task, first=0, last=1_000_000, whole=True)
        groups = max(1, plan.n * share // sum(_SHARES.values()) // GROUP)
        for first in range(0, groups, _GROUPS_A_TASK):
            yield replace(task, first=first, last=min(first + _GROUPS_A_TASK, groups))


def _parts(task: Task) -> Iterator[Task]:
    if task.last - task.first > 1:
        yield from (replace(task, first=group, last=group + 1) for group in range(task.first, task.last))
    else:
        yield from (replace(task, only=place) for place in range(GROUP))


def _fuzz(plan: Plan, report: Report) -> None:
    from daemon.scheduling.workers import WorkerLostError, WorkerPool

    folder = plan.work / "fuzz"
    folder.mkdir()
    pool = WorkerPool(len(os.sched_getaffinity(0)), _FUZZ_SECONDS, _FUZZ_MEMORY)
    pool.warm_up()
    tally = Tally()
    began = time.monotonic()

    def work(task: Task) -> Tally:
        try:
            return pool.call(fuzz, task)
        except WorkerLostError as error:
            return _narrowed(task, error)

    def _narrowed(task: Task, error: WorkerLostError) -> Tally:
        """Which file cost the worker is looked for; one that costs a second is set aside, as the daemon does."""
        if task.only is None:
            found = Tally()
            for part in _parts(task):
                came = work(part)
                found.add(came)
                if task.whole and not came.planned:
                    break
            return found
        try:
            return pool.call(fuzz, task)
        except WorkerLostError:
            tally = Tally(planned=1)
            trouble = tally.refuse(error.kind, str(error))
            if trouble:
                where = f"{task.kind} group {task.first} of seed {task.seed}, {task.only:03}"
                tally.findings.append(f"{where}: nobody understands its reason ({trouble}): {error}")
            return tally

    with ThreadPoolExecutor(pool.count) as threads:
        for part in threads.map(work, _tasks(plan, folder)):
            tally.add(part)
    pool.stop(5)
    seconds = time.monotonic() - began
    report.planned += tally.planned
    report.fired += tally.files
    report.records_in += tally.records
    report.lost += tally.lost
    report.doubled += tally.doubled
    report.findings += tally.findings
    report.figures["damaged files"] = f"{tally.files:,} ({tally.files / seconds:.0f}/s)"
    report.figures["refused"] = f"{tally.refused:,}"
    lost = {kind: tally.kinds[kind] for kind in _LOST if tally.kinds[kind]}
    report.figures["refused as they cost two workers"] = (
        ", ".join(f"{n} {kind}" for kind, n in lost.items()) or "0"
    )
    report.figures["read with records set aside"] = f"{tally.with_damage:,}"
    report.figures["records taken amiss, and told so"] = f"{tally.told:,}"
    report.figures["records set aside"] = f"{tally.aside:,}"


CAMPAIGN = Campaign(
    "hostile",
    "damaged files of every format, bombs, links and odd names",
    run,
    short=400,
    long=1_420_000,
    teeth={"no_memory_limit": 20, "follows_links": 20, "panics_unexplained": 400},
)
