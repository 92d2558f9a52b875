"""The command line of the campaigns: one by name, or `short`, which runs them all in their short form with their teeth."""

import json
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import torture
from torture.campaign import Campaign, Plan, Report

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console(width=130)


def campaigns() -> dict[str, Campaign]:
    """All there are, by name: what the modules of this package define."""
    found = {}
    for module in iter_modules(torture.__path__):
        if module.name in {"__main__", "cli", "broken"}:
            continue
        for thing in vars(import_module(f"torture.{module.name}")).values():
            if isinstance(thing, Campaign):
                found[thing.name] = thing
    return dict(sorted(found.items()))


@app.command("list")
def show() -> None:
    """What campaigns there are, and what keeps one from running here."""
    table = Table("campaign", "what it does", "short n", "long n", "teeth", "cannot run here")
    for campaign in campaigns().values():
        teeth = ", ".join(campaign.teeth)
        table.add_row(
            campaign.name,
            campaign.summary,
            str(campaign.short),
            str(campaign.long),
            teeth,
            campaign.missing() or "",
        )
    console.print(table)


@app.command("run")
def run_one(
    name: str,
    n: Annotated[
        int | None, typer.Option("--n", help="How many faults; the long form's number unless told.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Chance unless told; printed.")] = None,
    teeth: Annotated[str | None, typer.Option(help="Run against this deliberately broken build.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Run one campaign. Exit status 1 when a promise was broken or a fault did not fire, 2 when it cannot run here."""
    campaign = campaigns().get(name)
    if campaign is None:
        raise typer.BadParameter(f"there is no campaign {name}; there are {', '.join(campaigns())}")
    reason = campaign.missing()
    if reason:
        console.print(f"{name} cannot run here: {reason}")
        raise typer.Exit(2)
    seed = random.randrange(10**6) if seed is None else seed
    report, seconds = _run(campaign, campaign.long if n is None else n, seed, teeth)
    if as_json:
        typer.echo(
            json.dumps({"campaign": name, "seed": seed, "seconds": round(seconds, 1), **asdict(report)})
        )
    else:
        console.print(_table([(campaign, teeth, seed, seconds, report)]))
        _print_findings(report.findings)
    raise typer.Exit(int(not report.kept))


@app.command()
def short(
    seed: Annotated[int | None, typer.Option(help="Chance unless told; printed.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this campaign; may be given more than once.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin with no further broken build after so many; all are tried unless told."),
    ] = None,
    *,
    none_skipped: Annotated[
        bool, typer.Option(help="That a campaign cannot run here is a failure as well.")
    ] = False,
) -> None:
    """Run every campaign in its short form, then broken builds, which it must catch; status 1 if one does not hold."""
    seed = random.randrange(10**6) if seed is None else seed
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    chosen = [campaign for campaign in campaigns().values() if not only or campaign.name in only]
    absent = {campaign.name: reason for campaign in chosen if (reason := campaign.missing())}
    for name, reason in absent.items():
        console.print(f"{name}: skipped, {reason}")
    run = [campaign for campaign in chosen if campaign.name not in absent]
    broken = [(campaign, breakage, n) for campaign in run for breakage, n in campaign.teeth.items()]
    random.Random(seed).shuffle(broken)
    done: list[tuple[Campaign, str | None, int, float, Report]] = []
    held = not (absent and none_skipped)
    for campaign, breakage, n in [*((campaign, None, campaign.short) for campaign in run), *broken]:
        if breakage and time.monotonic() > until:
            console.print(f"{campaign.name} {breakage}: not tried, for lack of time")
            continue
        try:
            report, seconds = _run(campaign, n, seed, breakage)
            if report.fired < report.planned and not report.broken:
                report, seconds = _run(
                    campaign, n, seed, breakage
                )  # a fault that does not fire tells nothing
        except Exception:  # noqa: BLE001 - it tells nothing of any build, and the others have to run all the same
            held = False
            _print_failure(campaign, breakage, [traceback.format_exc()])
            continue
        done.append((campaign, breakage, seed, seconds, report))
        if not (report.broken if breakage else report.kept):
            held = False
            _print_failure(campaign, breakage, report.findings)
    console.print(_table(done))
    raise typer.Exit(int(not held))


def _run(campaign: Campaign, n: int, seed: int, breakage: str | None) -> tuple[Report, float]:
    work = Path(tempfile.mkdtemp(prefix=f"torture-{campaign.name}-"))
    started = time.monotonic()
    try:
        report = campaign.run(Plan(n, seed, work, breakage))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report, time.monotonic() - started


def _table(runs: list[tuple[Campaign, str | None, int, float, Report]]) -> Table:
    table = Table(
        "campaign",
        "build",
        "planned",
        "fired",
        "records in",
        "lost",
        "doubled",
        "hands",
        "seed",
        "seconds",
        "besides",
    )
    for campaign, breakage, seed, seconds, report in runs:
        numbers = (
            report.planned,
            report.fired,
            report.records_in,
            report.lost,
            report.doubled,
            report.hands,
            seed,
        )
        besides = ", ".join(f"{name} {value}" for name, value in report.figures.items())
        table.add_row(
            campaign.name, breakage or "", *(f"{number:,}" for number in numbers), f"{seconds:.1f}", besides
        )
    return table


def _print_failure(campaign: Campaign, breakage: str | None, findings: Sequence[str]) -> None:
    console.print(f"[bold red]{campaign.name} {breakage or ''}: does not hold")
    _print_findings(findings)


def _print_findings(findings: Sequence[str]) -> None:
    for finding in findings[:20]:
        console.print(f"- {finding}", markup=False)
