"""The proof of a root, and its repair. Called by the command `verify`, which holds the root's lock meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass

from daemon.audit.findings import CannotMendError, Problem, Report
from daemon.audit.histories import HistoryAudit
from daemon.audit.layers import LayerAudit, removing
from daemon.audit.remaking import Remaker
from daemon.audit.sources import SourceAudit
from daemon.audit.tables import missing_metadata
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.lake.layout import Layout

Tell = Callable[[int], None]
"""Is told the bytes of every file that has been looked at, from several threads."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """A problem that a repair took on; `hindered` says why it could not be put right, None when it was."""

    problem: Problem
    hindered: str | None


def prove(layout: Layout, inventory: LedgerInventory, tell: Tell) -> Report:
    """Hold everything in a root against its ledger. Nobody may work in the root meanwhile."""
    report = Report()
    damage = inventory.views.damage()
    if damage is not None:
        next_step = "restore the ledger from a backup; nothing else was looked at"
        report.problems.append(
            Problem("ledger", layout.relative(layout.ledger), f"is damaged: {damage}", next_step)
        )
        return report
    remaker = Remaker(layout, inventory)
    LayerAudit(layout, inventory, remaker, tell).run(report)
    HistoryAudit(layout, inventory).run(report)
    SourceAudit(layout, inventory, tell).run(report)
    report.problems.extend(missing_metadata(layout, inventory))
    if remaker.scratch.exists():
        path = layout.relative(remaker.scratch)
        report.problems.append(
            Problem(
                "leftover", path, "was never finished", "`--repair` removes it", removing(remaker.scratch)
            )
        )
    return report


def repair(report: Report) -> list[Attempted]:
    """Put right what can be, lower layers first; prove the root again to see what is left."""
    attempts = []
    for problem in report.problems:
        if problem.mend is None:
            continue
        hindered = None
        try:
            problem.mend()
        except CannotMendError as error:
            hindered = str(error)
        except OSError as error:
            hindered = f"{error.filename}: {error.strerror}"
        attempts.append(Attempted(problem, hindered))
    return attempts
