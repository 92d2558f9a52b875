"""`medalliond schema history`: what happened to a table's columns."""

from pathlib import Path

from daemon.cli.output import on_terminal, print_json, print_line, print_table
from daemon.cli.roots import find_table, open_ledger, open_root

_COLUMNS = ("at", "kind", "column", "before", "after", "batch_id")


def show_history(root: Path, table: str, *, as_json: bool) -> None:
    """Print every change of a table's columns, oldest first."""
    with open_ledger(open_root(root)) as views:
        key = find_table(table, views.tables())
        changes = views.schema_changes(key)
    entries = [{column: change[column] for column in _COLUMNS} for change in changes]
    if as_json:
        print_json(entries)
    elif entries:
        print_table(
            f"columns of {key}", _COLUMNS, ([entry[column] for column in _COLUMNS] for entry in entries)
        )
    elif on_terminal():
        print_line(f"{key}: nothing has happened to its columns yet.")
