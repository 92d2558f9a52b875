"""How answers look: Rich tables on a terminal, tab-separated lines when piped, one document with `--json`.

Used by every module of this package. Text that comes from files (names, cell values) goes through `printable`
first: a control character in it must neither break a line nor drive the terminal.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_NO_WIDTH = 1_000_000
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "failed": "red", "partial": "yellow"}


def console() -> Console:
    """Return a console on the present standard output; a pipe gets no colour, and no line is folded or cut."""
    return Console(highlight=False, width=None if on_terminal() else _NO_WIDTH)


def on_terminal() -> bool:
    """Whether a person is looking at standard output."""
    return sys.stdout.isatty()


def printable(value: object) -> str:
    """Return `value` as text of one line without control characters; None is empty."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def styled(word: str) -> str:
    """Return a state word in its colour, as Rich markup."""
    style = _STYLES.get(word)
    return f"[{style}]{escape(word)}[/]" if style else escape(word)


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever json can write
    """Print one JSON document; what json does not know (paths, times) is written as its text."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under column names; integers are right-aligned on a terminal and bare digits in a pipe."""
    if on_terminal():
        _print_rich(title, columns, list(rows))
        return
    sys.stdout.write("\t".join(columns) + "\n")
    for row in rows:
        sys.stdout.write("\t".join(printable(cell) for cell in row) + "\n")


def print_line(text: str = "") -> None:
    """Print one line as it is, without markup."""
    sys.stdout.write(text + "\n")


def count(number: int, noun: str) -> str:
    """Return `1 file`, `2,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """Return a number of bytes for people: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004 - decimal units
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def age(seconds: float) -> str:
    """Return a length of time for people: `4 s`, `12 min`, `3.5 h`, `2.0 days`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    if seconds < 3600:  # noqa: PLR2004 - an hour
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _print_rich(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for position, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[position], int | None) for row in rows)
        table.add_column(escape(printable(column)).replace(" ", "\n"), justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(styled(_cell(cell)) for cell in row))
    output = console()
    unfolded = output.measure(table, options=output.options.update(width=_NO_WIDTH)).maximum
    if unfolded <= output.width or not rows:
        output.print(table)
    else:
        _print_records(title, columns, rows)


def _print_records(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table that is wider than the terminal row by row, a line a column."""
    if title:
        print_line(title)
    width = max(map(len, columns))
    for row in rows:
        print_line()
        for column, cell in zip(columns, row, strict=True):
            print_line(f"{printable(column):{width}}  {_cell(cell)}".rstrip())


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(value)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(
        character,
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}",  # noqa: PLR2004 - one byte
    )
