"""Stories told by Hypothesis to the daemon's own parts in one process. Used by the campaigns `crowded` and `changes`."""

import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NoReturn

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from torture.campaign import Plan, Report


class Story(RuleBasedStateMachine):
    """A story that is told below `work`, and what is seen in it is counted in `report`."""

    report: Report
    work: Path


def tell(
    kind: type[Story],
    plan: Plan,
    report: Report,
    *,
    stories: int,
    acts: int,
    broken: AbstractContextManager[object],
) -> None:
    """Tell so many stories of so many acts at most, or a broken build's until one goes wrong.

    `broken`: what makes that build of the daemon, a patch of `mock`.
    """
    story = type(kind.__name__, (kind,), {"report": report, "work": plan.work})
    quiet = structlog.get_config()
    structlog.configure(processors=[_unheard])
    try:
        with nullcontext() if plan.breakage is None else broken:
            run_state_machine_as_test(
                seed(plan.seed)(story),
                settings=settings(
                    max_examples=stories,
                    stateful_step_count=acts,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate],  # to find the shortest story takes minutes
                ),
            )
    except Exception as error:  # noqa: BLE001 - whatever went wrong in a story is a finding
        report.findings.append("a story: " + "".join(traceback.format_exception(error))[-2500:])
    finally:
        structlog.configure(**quiet)
    report.figures["stories"] = f"{stories:,}"


def _unheard(*_: object) -> NoReturn:
    """The log of a story: nobody reads it."""
    raise structlog.DropEvent
