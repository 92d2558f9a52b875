"""SIGKILL at the entry of every system call that changes a file, in a file's whole life, in main process and worker."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torture import shim
from torture.campaign import Campaign, Outcome, Plan, Report
from torture.lanes import Lane, Lanes
from torture.life import LEFT_FOR_LATER, SETUP, Life
from torture.scenes import calm_lives
from torture.shim import NO_FAULT, Action, Call, Calls, Fault, Roles

_AGAIN = 9
"""How often the restart after a kill is killed as well, where it comes so far."""
_SHARE = 0.8
"""Of the calls that a restart is likely to make: so that most kills of restarts find it at work."""
_FEWEST = 12
"""Calls that every start makes."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NONCE = re.compile(r"\.[0-9a-f]{16}\.tmp$|tmp[a-z0-9_]{8}\.tmp$")


@dataclass(frozen=True, slots=True)
class Point:
    """The `target`-th of the `calls` that change something in a scene (of its workers alone, for KILL_CALLER)."""

    life: Life
    action: Action
    target: int
    calls: int


@dataclass(frozen=True, slots=True)
class Killed:
    """A life that was cut short: the addresses of the kills, the first None if it did not fire; and what came of it."""

    addresses: list[str | None]
    outcome: Outcome


def run(plan: Plan) -> Report:
    """Kill `n` runs, spread evenly over all calls that calm runs of all scenes make; kill restarts too; then judge."""
    chance = random.Random(plan.seed)
    with Lanes(plan.work) as lanes:
        points = list(_points(calm_lives(lanes, plan)))
        chosen = points if plan.n >= len(points) else chance.sample(points, plan.n)
        killed = lanes.spread(lambda lane, point: _kill(lane, point, plan), chosen)
    report = Report(figures={"calls": f"{len(points):,}"})
    for one in killed:
        report.planned += len(one.addresses)
        report.fired += sum(address is not None for address in one.addresses)
        one.outcome.add_to(report)
    addresses = {address for one in killed for address in one.addresses if address}
    report.figures["distinct points"] = f"{len(addresses):,}"
    report.figures["in workers"] = f"{sum(' worker ' in address for address in addresses):,}"
    report.figures["in restarts"] = f"{sum('again' in address for address in addresses):,}"
    return report


def _points(lives: Iterable[tuple[Life, list[Call]]]) -> Iterator[Point]:
    """Every call that changes something: the whole daemon dies there; where a worker makes it, that worker alone too."""
    for life, made in lives:
        changing = [call for call in made if call.kind in Calls.CHANGING]
        calls, by_workers = len(changing), sum(not call.by_parent for call in changing)
        yield from (Point(life, Action.KILL_DAEMON, number, calls) for number in range(1, calls + 1))
        yield from (
            Point(life, Action.KILL_CALLER, number, by_workers) for number in range(1, by_workers + 1)
        )


def _kill(lane: Lane, point: Point, plan: Plan) -> Killed:
    """Kill one run, restart, judge. A kill of a restart counts as planned where the restart came so far."""
    setup = SETUP | ({"TORTURE_BREAKAGE": plan.breakage, **LEFT_FOR_LATER} if plan.breakage else {})
    chance = random.Random(f"{plan.seed} {point.life.scene.name} {point.action} {point.target}")
    root, name = point.life.begin(lane.root), point.life.scene.name
    roles = Roles.WORKER if point.action is Action.KILL_CALLER else Roles.ALL
    target, addresses = point.target, list[str | None]()
    status, left = -9, point.calls
    while status == -9:
        again = f"{name}{' again' if addresses else ''}"
        fault = Fault(point.action, target, roles=roles) if len(addresses) <= _AGAIN else NO_FAULT
        status = lane.warm.run(root, ["drain"], setup=setup, fault=fault)
        address = address_of(again, lane.warm.shim.calls())
        if address or not addresses:
            addresses.append(address)
        left = max(_FEWEST, int((left - target) * _SHARE))
        target = chance.randint(1, left)
    return Killed(
        addresses, point.life.judge(lane.warm, root, status, f"killed at {', '.join(map(str, addresses))}")
    )


def address_of(scene: str, calls: list[Call]) -> str | None:
    """Where the call that was met stands: who made it, which file it is about, and how many such there were before."""
    seen: Counter[str] = Counter()
    for call in calls:
        path = _NONCE.sub("*.tmp", _UUID.sub("*", call.path))
        address = f"{scene} {'parent' if call.by_parent else 'worker'} {call.name} {path}"
        seen[address] += 1
        if call.met is not Action.NOTHING:
            return f"{address} #{seen[address]} {call.met.name}"
    return None


CAMPAIGN = Campaign(
    "syscalls",
    "SIGKILL at every system call that changes a file, landing to archive, in main process and worker",
    run,
    short=8,
    long=5000,
    teeth={"ledger_before_data": 12},
    missing=shim.missing,
)
