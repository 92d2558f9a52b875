"""Death before and after every durable step: the list is made from the code, and every point of it must be come to."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from torture import points, shim
from torture.campaign import Campaign, Outcome, Plan, Report
from torture.corners import CORNERS
from torture.lanes import Lane, Lanes
from torture.life import LEFT_FOR_LATER, SETUP, Life
from torture.scenes import SCENES

_PREPARE = "torture.points:install"


_DEATHS_A_SCENE = 10
"""A run of few deaths lives through few scenes only: one for so many deaths."""
_TELLING = {
    "ledger_before_data": "after catalog.ledger.outcomes:OutcomeLedger.commit:transaction#1",
    "at_rest_before_it_is_moved": "before lake.archive:_link:link#1",
}
"""Where a broken build has to die."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A point, and the scene in which to die there: the one whose run has the fewest points."""

    point: str
    life: Life


def run(plan: Plan) -> Report:
    """Come to every point in some scene; then die at `n` of them (all, where there are no more), restart, judge."""
    chance = random.Random(plan.seed)
    listed = [f"{side} {name}" for name in points.names() for side in ("before", "after")]
    scenes = (*SCENES, *CORNERS)
    telling = _TELLING.get(plan.breakage or "")
    whole = plan.n >= _DEATHS_A_SCENE * len(scenes)
    lived_through = scenes if whole else chance.sample(scenes, max(1, plan.n // _DEATHS_A_SCENE))
    if telling:
        lived_through = SCENES[-1:]
    report = Report()
    with Lanes(plan.work, prepare=_PREPARE) as lanes:
        lived = lanes.spread(
            lambda lane, scene: _explore(lane, Life.prepare(scene, lane.warm, plan.work, lane.root)),
            lived_through,
        )
        visits = _visits([telling] if telling else listed, lived)
        chosen = visits if plan.n >= len(visits) else chance.sample(visits, plan.n)
        done = lanes.spread(lambda lane, visit: _die(lane, visit, plan), chosen)
    if whole:
        missed = sorted(set(listed) - {visit.point for visit in visits})
        report.findings += [
            f"no scene comes to this point, so nothing is known of it: {name}" for name in missed
        ]
    for fired, outcome in done:
        report.planned += 1
        report.fired += fired
        outcome.add_to(report)
    report.figures["scenes"] = f"{len(lived)} of {len(scenes)}"
    report.figures["points come to"] = f"{len(visits):,} of {len(listed):,} ({len(visits) / len(listed):.0%})"
    return report


def _explore(lane: Lane, life: Life) -> tuple[Life, list[str]]:
    """Which points the scene's calm run, and the drain after it, come to."""
    log = lane.root.parent / "points"
    log.unlink(missing_ok=True)
    root = life.begin(lane.root)
    logged = {points.LOG: str(log)}
    life.run(lane.warm, root, logged)
    lane.warm.run(root, ["drain"], setup=_setup(life) | logged)
    return life, log.read_text().splitlines()


def _visits(listed: Iterable[str], lived: Iterable[tuple[Life, list[str]]]) -> list[Visit]:
    best: dict[str, tuple[int, Life]] = {}
    for life, reached in lived:
        for point in set(reached):
            if point not in best or len(reached) < best[point][0]:
                best[point] = (len(reached), life)
    return [Visit(point, best[point][1]) for point in listed if point in best]


def _die(lane: Lane, visit: Visit, plan: Plan) -> tuple[bool, Outcome]:
    """Die at a point; whether it fired, and what came of it."""
    mark = lane.root.parent / "mark"
    mark.unlink(missing_ok=True)
    life = visit.life
    root = life.begin(lane.root)
    broken = {"TORTURE_BREAKAGE": plan.breakage, **LEFT_FOR_LATER} if plan.breakage else {}
    fatal = {points.POINT: visit.point, points.MARK: str(mark)} | broken
    life.run(lane.warm, root, fatal)
    if not mark.exists():  # it is a step of the drain's after it
        lane.warm.run(root, ["drain"], setup=_setup(life) | fatal)
    life.run(lane.warm, root, broken)  # what was cut short is begun again
    status = lane.warm.run(root, ["drain"], setup=_setup(life) | broken)
    return mark.exists(), life.judge(lane.warm, root, status, f"{life.scene.name}: died {visit.point}")


def _setup(life: Life) -> dict[str, str]:
    return {**SETUP, **life.scene.setup}


CAMPAIGN = Campaign(
    "failpoints",
    "death before and after every durable step, 100 % of a list made from the code",
    run,
    short=20,
    long=1000,
    teeth=dict.fromkeys(_TELLING, 1),
    missing=shim.missing,
)
