"""Many at once: double starts, one content under many names, many contents under one name, writers that do not let go."""

import random
import re
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture import actions
from torture.campaign import Campaign, Plan, Report
from torture.world import World, column, content

_PATIENCE = 90.0
_REFUSED = "another medalliond"
_ROWS = 5


def _starts(plan: Plan, report: Report, world: World) -> None:
    """Start two daemons at once, each time after a kill: one works, the other is refused in words."""
    logs = [world.outside / f"start-{number}.log" for number in range(2)]
    for start in range(plan.n):
        world.drop(start, _ROWS)
        daemons = []
        for log in logs:
            with log.open("wb") as output:
                daemons.append(
                    subprocess.Popen(
                        world.command("run"), env=world.environment(), stdout=output, stderr=output
                    )
                )
        report.planned += 1
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            refused = [log for log, daemon in zip(logs, daemons, strict=True) if daemon.poll() is not None]
            ready = [log for log in logs if "daemon_ready" in log.read_text()]
            if len(ready) + len(refused) >= len(daemons):
                break
            time.sleep(0.05)
        in_words = [log for log in refused if _REFUSED in log.read_text()]
        if len(ready) == len(in_words) == 1:
            report.fired += 1
        else:
            report.findings.append(f"of two started {len(ready)} work, {len(in_words)} were refused in words")
        for daemon in daemons:
            daemon.kill()
            daemon.wait()


def _names(plan: Plan, report: Report, world: World) -> None:
    """One content under many names, many contents under one name; and files whose writers write on."""
    chance = random.Random(plan.seed)
    count = max(10, plan.n // 4)
    first = 500_000
    with (world.outside / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            world.command("run"), env=world.environment(), stdout=log, stderr=subprocess.STDOUT
        )
    with ThreadPoolExecutor() as senders:
        senders.submit(_same_content, world, first, count)
        senders.submit(_same_name, world, first + 1_000, count)
        slow = senders.submit(_slow_writers, world, first + 100_001, count, chance)
    daemon.send_signal(signal.SIGTERM)
    if daemon.wait(_PATIENCE) != 0:
        report.findings.append(f"the daemon ended with {daemon.returncode}")
    sent = [first, *(first + 1_000 + number for number in range(count))]
    sent += [first + 100_001 + 2 * number for number in range(count)]
    world.dropped |= dict.fromkeys(sent, _ROWS)
    world.drain(report, "many names")
    archived = world.root / "data/archive/main/events"
    report.planned += 3 * count - 1
    report.fired += len(list(archived.glob("*/duplicates/copy-*.csv")))
    report.fired += len(list(archived.glob("*/always*.csv"))) + slow.result()


def _same_content(world: World, number: int, count: int) -> None:
    for copy in range(count):
        path = world.outside / f"copy-{copy}.csv"
        path.write_text(content(number, _ROWS))
        path.rename(world.root / "landing/events" / path.name)
        time.sleep(0.02)


def _same_name(world: World, first: int, count: int) -> None:
    """A sender that waits until the name is free again, as `ln` does: nobody's file is overwritten."""
    target = world.root / "landing/events/always.csv"
    for number in range(first, first + count):
        path = world.outside / f"next-{number}.csv"
        path.write_text(content(number, _ROWS))
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            try:
                target.hardlink_to(path)
            except FileExistsError:
                time.sleep(0.005)
            else:
                break
        path.unlink()


def _slow_writers(world: World, first: int, count: int, chance: random.Random) -> int:
    """Files moved in while their writer has them open and writes on, past every other sign of being finished.

    Returns how many were left to him until then.
    """
    until = time.monotonic() + _PATIENCE
    while not (world.root / "data/archive").exists() and time.monotonic() < until:
        time.sleep(0.05)  # until its workers have woken, it takes nothing so soon that it could be too soon
    left = 0
    for number in range(first, first + 2 * count, 2):
        text = content(number, _ROWS)
        ends = [at + 1 for at, sign in enumerate(text) if sign == "\n"]
        cut = chance.choice(ends[1:-1])  # between records: nothing in what is there says that more will come
        path = world.outside / f"{number}.csv"
        with path.open("w") as writer:
            writer.write(text[:cut])
            writer.flush()
            landed = path.rename(world.root / "landing/sales/orders" / path.name)
            time.sleep(
                chance.uniform(0.3, 0.6)
            )  # longer than `settle`, and than a file takes that is not waited for
            left += landed.exists()
            writer.write(text[cut:])
    return left


def _account(world: World, report: Report) -> None:
    """Every record once in gold or set aside, whatever lies among the duplicates."""
    found = Counter(_tokens(world.root))
    report.records_in += sum(world.dropped.values())
    for number, rows in world.dropped.items():
        times = [found[f"T{number:06}-{row:04}"] for row in range(rows)]
        report.lost += times.count(0)
        report.doubled += sum(time > 1 for time in times)
    proof = world.run("verify")
    if proof.returncode != 0:
        report.findings.append(f"verify: {(proof.stdout + proof.stderr)[-1000:]}")


def _tokens(root: Path) -> list[str]:
    tokens = []
    for table in ("main/events", "sales/orders"):
        tokens += column(f"{root}/data/gold/{table}/*.parquet", "id")
        for raw in column(f"{root}/data/quarantine/{table}/*.parquet", "raw"):
            tokens += re.findall(r"\bT\d{6}-\d{4}\b", raw)
    return tokens


def run(plan: Plan) -> Report:
    """Make `n` double starts; a quarter as many files of each kind of crowding, and half as many stories of a user."""
    report = Report()
    if plan.breakage != "claims_forgotten":
        world = World(plan.work, plan.breakage)
        if plan.breakage != "lease_not_asked":
            _starts(plan, report, world)
        if plan.breakage != "lock_not_taken":
            _names(plan, report, world)
        world.drain(report, "the crowd")
        _account(world, report)
    if plan.breakage in (None, "claims_forgotten"):
        actions.play(plan, report, plan.n // 2)
    return report


CAMPAIGN = Campaign(
    "crowded",
    "many at once: double starts, one content and many names, one name and many contents, slow writers, meddling users",
    run,
    short=10,
    long=500,
    teeth={"lock_not_taken": 2, "lease_not_asked": 10, "claims_forgotten": 10},
)
