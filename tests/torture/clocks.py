"""Steps of the wall clock in a live daemon: an hour or a day back, two hours on, to and fro of summer time; between runs.

`clockshim.c` gives the daemon a wall clock of its own. After every step the sweep, a retry, the contracts' look and
systemd's watchdog must go on in the time they always take, and what is delivered later must stay later: in the order of
the batches, of each batch's hops, and in `dedup: keep: last`.
"""

import json
import os
import random
import shutil
import socket
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from torture.campaign import Campaign, Plan, Report
from torture.world import World, column

_SHIM = Path(__file__).with_name("clockshim.c")
_HOUR = 3600
_STEPS = {"back an hour": -_HOUR, "on two hours": 2 * _HOUR, "back a day": -24 * _HOUR}
_CHANGES = {  # two seconds before the clocks of Berlin are changed
    "summer time begins": datetime(2027, 3, 28, 0, 59, 58, tzinfo=UTC),
    "summer time ends": datetime(2027, 10, 31, 0, 59, 58, tzinfo=UTC),
}
_KINDS = (*_STEPS, *_CHANGES, "back an hour while no daemon runs")
_SOON = 20.0
"""Seconds in which a sweep, a retry or a contract's reload must have come: each is due every one or two."""
_SILENCE = 20.0
"""Seconds without a word to systemd's watchdog that are too many; it would restart the service after a minute."""
_LATEST = """
silver:
  dedup: {keys: [id], keep: last}
"""


