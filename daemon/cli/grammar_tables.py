"""The grammar of the commands about one table: undo, redo, rebuild, `contract`, `schema`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from daemon.cli.grammar import HERE, Json, Root, Wait, Why, text

Delivery = Annotated[
    str,
    typer.Argument(
        metavar="BATCH|FILE",
        parser=text,
        help="A batch id, or a dropped file by its name below landing or where it rests.",
    ),
]
TableName = Annotated[str, typer.Argument(parser=text, help="DOMAIN.TABLE, or TABLE where that is clear.")]


def undo(delivery: Delivery, root: Root = HERE, *, why: Why = "", wait: Wait = True) -> None:
    """Take a delivery back out of every layer; models are made anew.

    Its rows are put away: `redo` brings them back. Rows that it had superseded return.
    """
    from daemon.cli.changes import undo_delivery  # noqa: PLC0415 - see main.py

    raise typer.Exit(undo_delivery(root, delivery, why=why, wait=wait))


def redo(delivery: Delivery, root: Root = HERE, *, why: Why = "", wait: Wait = True) -> None:
    """Bring back a delivery that was undone."""
    from daemon.cli.changes import redo_delivery  # noqa: PLC0415 - see main.py

    raise typer.Exit(redo_delivery(root, delivery, why=why, wait=wait))


def rebuild(
    table: TableName,
    root: Root = HERE,
    *,
    base: Annotated[
        Literal["landing", "staged", "bronze"],
        typer.Option("--from", help="The layer to start from; landing: read the archived sources again."),
    ] = "staged",
    why: Why = "",
    wait: Wait = True,
) -> None:
    """Make a table's layers anew under the present contract, batch by batch; readers see the old ones until it is done."""
    from daemon.cli.changes import rebuild_table  # noqa: PLC0415 - see main.py

    raise typer.Exit(rebuild_table(root, table, base, why=why, wait=wait))


contract = typer.Typer(help="What tables promise at each layer.", no_args_is_help=True)


@contract.command("check")
def contract_check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Contract files; absent: all of the root.")
    ] = None,
    root: Root = HERE,
    *,
    as_json: Json = False,
) -> None:
    """Find the mistakes in contracts and their transforms.

    The exit status is 1 when there are any.
    """
    from daemon.cli.contract import check_contracts  # noqa: PLC0415 - see main.py

    raise typer.Exit(check_contracts(root, tuple(files or ()), as_json=as_json))


@contract.command("show")
def contract_show(
    table: TableName,
    root: Root = HERE,
    *,
    as_json: Json = False,
) -> None:
    """Show the contract in force for a table, defaults included."""
    from daemon.cli.contract import show_contract  # noqa: PLC0415 - see main.py

    show_contract(root, table, as_json=as_json)


@contract.command("diff")
def contract_diff(
    file: Annotated[
        Path,
        typer.Argument(help="A contract of the root, or any file with --table."),
    ],
    root: Root = HERE,
    *,
    table: Annotated[
        str | None, typer.Option("--table", parser=text, help="The table it is tried on: DOMAIN.TABLE.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Try a contract on all that was delivered, before it is saved: types, records and rows that would change."""
    from daemon.cli.contract_trial import diff_contract  # noqa: PLC0415 - see main.py

    diff_contract(root, file, table, as_json=as_json)


@contract.command("adopt")
def contract_adopt(table: TableName, root: Root = HERE) -> None:
    """Write the learned types of a table into a contract of its own, to read and to edit."""
    from daemon.cli.contract_trial import adopt_contract  # noqa: PLC0415 - see main.py

    adopt_contract(root, table)


schema = typer.Typer(help="The columns of tables.", no_args_is_help=True)


@schema.command("history")
def schema_history(table: TableName, root: Root = HERE, *, as_json: Json = False) -> None:
    """Tell when which column came, went, was spelled otherwise or changed its type."""
    from daemon.cli.schema import show_history  # noqa: PLC0415 - see main.py

    show_history(root, table, as_json=as_json)
