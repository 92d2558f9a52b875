"""The grammar of `medalliond quarantine`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.grammar import HERE, Json, Root, Table, Wait, Why, text
from daemon.cli.selection import Selection

Rule = Annotated[
    str | None,
    typer.Option(
        "--rule", parser=text, help="Caught by this rule only: check:NAME, cast:COLUMN, or a kind of damage."
    ),
]
File = Annotated[
    str | None,
    typer.Option("--file", parser=text, help="Of this dropped file only: its name, or the last part of it."),
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", help="Set aside since this day or instant (UTC): 2026-11-23T08:00:00."),
]
Record = Annotated[list[int] | None, typer.Option("--record", help="Only this record of --file.")]
All = Annotated[bool, typer.Option("--all", help="Really all that is in quarantine.")]

quarantine = typer.Typer(help="Records and files that were set aside, and why.", no_args_is_help=True)


@quarantine.command("list")
def quarantine_list(
    root: Root = HERE,
    *,
    table: Table = None,
    rule: Rule = None,
    file: File = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """List what was set aside, newest first."""
    from daemon.cli.quarantine import list_quarantine  # noqa: PLC0415 - see main.py

    list_quarantine(root, Selection(table, rule, file, since), as_json=as_json)


@quarantine.command("show")
def quarantine_show(
    name: Annotated[
        str, typer.Argument(metavar="BATCH|FILE|TABLE", parser=text, help="Whose records and files to show.")
    ],
    root: Root = HERE,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many records.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the records that were set aside, and why."""
    from daemon.cli.quarantine import show_quarantine  # noqa: PLC0415 - see main.py

    show_quarantine(root, name, limit=limit, as_json=as_json)


@quarantine.command("export")
def quarantine_export(
    path: Annotated[Path, typer.Argument(help="A new .csv, .ndjson or .parquet file.")],
    root: Root = HERE,
    *,
    table: Table = None,
    rule: Rule = None,
    file: File = None,
    since: Since = None,
) -> None:
    """Write set-aside records to a file, with the reasons, for whoever is to mend them."""
    from daemon.cli.quarantine import export_quarantine  # noqa: PLC0415 - see main.py

    export_quarantine(root, path, Selection(table, rule, file, since))


@quarantine.command("replay")
def quarantine_replay(  # noqa: PLR0913 - one parameter an option
    root: Root = HERE,
    *,
    table: Table = None,
    rule: Rule = None,
    file: File = None,
    since: Since = None,
    everything: All = False,
    why: Why = "",
    wait: Wait = True,
) -> None:
    """Run set-aside records and files again under the present contract.

    The batches they came in are made anew, so that no record can enter twice; files go back to landing.
    """
    from daemon.cli.decisions import replay  # noqa: PLC0415 - see main.py

    raise typer.Exit(
        replay(root, Selection(table, rule, file, since), everything=everything, why=why, wait=wait)
    )


@quarantine.command("release")
def quarantine_release(  # noqa: PLR0913 - one parameter an option
    root: Root = HERE,
    *,
    table: Table = None,
    rule: Rule = None,
    file: File = None,
    record: Record = None,
    since: Since = None,
    why: Why = "",
    wait: Wait = True,
) -> None:
    """Let records pass the check that caught them: a person has looked, and they are right."""
    from daemon.cli.decisions import release  # noqa: PLC0415 - see main.py

    chosen = Selection(table, rule, file, since, _within(file, record))
    raise typer.Exit(release(root, chosen, why=why, wait=wait))


@quarantine.command("discard")
def quarantine_discard(  # noqa: PLR0913 - one parameter an option
    root: Root = HERE,
    *,
    table: Table = None,
    rule: Rule = None,
    file: File = None,
    record: Record = None,
    since: Since = None,
    everything: All = False,
    why: Why = "",
) -> None:
    """Say that records and files are not wanted: they are no longer listed, and the files are removed."""
    from daemon.cli.decisions import discard  # noqa: PLC0415 - see main.py

    chosen = Selection(table, rule, file, since, _within(file, record))
    raise typer.Exit(discard(root, chosen, everything=everything, why=why))


def _within(file: str | None, record: list[int] | None) -> tuple[int, ...]:
    if record and file is None:
        raise typer.BadParameter("--record counts within a file: say which, with --file")
    return tuple(record or ())
