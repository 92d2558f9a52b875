"""DuckDB over the tables of a root, reading only: `gold.sales.orders`, or `gold.orders` where that is clear.

Each layer is an attached in-memory database, each domain a schema of it, each table a view over the files of
the generation that its link showed when the question was asked. A view is made for a table that the SQL
mentions, and for no other. DuckDB may read below data/ and nothing else, and is given statements that read
and no others. Used by query.py and quarantine.py.
"""

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import duckdb
import polars as pl

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LAYERS, Layer
from daemon.cli.roots import WrongRequestError, did_you_mean, one_of
from daemon.lake.durable import write_bytes
from daemon.lake.layout import Layout
from daemon.lake.sql import LayerView, open_views

_IDENTIFIER = r'(?:"((?:[^"]|"")+)"|(\w+))'
_MENTION = re.compile(
    rf"\b({'|'.join(LAYERS)})\"?\s*\.\s*{_IDENTIFIER}(?:\s*\.\s*{_IDENTIFIER})?", re.IGNORECASE
)
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READING_WORDS = frozenset({"select", "from", "with", "pivot", "unpivot"})
_FETCH = 10_000
_LOOK = 0.05
"""Seconds until it is seen that Ctrl-C was pressed."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of an answer as they come; `types` are DuckDB's names of the columns' types.

    A value is DuckDB's text for it, JSON for nested types, or None.
    """

    columns: list[str]
    types: list[str]
    rows: Iterator[tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class _Table:
    layer: Layer
    domain: str
    table: str

    def __str__(self) -> str:
        return f"{self.layer}.{self.domain}.{self.table}"


@contextmanager
def ask(layout: Layout, sql: str) -> Iterator[Answer]:
    """Answer one reading statement.

    Raises WrongRequestError: it is not one, there is no such table or column, or whatever else is wrong.
    """
    try:
        _refuse_writes(sql)
        with (
            tempfile.TemporaryDirectory(prefix="medalliond-query-") as folder,
            open_views(layout, _views(layout, sql), Path(folder, "spill")) as connection,
        ):
            yield _answer(connection, sql)
    except duckdb.CatalogException as error:
        raise WrongRequestError(_missing(layout, sql, error)) from error
    except duckdb.IOException as error:
        raise WrongRequestError(
            f"{_first_line(error)} If the table was rewritten in the meantime, ask again."
        ) from error
    except duckdb.Error as error:
        raise WrongRequestError(str(error).strip()) from error


def _refuse_writes(sql: str) -> None:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise WrongRequestError(f"write one SELECT; here are {len(statements)} statements.")
    first_word = _COMMENTS.sub(" ", sql).lstrip(" \t\r\n(").split(maxsplit=1)[0].lower()
    kind = statements[0].type
    if kind == duckdb.StatementType.SELECT:
        return
    if kind == duckdb.StatementType.MULTI and first_word in _READING_WORDS:  # what PIVOT turns into
        return
    raise WrongRequestError(f"`query` only reads: write a SELECT, not {first_word.upper()}.")


def _views(layout: Layout, sql: str) -> list[LayerView]:
    """The tables the SQL mentions; where it mentions none, SHOW ALL TABLES may want to see them all."""
    mentioned = _mentions(sql)
    tables = [table for layer in LAYERS for table in _tables(layout, layer)]
    return [
        LayerView(table.layer, TableKey(table.domain, table.table), _files(layout, table))
        for table in tables
        if not mentioned or _is_mentioned(table, mentioned)
    ]


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """Run `sql` with every column turned into text: values as DuckDB writes them, whatever their type."""
    relation = connection.sql(sql)
    columns, types = relation.columns, [str(kind) for kind in relation.types]
    names = [f"c{number}" for number in range(len(columns))]  # theirs may be there twice
    texts = ", ".join(_as_text(name, kind) for name, kind in zip(names, types, strict=True))
    question = f"FROM ({sql.rstrip().rstrip(';')}\n) AS answer ({', '.join(names)}) SELECT {texts}"
    interruptible(connection, lambda: connection.execute(question))
    return Answer(columns, types, _fetch(connection))


def _fetch(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := interruptible(connection, lambda: connection.fetchmany(_FETCH)):
        yield from rows


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], _T]) -> _T:
    """Do `work` in another thread: while DuckDB works, the one that it works in does not hear of Ctrl-C."""
    ended = Event()

    def do() -> _T:
        try:
            return work()
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as thread:
        try:
            done = thread.submit(do)
            while not ended.wait(_LOOK):  # Polars' hook of SIGINT lets a wait without an end go on
                pass
            return done.result()
        except KeyboardInterrupt:
            while not ended.wait(_LOOK):  # again and again: what has not begun yet is not interrupted
                connection.interrupt()
            raise