class Clock:
    """The wall clock of the daemons of a campaign."""

    def __init__(self, work: Path) -> None:
        self._library = work / "clockshim.so"
        self._file = work / "clock"
        self._file.write_bytes(struct.pack("q", 0))
        compile_it = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SHIM)]
        subprocess.run(compile_it, check=True)
        self.ahead = 0

    def step(self, seconds: int) -> None:
        """Let it jump."""
        self.ahead += seconds
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", self.ahead))

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to live by this clock, somewhere in Germany."""
        return {"LD_PRELOAD": str(self._library), "TORTURE_CLOCK": str(self._file), "TZ": "Europe/Berlin"}

    def now(self) -> float:
        """What a process that lives by this clock believes."""
        code = "import time; print(time.time())"
        answer = subprocess.run(
            ["python3", "-c", code], env={**os.environ, **self.environment}, capture_output=True, check=True
        )
        return float(answer.stdout)


class TimedWorld(World):
    """A root whose daemon lives by a clock of ours and tells its watchdog to us."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.work, plan.breakage)
        self.clock = Clock(plan.work)
        (self.root / "catalog/contracts/main").mkdir()
        (self.root / "catalog/contracts/main/latest.yaml").write_text(_LATEST)
        (self.root / "landing/latest").mkdir()
        self._log = plan.work / "daemon.log"
        self.aside = plan.work / "aside"
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._systemd.bind(str(plan.work / "notify"))
        self._notify = str(plan.work / "notify")
        self.fed_at = time.monotonic()
        self.longest_silence = 0.0
        self.version = 0

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """A daemon that is ready; it is asked to stop when the block ends."""
        begun = self.count("daemon_ready")
        environment = self.environment(log_level="debug", workers="1") | self.clock.environment
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self.command("run"),
                env=environment | {"NOTIFY_SOCKET": self._notify},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            if not self.wait(lambda: self.count("daemon_ready") > begun, 60):
                raise RuntimeError(self._log.read_text()[-2000:])
            self.fed_at = time.monotonic()
            yield
        finally:
            process.terminate()
            process.wait(60)

    def count(self, event: str, **fields: str) -> int:
        """How often the daemon has logged this."""
        if not self._log.exists():
            return 0
        lines = (
            json.loads(line) for line in self._log.read_text().splitlines() if f'"event": "{event}"' in line
        )
        return sum(fields.items() <= line.items() for line in lines)

    def wait(self, true: Callable[[], bool], seconds: float = _SOON) -> bool:
        """Wait until something is true, listening to what systemd is told; returns whether it came in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.listen()
            if true():
                return True
            time.sleep(0.05)
        return False

    def listen(self) -> None:
        """Hear what systemd is told, and how long it was told nothing."""
        while True:
            try:
                word = self._systemd.recv(4096)
            except BlockingIOError:
                break
            if word == b"WATCHDOG=1":
                self.fed_at = time.monotonic()
        self.longest_silence = max(self.longest_silence, time.monotonic() - self.fed_at)

    def deliver_latest(self) -> bool:
        """Deliver a newer version of the same key; returns whether gold shows it in time."""
        self.version += 1
        name = f"v{self.version:06}.csv"
        (self.outside / name).write_text(f"id,version\nkey,{self.version}\n")
        (self.outside / name).rename(self.root / "landing/latest" / name)
        gold = f"{self.root}/data/gold/main/latest/*.parquet"
        return self.wait(lambda: column(gold, "version") == [str(self.version)])


def run(plan: Plan) -> Report:
    """Step the clock `n` times, each kind of step in turn."""
    report = Report(planned=plan.n)
    world = TimedWorld(plan)
    chance = random.Random(plan.seed)
    kinds = [_KINDS[number % len(_KINDS)] for number in range(plan.n)]
    chance.shuffle(kinds)
    slowest = 0.0
    while kinds and not report.findings:
        with world.daemon():
            if not world.deliver_latest():
                report.findings.append("gold does not show the newest version after a start")
            while kinds and kinds[-1] != _KINDS[-1] and not report.findings:
                began = time.monotonic()
                _step_alive(world, kinds.pop(), len(kinds), report)
                slowest = max(slowest, time.monotonic() - began)
        if kinds and kinds[-1] == _KINDS[-1]:
            kinds.pop()
            report.fired += _stepped(world, -_HOUR)
    if world.longest_silence > _SILENCE:
        report.findings.append(f"the watchdog was not fed for {world.longest_silence:.1f} s")
    report.figures["longest silence of the watchdog"] = f"{world.longest_silence:.1f} s"
    report.figures["slowest round of sweep, retry, reload, delivery"] = f"{slowest:.1f} s"
    _settle(world, report)
    return report


def _stepped(world: TimedWorld, seconds: int) -> bool:
    """Let the clock jump; returns whether a process that lives by it sees the new time."""
    world.clock.step(seconds)
    return abs(world.clock.now() - time.time() - world.clock.ahead) < 60


def _step_alive(world: TimedWorld, kind: str, number: int, report: Report) -> None:
    """Step the clock of a live daemon while a retry waits, and see that all goes on."""
    retried, seen = world.count("promotion_retried"), world.count("clock_stepped")
    obstacle = world.root / "data/.generations/staged/main/events"
    if obstacle.exists():
        obstacle.rename(world.aside)
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text(
        "in the way"
    )  # a fault of the machine: what needs the folder is tried again until it is back
    world.drop(2 * number)
    if not world.wait(lambda: world.count("promotion_retried") > retried):
        report.findings.append(f"{kind}: nothing was retried before the step")
    seconds = _STEPS.get(kind)
    if seconds is None:
        seconds = int(_CHANGES[kind].timestamp() - time.time() - world.clock.ahead)
    fired = _stepped(world, seconds)
    if not world.wait(lambda: world.count("clock_stepped") > seen):
        report.findings.append(f"{kind}: the daemon has not noticed")
    report.fired += fired
    obstacle.unlink()
    if world.aside.exists():
        world.aside.rename(obstacle)
    swept = world.count("sweep_completed")
    reloaded = world.count("contract_reloaded")
    contract = world.root / "catalog/contracts/main/latest.yaml"
    contract.write_text(f"{_LATEST}# {number}\n")
    resting = world.root / "data/archive/main/events"
    expected = {
        "no sweep": lambda: world.count("sweep_completed") > swept + 1,
        "no retry": lambda: any(resting.rglob(f"{2 * number:06}.csv")),
        "no look at the contracts": lambda: world.count("contract_reloaded") > reloaded,
    }
    for missing, came in expected.items():
        if not world.wait(came):
            report.findings.append(f"{kind}: {missing} within {_SOON:g} s")
            return
    if not world.deliver_latest():
        report.findings.append(f"{kind}: gold does not show the newest version")


def _settle(world: TimedWorld, report: Report) -> None:
    """Account for everything, and look whether what came later sorts later."""
    world.settle(report, "the steps")
    with closing(sqlite3.connect(world.root / "catalog/state.sqlite3")) as ledger:
        batches = [row[0] for row in ledger.execute("SELECT batch_id FROM files ORDER BY file_id")]
        hops = ledger.execute("SELECT batch_id, transition_id, target_layer FROM transitions").fetchall()
    if batches != sorted(batches):
        report.findings.append("batches do not sort in the order in which they were taken")
    order = {"staged": 0, "bronze": 1, "silver": 2, "gold": 3}
    for batch_id in set(batches):
        first: dict[str, str] = {}
        for batch, transition_id, layer in hops:
            if batch == batch_id:
                first[layer] = min(transition_id, first.get(layer, transition_id))
        climbed = [first[layer] for layer in sorted(first, key=order.__getitem__)]
        if climbed != sorted(climbed):
            report.findings.append(f"the hops of batch {batch_id} do not sort in their order")


def _missing() -> str | None:
    return None if shutil.which("gcc") else "its clock is a small library, which needs gcc to be made"


CAMPAIGN = Campaign(
    "clocks",
    "steps of the wall clock in a live daemon, the ends of summer time, and steps between runs",
    run,
    short=6,
    long=120,
    teeth={"clock_not_followed": 2, "ids_by_the_clock_alone": 6},
    missing=_missing,
)
