"""`medalliond verify`: proves a root against its ledger while nobody works in it, and repairs what can be derived."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.audit.findings import Problem, Report
from daemon.audit.proof import Attempted, prove, repair
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.ledger.lock import RootLock, lock_holder
from daemon.catalog.ledger.opening import is_read_only
from daemon.cli.output import (
    count,
    on_terminal,
    print_json,
    print_line,
    print_table,
    printable,
    size,
)
from daemon.cli.progress import bytes_done
from daemon.cli.roots import WrongRequestError, open_root
from daemon.lake.layout import Layout
from daemon.lake.lost_ledger import refuse_lost_ledger

_SHOWN = 100
"""Problems listed on a terminal; a pipe and --json get all."""


def verify_root(root: Path, *, mend: bool, as_json: bool) -> int:
    """Prove a root and return the exit status: 0 when all is as the ledger says, else 1."""
    layout = open_root(root)
    attempts: list[Attempted] = []
    with _alone(layout), LedgerInventory.open(layout.ledger) as inventory:
        report = _prove(layout, inventory)
        if mend:
            attempts = repair(report)
            if attempts:
                report = _prove(layout, inventory)
                report.problems = _hindered(report.problems, attempts)
    if as_json:
        print_json(_document(layout, report, attempts))
    else:
        _print(layout, report, attempts)
    return int(bool(report.problems))


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Keep daemons out of the root: what they move would look lost. Raises WrongRequestError while one works in it."""
    refuse_lost_ledger(layout)
    if not layout.ledger.exists():
        raise WrongRequestError(
            f"{layout.ledger}: there is no ledger here yet, so there is nothing to prove."
        )
    if is_read_only(layout.ledger):  # so nobody works in it
        yield
        return
    pid = lock_holder(layout.lock)
    if pid is not None:
        raise WrongRequestError(
            f"{layout.root}: a daemon (pid {pid}) works on this root, and what it moves meanwhile would look lost. "
            "Stop it first, or prove a copy: `medalliond backup DIR`, then `medalliond verify --root DIR`."
        )
    lock = RootLock.acquire(layout.lock)
    try:
        yield
    finally:
        lock.release()


def _hindered(problems: list[Problem], attempts: list[Attempted]) -> list[Problem]:
    """Say of what could not be repaired why, and what is left to do."""
    why = {attempt.problem.path: attempt.hindered for attempt in attempts if attempt.hindered}
    return [
        replace(problem, next_step=f"restore it from a backup; it cannot be repaired: {why[problem.path]}")
        if problem.path in why
        else problem
        for problem in problems
    ]


def _prove(layout: Layout, inventory: LedgerInventory) -> Report:
    with bytes_done("reading", inventory.bytes()) as tell:
        return prove(layout, inventory, tell)


def _document(layout: Layout, report: Report, attempts: list[Attempted]) -> dict[str, Any]:
    return {
        "root": str(layout.root),
        "proved": not report.problems,
        "checked": {name.replace(" ", "_"): count for name, count in _checked(report).items()},
        "repairs": [
            {**_shown(attempt.problem), "repaired": attempt.hindered is None, "hindered": attempt.hindered}
            for attempt in attempts
        ],
        "problems": [_shown(problem) for problem in report.problems],
    }


def _shown(problem: Problem) -> dict[str, str]:
    return {
        "check": problem.check,
        "file": problem.path,
        "found": problem.found,
        "next_step": problem.next_step,
    }


def _checked(report: Report) -> dict[str, int]:
    names = (
        "layer files",
        "rows",
        "bytes",
        "links",
        "batches",
        "transitions",
        "lineage files",
        "dropped files",
        "quarantine files",
    )
    return {name: report.checked[name] for name in names}


def _print(layout: Layout, report: Report, attempts: list[Attempted]) -> None:
    print_table("checked", ("what", "count"), _checked(report).items())
    if attempts:
        print_table(
            "repairs",
            ("file", "was", "now"),
            (
                (attempt.problem.path, attempt.problem.found, "as before" if attempt.hindered else "repaired")
                for attempt in attempts
            ),
        )
    if on_terminal():
        _print_for_people(report.problems)
    elif report.problems:
        print_table(
            "problems",
            ("check", "file", "what is wrong", "next step"),
            ((problem.check, problem.path, problem.found, problem.next_step) for problem in report.problems),
        )
    print_line(printable(_verdict(layout, report)))


def _print_for_people(problems: list[Problem]) -> None:
    """List the first problems: paths and sentences are too long for columns."""
    for problem in problems[:_SHOWN]:
        print_line(f"{problem.check}: {printable(problem.path)} {printable(problem.found)}")
        print_line(f"     next: {printable(problem.next_step)}")
    if len(problems) > _SHOWN:
        print_line(f"and {len(problems) - _SHOWN} more; --json lists all")


def _verdict(layout: Layout, report: Report) -> str:
    if report.problems:
        return f"{layout.root}: not proved, {count(len(report.problems), 'problem')}"
    checked = report.checked
    return (
        f"{layout.root}: proved: {checked['rows']} rows in {checked['layer files']} files "
        f"({size(checked['bytes'])}) and {checked['dropped files']} dropped files are as the ledger says"
    )