def _as_text(name: str, kind: str) -> str:
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
    return f"CAST({f'to_json({name})' if nested else name} AS VARCHAR)"


def _mentions(sql: str) -> set[tuple[str, ...]]:
    """Return every `layer.a` and `layer.a.b` in the text, in lower case; not all of them need be tables."""
    return {
        (layer.lower(), *(part.replace('""', '"').lower() for part in parts if part))
        for layer, *parts in _MENTION.findall(sql)
    }


def _is_mentioned(table: _Table, mentioned: set[tuple[str, ...]]) -> bool:
    names = (table.layer, table.domain, table.table)
    # gold.a.b is domain a, table b; or table a, column b
    return any(mention == names or mention[:2] == (table.layer, table.table) for mention in mentioned)


def _tables(layout: Layout, layer: Layer) -> list[_Table]:
    folder = layout.data / layer
    return [
        _Table(layer, link.parent.name, link.name) for link in sorted(folder.glob("*/*")) if link.is_symlink()
    ]


def _files(layout: Layout, table: _Table) -> list[Path]:
    """Return the files of the generation that the table's link shows now; later changes build another."""
    generation = (layout.data / table.layer / table.domain / table.table).resolve()
    return sorted(generation.glob("*.parquet"))


def _missing(layout: Layout, sql: str, error: duckdb.CatalogException) -> str:
    """Say which table is not there, and which is near; DuckDB's words for whatever else is not there."""
    named = re.search(r"Table with name (.+?) does not exist", str(error))
    if named is None:
        return _first_line(error)
    # DuckDB quotes a name of two parts, the table a.b of a layer
    name = named.group(1).lower().strip('"')
    mention = next((mention for mention in _mentions(sql) if ".".join(mention).endswith(f".{name}")), (name,))
    tables = [
        table
        for layer in reversed(LAYERS)  # gold first: it is what most people mean
        if layer in mention or len(mention) == 1
        for table in _tables(layout, layer)
    ]
    same = [str(table) for table in tables if table.table == mention[-1]]
    if len(mention) == 2 and len(same) > 1:  # noqa: PLR2004 - a layer and a table
        return f"'{'.'.join(mention)}' may be {one_of(same)}; say which."
    if any(_is_mentioned(table, {mention}) for table in tables):
        return f"'{'.'.join(mention)}' has no rows yet; ask again once a delivery has come through."
    near = did_you_mean(".".join(mention), same or [str(table) for table in tables])
    return f"there is no table '{'.'.join(mention)}'. {near}"


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().splitlines()[0]


def records_of(layout: Layout, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a quarantine file; keys are its columns. Raises WrongRequestError when it cannot be read."""
    if not path.exists():
        raise WrongRequestError(f"{path}: the records were here, and are not any more: somebody moved them.")
    with duckdb.connect() as connection:
        try:
            connection.execute("FROM read_parquet(?)", [str(path)])
            columns = [column for column, *_ in connection.description or ()]
            for row in _fetch(connection):
                yield dict(zip(columns, row, strict=True))
        except duckdb.Error as error:
            raise WrongRequestError(f"{layout.relative(path)}: {_first_line(error)}") from error


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write records to a new .csv, .ndjson or .parquet file. Raises WrongRequestError for another ending, OSError."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    writers: dict[str, Callable[[io.BytesIO], object]] = {
        ".csv": frame.write_csv,
        ".ndjson": frame.write_ndjson,
        ".parquet": frame.write_parquet,
    }
    if path.suffix not in writers:
        raise WrongRequestError(f"{path}: the name must end in {one_of(sorted(writers))}.")
    content = io.BytesIO()
    writers[path.suffix](content)
    write_bytes(path, content.getvalue())
