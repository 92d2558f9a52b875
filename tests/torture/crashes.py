"""Random kill -9 under load, of starts and recoveries as well: the daemon is never let come to rest before the end."""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torture import shim
from torture.campaign import Campaign, Outcome, Plan, Report
from torture.lanes import Lane, Lanes
from torture.life import LEFT_FOR_LATER, SETUP
from torture.warm import Warm
from torture.world import World

_KILLS = 25
"""Kills of one root, before it is drained and accounted for."""
_FILES = 4
_CALLS = 700
"""About so many calls that change a file does a daemon make for four files; half of the kills come in the first tenth,
which is recovery."""
_REST = 2.0
"""Seconds without such a call after which a daemon is taken to be at rest, and killed there."""
_LIFE = 5.0
"""Seconds after which a daemon is killed in any case: one at rest still touches its canary, which counts as a call."""


@dataclass(slots=True)
class Cut:
    """One root: its kills, those of them that came within the time of a recovery, and what came of it."""

    kills: int = 0
    in_recovery: int = 0
    outcome: Outcome = field(default_factory=Outcome)


def run(plan: Plan) -> Report:
    """Kill daemons `n` times, at random instants spread evenly over their busy time, on several roots side by side."""
    seeds = [plan.seed * 1000 + number for number in range((plan.n + _KILLS - 1) // _KILLS)]
    with Lanes(plan.work) as lanes:
        cuts = lanes.spread(lambda lane, seed: _live(lane, seed, min(_KILLS, plan.n), plan), seeds)
    report = Report(planned=len(cuts) * min(_KILLS, plan.n))
    for cut in cuts:
        report.fired += cut.kills
        cut.outcome.add_to(report)
    report.figures["roots"] = f"{len(cuts):,}"
    report.figures["during recovery"] = f"{sum(cut.in_recovery for cut in cuts):,}"
    return report


def _live(lane: Lane, seed: int, kills: int, plan: Plan) -> Cut:
    """One root: files arrive, the daemon starts and is killed, again and again."""
    chance = random.Random(seed)
    world = World(lane.root.parent / f"world{seed}", plan.breakage)
    setup = SETUP | ({"TORTURE_BREAKAGE": plan.breakage, **LEFT_FOR_LATER} if plan.breakage else {})
    cut = Cut()
    for kill in range(kills):
        if chance.random() < 0.6:  # else it is killed again while it recovers
            for number in range(kill * _FILES, (kill + 1) * _FILES):
                world.drop(number)
        target = chance.randint(1, _CALLS // 10 if chance.random() < 0.5 else _CALLS)
        status = _kill_one(lane.warm, world.root, setup, target, chance.uniform(0, 0.01))
        cut.kills += status == -signal.SIGKILL
        cut.in_recovery += target <= _CALLS // 10
    status = lane.warm.run(world.root, ["drain"], setup=setup)
    what = f"root of seed {seed} after {kills} kills"
    cut.outcome = outcome = world.account()
    outcome.findings = [f"{what}: {finding}" for finding in outcome.findings]
    if outcome.lost or outcome.doubled:
        outcome.findings.append(f"{what}: lost {outcome.lost[:3]}, doubled {outcome.doubled[:3]}")
    if status != 0:
        outcome.hands = 1
        outcome.findings.append(f"{what}: drain ended with {status}: {lane.warm.log.read_text()[-1000:]}")
    return cut


def _kill_one(warm: Warm, root: Path, setup: dict[str, str], target: int, later: float) -> int:
    """Run a daemon and kill it `later` seconds after it has made `target` calls, or once it is at rest."""

    def kill(pid: int) -> None:
        born_at = moved_at = time.monotonic()
        before = 0
        while before < target and time.monotonic() < min(moved_at + _REST, born_at + _LIFE):
            time.sleep(0.002)
            if warm.shim.changes != before:
                moved_at, before = time.monotonic(), warm.shim.changes
        time.sleep(later)
        with suppress(ProcessLookupError):  # it has ended by itself, which its status tells
            os.kill(pid, signal.SIGKILL)

    return warm.run(root, ["run"], setup=setup, meanwhile=kill)


CAMPAIGN = Campaign(
    "crashes",
    "kill -9 at random instants under load, recovery included",
    run,
    short=10,
    long=5000,
    teeth={"ledger_before_data": 80},
    missing=shim.missing,
)
