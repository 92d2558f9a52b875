"""Hostile input: damaged files of every format, bombs, links and odd names; nothing dies, hangs, leaks or lies.

Most files go through the readers and the staged layer in the daemon's own worker pool (`fuzzing`), judged by `oracle`; a
sample of them, the bombs and the oddities go through a real daemon.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torture import broken, oracle
from torture.campaign import Campaign, Plan, Report
from torture.fuzzing import GROUP, Tally, Task, fuzz
from torture.world import World

_SHARES = {"csv": 10, "json": 2, "ndjson": 1, "parquet": 2, "arrow": 1, "avro": 1, "xlsx": 2, "ods": 1}
_SHARES |= dict.fromkeys(("zip", "gz", "bz2", "xz", "zst"), 1)
_GROUPS_A_TASK = 5
_FUZZ_MEMORY = 2_000_000_000
_FUZZ_SECONDS = 120.0
_DAEMON_MEMORY = 600_000_000
_OVERSHOOT = 1_000_000_000
"""What a worker may hold beyond its limit until it is ended: the looks are a tenth of a second apart."""
_LARGE = 10_000
"""From so many files on the bombs that take minutes are part of it."""
_PATIENCE = 150.0
_SWAPPING = 6.0


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
        _daemon(plan, report)
    return report


def _tasks(plan: Plan, folder: Path) -> Iterator[Task]:
    from torture.mutations import found_seeds

    found = found_seeds(os.environ.get("TORTURE_SEEDS"))
    for kind, share in _SHARES.items():
        task = Task(kind, plan.seed, 0, 0, folder, tuple(found.get(kind, ())))
        yield replace(task, first=0, last=1_000_000, whole=True)
        groups = max(1, plan.n * share // sum(_SHARES.values()) // GROUP)
        for first in range(0, groups, _GROUPS_A_TASK):
            yield replace(task, first=first, last=min(first + _GROUPS_A_TASK, groups))


def _fuzz(plan: Plan, report: Report) -> None:
    from daemon.scheduling.workers import WorkerPool

    folder = plan.work / "fuzz"
    folder.mkdir()
    pool = WorkerPool(len(os.sched_getaffinity(0)), _FUZZ_SECONDS, _FUZZ_MEMORY)
    pool.warm_up()
    tally = Tally()
    began = time.monotonic()

    def work(task: Task) -> Tally:
        try:
            return pool.call(fuzz, task)
        except Exception as error:  # noqa: BLE001 - a worker that was lost is a finding; which file did it is looked for
            return _narrowed(task, error)

    def _narrowed(task: Task, error: Exception) -> Tally:
        if task.whole or task.last - task.first == 1:
            where = f"{task.kind} group {task.first} of seed {task.seed}"
            return Tally(planned=GROUP, findings=[f"{where}: {type(error).__name__}: {error}"])
        parts = Tally()
        for first in range(task.first, task.last):
            parts.add(work(replace(task, first=first, last=first + 1)))
        return parts

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
    report.figures["read with records set aside"] = f"{tally.with_damage:,}"
    report.figures["records set aside"] = f"{tally.aside:,}"


def _daemon(plan: Plan, report: Report) -> None:
    """A real daemon: a sample of damaged files, the bombs and the oddities, all at once."""
    from torture import mutations
    from torture.bombs import bombs, put_oddities

    world = World(plan.work, plan.breakage)
    landing = world.root / "landing"
    odd = put_oddities(landing, world.outside)
    chance = random.Random(plan.seed)
    files: dict[str, bytes] = {}
    for number in range(3 if plan.breakage else min(max(plan.n // 25, 20), 400)):
        seed = mutations.a_seed(chance.choice(mutations.KINDS), chance)
        files[f"sample/{number:04}{seed.suffix}"] = mutations.damage(seed.content, chance) or b"x"
    if plan.breakage != "follows_links":
        files |= {f"bombs/{name}": content for name, content in bombs(large=plan.n >= _LARGE)}
    for name, content in files.items():
        path = landing / name
        path.parent.mkdir(exist_ok=True)
        (world.outside / "arriving").write_bytes(content)
        (world.outside / "arriving").rename(path)
    report.planned += len(files) + len(odd.tokens) + len(odd.irregular)
    log = (plan.work / "daemon.log").open("wb")
    daemon = subprocess.Popen(
        world.command("run"),
        env=world.environment(worker_memory=str(_DAEMON_MEMORY), worker_timeout="30", retry_base="0.1"),
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    watch = _Watch(daemon.pid)
    watch.start()
    with _swapping(landing, world.outside / "secret.csv"):
        left = _rest(daemon, landing, set(odd.irregular), _PATIENCE * (4 if plan.n >= _LARGE else 1))
    watch.stop()
    alive = daemon.poll() is None
    if not alive:
        report.findings.append(f"the daemon died with {daemon.returncode}")
    else:
        daemon.send_signal(signal.SIGTERM)
        try:
            if daemon.wait(20) != 0:
                report.findings.append(f"the daemon ended with {daemon.returncode} when it was asked to stop")
        except subprocess.TimeoutExpired:
            daemon.kill()
            report.findings.append("the daemon did not stop when it was asked to")
    if left:
        report.hands += 1
        report.findings.append(f"still waiting after {_PATIENCE:g} s: {left[:5]}")
    report.figures["largest worker"] = f"{watch.most / 1e6:,.0f} MB (limit {_DAEMON_MEMORY / 1e6:.0f})"
    if watch.most > _DAEMON_MEMORY + _OVERSHOOT:
        report.findings.append(f"a worker held {watch.most / 1e6:,.0f} MB")
    _account(world, files, odd.tokens, report)
    gone = odd.moved()
    report.fired += len(odd.irregular) - len(gone)
    if gone:
        report.findings.append(f"not left where it was: {gone[:5]}")
    if not (world.outside / "hard.csv").exists() or not (world.outside / "secret.csv").exists():
        report.findings.append("a file outside landing is gone")
    log.close()
    if report.findings:
        report.figures["log"] = (plan.work / "daemon.log").read_text(errors="replace")[-300:]
    for socket in odd.sockets:
        socket.close()


def _rest(daemon: subprocess.Popen[bytes], landing: Path, irregular: set[Path], patience: float) -> list[str]:
    """Wait until nothing is left in landing but what is no file; returns what is left when patience ends."""
    until = time.monotonic() + patience
    left: list[str] = []
    quiet = 0
    while time.monotonic() < until and daemon.poll() is None and quiet < 4:
        left = [
            os.path.join(here, name)  # noqa: PTH118 - faster, and any bytes
            for here, _, names in os.walk(landing)
            for name in names
            if Path(here, name) not in irregular and name != ".canary"
        ]
        quiet = 0 if left else quiet + 1
        time.sleep(0.5)
    return left


class _swapping:  # noqa: N801 - used as a function
    """While the block runs a sender changes a file into a link to a secret and back, as fast as it can."""

    def __init__(self, landing: Path, secret: Path) -> None:
        self._path, self._secret = landing / "odd" / "swap.csv", secret
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._swap)

    def _swap(self) -> None:
        spare = self._path.with_name("swap.tmp")
        until = time.monotonic() + _SWAPPING
        while not self._end.wait(0.002) and time.monotonic() < until:
            with suppress(OSError):
                spare.unlink(missing_ok=True)
                spare.symlink_to(self._secret)
                spare.rename(self._path)
                self._path.unlink()
                spare.write_text("key,note\n1,swapped\n2,swapped\n")
                spare.rename(self._path)
        spare.unlink(missing_ok=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


class _Watch(threading.Thread):
    """Notes how much memory the largest worker of a daemon ever held."""

    def __init__(self, daemon: int) -> None:
        super().__init__()
        self._daemon = daemon
        self._end = threading.Event()
        self.most = 0

    def run(self) -> None:
        from daemon.scheduling.memory import memory_held

        while not self._end.wait(0.05):
            for thread in Path(f"/proc/{self._daemon}/task").glob("*/children"):
                with suppress(OSError):
                    for pid in thread.read_text().split():
                        self.most = max(self.most, memory_held(int(pid)))

    def stop(self) -> None:
        self._end.set()
        self.join()


def _account(world: World, files: dict[str, bytes], tokens: Sequence[str], report: Report) -> None:
    """Every dropped file is at rest once, with a reason if it was set aside; no secret is anywhere."""
    from torture.world import column

    data = world.root / "data"
    reasons = [json.loads(path.read_text()) for path in data.glob("quarantine/**/*.reason.json")]
    at_rest = Counter(entry["file"] for entry in reasons)
    kinds = {entry["file"]: entry["kind"] for entry in reasons}
    for path in data.glob("archive/**/*"):
        if path.is_file() and path.parent.name != "duplicates":
            at_rest[f"{path.relative_to(data / 'archive' / 'main').parts[0]}/{path.name}"] += 1
    for name in files:
        if at_rest[name] == 1:
            report.fired += 1
        else:
            report.findings.append(f"{name} is at rest {at_rest[name]} times: {kinds.get(name)}")
    for entry in reasons:
        trouble = oracle.unreadable_reason(entry["reason"].removeprefix(f"{entry['file']}: "))
        if trouble:
            report.findings.append(
                f"nobody understands the reason of {entry['file']} ({trouble}): {entry['reason']}"
            )
    bomb = "bombs/one_line.csv.gz"
    if bomb in files and kinds.get(bomb) != "too_much_memory":
        report.findings.append(
            f"{bomb} was not ended at the limit of memory but: {kinds.get(bomb, 'in gold')}"
        )
    found = Counter(column(f"{data}/gold/*/*/*.parquet", "key"))
    for token in tokens:
        report.records_in += 1
        report.fired += found[token] == 1
        report.lost += found[token] == 0
        report.doubled += found[token] > 1
        if found[token] != 1:
            report.findings.append(f"{token} is in gold {found[token]} times")
    told = subprocess.run(
        ["grep", "-rl", "secret", str(data)], capture_output=True, text=True, check=False
    ).stdout.split()
    if told or any("FEEDFACE" in token for token in found):
        report.findings.append(f"a link was followed out of landing: {told[:3]}")


CAMPAIGN = Campaign(
    "hostile",
    "damaged files of every format, bombs, links and odd names",
    run,
    short=1500,
    long=1_000_000,
    teeth={"no_memory_limit": 20, "follows_links": 20, "panics_unexplained": 400},
)
