"""The grammar of `medalliond`: every command with its options, and nothing else; with the two modules grammar_*.py.

The work of each command is in the module of this package named after its noun. These are imported by the
command that needs them and by no other: `medalliond --help` must not wait for polars, duckdb or pydantic (the
listed exception to the rule that nothing is imported inside functions). `app` is the entry point of the
installed script.
"""

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli import grammar_quarantine, grammar_tables
from daemon.cli.grammar import HERE, Commands, Json, LogFile, LogFormat, LogLevel, Root, text

app = typer.Typer(
    name="medalliond",
    cls=Commands,
    help="Drop files into landing/, query trustworthy tables in gold, and see where every row came from.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("init")
def init(
    root: Annotated[Path | None, typer.Argument(help="The folder to make; absent: --root.")] = None,
    *,
    sample: Annotated[
        bool, typer.Option("--sample", help="Drop a small sample into landing as well.")
    ] = False,
    root_option: Root = HERE,
) -> None:
    """Make a root: its folders and a commented medalliond.toml."""
    from daemon.cli.init import make_root  # noqa: PLC0415 - see the module's docstring

    make_root(root or root_option, sample=sample)


@app.command("run")
def run(
    root: Root = HERE,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
) -> None:
    """Watch landing and carry what arrives up to gold.

    Ctrl-C or SIGTERM ends it: nothing new is taken, the running work is finished, exit status 0.
    """
    from daemon.cli.serve import run_daemon  # noqa: PLC0415 - see the module's docstring

    raise typer.Exit(run_daemon(root, log_format=log_format, log_level=log_level, log_file=log_file))


@app.command("drain")
def drain(
    root: Root = HERE,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
) -> None:
    """Do everything that is in landing, then exit.

    The exit status is 0 when all is in gold, or set aside as the contracts say; 3 when something still fails, or
    waits in landing for its other half, its done-marker, its writer or a mended contract.
    """
    from daemon.cli.serve import drain_root  # noqa: PLC0415 - see the module's docstring

    raise typer.Exit(drain_root(root, log_format=log_format, log_level=log_level, log_file=log_file))


@app.command("status")
def status(root: Root = HERE, *, as_json: Json = False) -> None:
    """Show how a root stands: rows, work under way, failures.

    Also what was set aside, the oldest file that waits in landing, and whether a daemon is running.
    """
    from daemon.cli.status import show_status  # noqa: PLC0415 - see the module's docstring

    show_status(root, as_json=as_json)


@app.command("lineage")
def lineage(
    name: Annotated[
        str,
        typer.Argument(
            metavar="BATCH|FILE|TABLE", parser=text, help="A batch id, a dropped or written file, or a table."
        ),
    ],
    root: Root = HERE,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many batches, the newest.")] = 10,
    as_json: Json = False,
) -> None:
    """Tell where rows came from, hop by hop and file by file.

    Every hop shows rows in = out + quarantined + deduplicated + filtered. A row names its batch and file in
    the columns _batch_id, _source_file and _source_row.
    """
    from daemon.cli.lineage import show_lineage  # noqa: PLC0415 - see the module's docstring

    show_lineage(root, name, limit=limit, as_json=as_json)


@app.command("query")
def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", parser=text, help="One SELECT; tables are LAYER.DOMAIN.TABLE.")
    ],
    root: Root = HERE,
    *,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Print at most so many rows. Default: 100 on a terminal, else all."),
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask DuckDB about the tables of any layer.

    For example: medalliond query "SELECT count(*) FROM gold.sales.orders". gold.orders will do where only one
    domain has such a table.
    """
    from daemon.cli.query import run_query  # noqa: PLC0415 - see the module's docstring

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    run_query(root, sql, limit=limit, form="json" if as_json else "csv" if as_csv else "table")


@app.command("doctor")
def doctor(root: Root = HERE, *, as_json: Json = False) -> None:
    """Look for what would hinder the daemon here.

    A line for each thing: ok, warn or fail, and what to do about it. The exit status is 1 when something
    fails.
    """
    from daemon.cli.doctor import examine  # noqa: PLC0415 - see the module's docstring

    raise typer.Exit(examine(root, as_json=as_json))


@app.command("verify")
def verify(
    root: Root = HERE,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be derived, then prove again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove that a root holds what its ledger says, while no daemon works on it.

    Every file is read, every hop held against the next. The exit status is 1 when anything is wrong.
    """
    from daemon.cli.verify import verify_root  # noqa: PLC0415 - see the module's docstring

    raise typer.Exit(verify_root(root, mend=repair, as_json=as_json))


@app.command("backup")
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, outside the root.")],
    root: Root = HERE,
    *,
    as_json: Json = False,
) -> None:
    """Copy a root, as it stands at one instant, while a daemon may work on it.

    The copy is a root: `verify` proves it, `run` goes on with what was under way.
    """
    from daemon.cli.backup import back_up  # noqa: PLC0415 - see the module's docstring

    back_up(root, folder, as_json=as_json)


@app.command("version")
def version(root: Root = HERE, *, as_json: Json = False) -> None:
    """Say what is installed, and the version of the ledger."""
    from daemon.cli.version import show_version  # noqa: PLC0415 - see the module's docstring

    show_version(root, as_json=as_json)


app.add_typer(grammar_quarantine.quarantine, name="quarantine")
app.add_typer(grammar_tables.contract, name="contract")
app.add_typer(grammar_tables.schema, name="schema")
for command in (grammar_tables.undo, grammar_tables.redo, grammar_tables.rebuild):
    app.command()(command)

systemd = typer.Typer(help="Run the daemon as a service of this machine.", no_args_is_help=True)
app.add_typer(systemd, name="systemd")


@systemd.command("install")
def systemd_install(
    root: Root = HERE,
    *,
    user: Annotated[
        bool, typer.Option("--user", help="A service of this user instead of the system.")
    ] = False,
    into: Annotated[
        Path | None, typer.Option(help="Write the units here instead of where systemd looks.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over units that were edited.")] = False,
) -> None:
    """Write unit files for this root and say how to start them."""
    from daemon.cli.systemd import install  # noqa: PLC0415 - see the module's docstring

    install(root, user=user, into=into, force=force)
