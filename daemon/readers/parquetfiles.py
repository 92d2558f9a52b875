"""Parquet that polars would read wrong without a word: told by the file's footer. Used by readers/columnar.

Source of the footer's fields: parquet.thrift of the Apache Parquet format.
"""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars._typing import TimeUnit

from daemon.footers import Struct, read_footer
from daemon.readers.instants import in_unit

_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_TYPE, _REPETITION, _NAME, _CHILDREN = 1, 3, 4, 5
_INT96, _REPEATED = 3, 2
_MOST = 1 << 63
"""Units of a time that polars can count."""
_GROUP_COLUMNS, _GROUP_ROWS = 1, 3
_CHUNK_META = 3
_META_PATH, _META_VALUES = 3, 5


class _Column(NamedTuple):
    """A column of the table. `kinds`: the types of all values within it; `flat`: it has one value a row."""

    name: str
    kinds: frozenset[int]
    flat: bool


def scan_parquet(path: Path) -> pl.LazyFrame:
    """A scan of the Parquet file at `path`. Raises ValueError where its footer shows that it cannot be read right.

    INT96, Spark's timestamps, are read as microseconds, since as nanoseconds all after 2262 would become one.
    """
    footer = read_footer(path)
    columns = _columns(footer)
    _refuse_contradictions(footer, {column.name for column in columns if column.flat})
    scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    old = [column.name for column in columns if _INT96 in column.kinds]
    if not old:
        return scan
    schema = scan.collect_schema()
    flat = [name for name in old if schema[name] == pl.Datetime("ns")]  # another unit was told by the writer
    unit = _unit(path, schema, flat) if flat else "us"
    return scan if unit == "ns" else _in_units(path, schema, old, unit)


def _unit(path: Path, schema: pl.Schema, columns: list[str]) -> TimeUnit:
    """The unit for times in INT96: nanoseconds where they are told that finely and all fit in. Raises ValueError."""
    times = pl.col(columns).to_physical()
    some_far, some_beyond = (
        _in_units(path, schema, columns, "ms")
        .select(
            pl.any_horizontal((times.abs() >= _MOST // 1_000_000).any()).alias("far"),
            pl.any_horizontal((times.abs() >= _MOST // 1_000).any()).alias("beyond"),
        )
        .collect()
        .row(0)
    )
    if some_beyond:
        raise ValueError("it holds a time after the year 294,000; write and send it anew")
    fractions = pl.any_horizontal((times % 1_000 != 0).any())
    if some_far or not _in_units(path, schema, columns, "ns").select(fractions).collect().item():
        return "us"
    return "ns"


def _in_units(path: Path, schema: pl.Schema, columns: list[str], unit: TimeUnit) -> pl.LazyFrame:
    other = {name: in_unit(kind, unit) if name in columns else kind for name, kind in schema.items()}
    downcast = pl.ScanCastOptions(datetime_cast="nanosecond-downcast")
    return pl.scan_parquet(path, glob=False, hive_partitioning=False, schema=other, cast_options=downcast)


def _refuse_contradictions(footer: Struct, flat: Container[str]) -> None:
    """Polars believes the counts of rows, even where the columns hold others."""
    rows = 0
    for group in _list(footer, _GROUPS):
        expected = _number(group, _GROUP_ROWS)
        rows += expected
        for chunk in _list(group, _GROUP_COLUMNS):
            meta = chunk[_CHUNK_META][1]
            name, values = _list(meta, _META_PATH)[0].decode(), _number(meta, _META_VALUES)
            if name in flat and values != expected:
                raise ValueError(
                    f"its footer tells of {expected} rows, and of {values} values of {name!r} in them; send it anew"
                )
    if rows != _number(footer, _ROWS):
        raise ValueError(
            f"its footer tells of {_number(footer, _ROWS)} rows, and of {rows} in groups; send it anew"
        )


def _columns(footer: Struct) -> list[_Column]:
    elements = iter(_list(footer, _SCHEMA))
    return [_column(elements) for _ in range(_number(next(elements), _CHILDREN))]


def _column(elements: Iterator[Struct]) -> _Column:
    """The next element of a schema; its children come right after it."""
    element = next(elements)
    within = [_column(elements) for _ in range(_number(element, _CHILDREN))]
    kinds = frozenset({_number(element, _TYPE)} if not within else ()).union(
        *(child.kinds for child in within)
    )
    flat = not within and _number(element, _REPETITION) != _REPEATED
    return _Column(element[_NAME][1].decode(), kinds, flat)


def _list(struct: Struct, field: int) -> list[Any]:
    return struct[field][1][1] if field in struct else []


def _number(struct: Struct, field: int) -> int:
    number = struct[field][1] if field in struct else 0
    if not isinstance(number, int):
        raise ValueError("its footer holds something else where a number belongs; send it anew")  # noqa: TRY004 - the data's
    return number
