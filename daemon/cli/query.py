"""`medalliond query`: one SELECT over the tables of every layer, answered as a table, JSON or CSV.

The tables come from lake_sql. Columns that JSON knows keep their type; every other value is written as
DuckDB's text for it: decimals keep all their digits, times are in UTC.
"""

import csv
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from daemon.cli.lake_sql import Answer, ask
from daemon.cli.output import on_terminal, print_line, print_table
from daemon.cli.roots import open_root

_ROWS_ON_A_TERMINAL = 100


def run_query(root: Path, sql: str, *, limit: int | None, form: Literal["table", "json", "csv"]) -> None:
    """Print the answer to `sql`. Raises WrongRequestError when it cannot be answered."""
    layout = open_root(root)
    with ask(layout, sql) as answer:
        if form == "json":
            _print_json(answer, limit)
        elif form == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(answer.columns)
            writer.writerows(itertools.islice(answer.rows, limit))
        else:
            _print_table(answer, limit)


def _print_table(answer: Answer, limit: int | None) -> None:
    if limit is None and on_terminal():
        limit = _ROWS_ON_A_TERMINAL
    rows = _typed(answer) if on_terminal() else answer.rows
    print_table("", answer.columns, itertools.islice(rows, limit))
    if on_terminal() and next(answer.rows, None) is not None:
        print_line(f"There are more than these {limit} rows: --limit N shows more of them, --csv all.")


def _print_json(answer: Answer, limit: int | None) -> None:
    """Print an array of objects, one row a line, as the rows come."""
    sys.stdout.write("[")
    between = "\n"
    for row in itertools.islice(_typed(answer), limit):
        values = dict(zip(answer.columns, row, strict=True))
        sys.stdout.write(between + json.dumps(values, ensure_ascii=False))
        between = ",\n"
    sys.stdout.write("\n]\n")


def _typed(answer: Answer) -> Iterator[list[Any]]:
    """Turn text back into what JSON has a type for."""
    readers = [_reader(kind) for kind in answer.types]
    for row in answer.rows:
        yield [None if text is None else read(text) for read, text in zip(readers, row, strict=True)]


def _reader(kind: str) -> Callable[[str], Any]:
    if kind.endswith("INT") or kind in {"INTEGER", "UINTEGER"}:
        return int
    if kind in {"FLOAT", "DOUBLE"}:
        return _finite
    if kind == "BOOLEAN":
        return "true".__eq__
    if kind == "JSON" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return _nested
    return str


def _finite(text: str) -> float | None:
    """JSON has no NaN and no infinity: they become null."""
    number = float(text)
    return number if math.isfinite(number) else None


def _nested(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    return json.loads(text, parse_constant=lambda _: None)
