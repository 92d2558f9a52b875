"""Deterministic data for the benchmarks, made by Polars in a moment."""

import os
import time
from pathlib import Path

import polars as pl

_LONG_AGO = 60.0


def orders(first: int, count: int) -> pl.DataFrame:
    """`count` orders from number `first` on: eight columns, about 66 bytes a row as CSV."""
    number = pl.int_range(first, first + count, eager=False)
    return pl.select(
        number.alias("id"),
        pl.format("customer-{}", (number * 7919 % 5000).cast(pl.String).str.zfill(5)).alias("customer"),
        pl.format("P{}", (number * 31 % 999).cast(pl.String).str.zfill(3)).alias("product"),
        (number * 17 % 50).alias("quantity"),
        ((number * 104729 % 99999) / 100).round(2).alias("price"),
        pl.format(
            "2026-{}-{}",
            (1 + number % 12).cast(pl.String).str.zfill(2),
            (1 + number % 28).cast(pl.String).str.zfill(2),
        ).alias("day"),
        pl.format("some note text {}", number % 1000).alias("note"),
    )


def small_files(folder: Path, files: int, rows: int) -> None:
    """Many CSV files that have been lying there for a minute."""
    folder.mkdir(parents=True)
    for number in range(files):
        path = folder / f"orders-{number:05}.csv"
        orders(number * rows, rows).write_csv(path)
        _age(path)


def big_file(path: Path, rows: int, step: int = 500_000) -> None:
    """One CSV of `rows` orders; every hundredth order is there twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for first in range(0, rows, step):
            part = orders(first, min(step, rows - first))
            number = pl.col("id")
            part = part.with_columns(
                pl.when((number % 100 == 1) & (number > 1)).then(number - 1).otherwise(number).alias("id")
            )
            part.write_csv(file, include_header=first == 0)
    _age(path)


def _age(path: Path) -> None:
    """Let it look settled, as a file does that was moved here a while ago."""
    then = time.time() - _LONG_AGO
    os.utime(path, (then, then))
