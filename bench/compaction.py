"""A hundred compactions of gold under the eyes of two readers who count in a loop: no row twice, no row missing.

`python -m bench.compaction [COMPACTIONS]`. Files keep arriving. Polars and DuckDB read the folder by a glob, as people do;
"file not found" is read again. Then the same rows are read from few files and from many.
"""

import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from polars.exceptions import PolarsError

from bench.common import keep, timed
from bench.data import orders
from bench.growth import running

ROWS = 50
SETTINGS = {
    "compaction_min_files": "2",
    "compaction_min_age": "0",
    "sweep_interval": "0.1",
    "generation_grace": "1",
}
MANY = 2_000


@dataclass
class Reader:
    """One who counts: `reads` that gave an answer, `again` that met a file not found, `wrong` answers."""

    name: str
    count: Callable[[Path], tuple[int, int]]
    reads: int = 0
    again: int = 0
    wrong: int = 0

    def run(self, root: Path, stop: threading.Event) -> None:
        """Read until told to stop; every answer must hold what was committed before, and each row once."""
        while not stop.is_set():
            committed = committed_rows(root)
            try:
                rows, distinct = self.count(root / "data/gold/main/orders")
            except (PolarsError, OSError, duckdb.IOException):
                self.again += 1
                continue
            self.reads += 1
            self.wrong += int(rows != distinct or rows < committed or rows % ROWS != 0)


def by_polars(folder: Path) -> tuple[int, int]:
    """Rows and distinct ids of a folder's files."""
    ids = pl.read_parquet(f"{folder}/*.parquet", columns=["id"])["id"]
    return len(ids), ids.n_unique()


def by_duckdb(folder: Path) -> tuple[int, int]:
    """The same by DuckDB."""
    with duckdb.connect() as connection:
        relation = connection.read_parquet(f"{folder}/*.parquet")
        rows, distinct = relation.aggregate("count(*), count(DISTINCT id)").fetchall()[0]
    return int(rows), int(distinct)


def committed_rows(root: Path) -> int:
    """Rows of gold as the ledger has them."""
    connection = sqlite3.connect(f"file:{root}/catalog/state.sqlite3?mode=ro", uri=True)
    found = connection.execute("SELECT rows FROM layers WHERE layer = 'gold'").fetchone()
    connection.close()
    return int(found[0]) if found else 0


def main() -> int:
    """Run it; returns 1 when a reader counted wrong or rows are missing in the end."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    readers = [Reader("Polars", by_polars), Reader("DuckDB", by_duckdb)]
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as name:
        root = Path(name) / "root"
        files, compactions = _under_readers(root, wanted, readers)
        rows, distinct = by_polars(root / "data/gold/main/orders")
        left = len(list((root / "data/gold/main/orders").glob("*.parquet")))
        many, one = _reading(Path(name))
    table = [
        {"reader": reader.name, "reads": reader.reads, "read again": reader.again, "wrong": reader.wrong}
        for reader in readers
    ]
    notes = {
        "compactions of gold": compactions,
        "files delivered": files,
        "files of gold in the end": left,
        f"{MANY:,} files of {ROWS} rows read by Polars, s": round(many, 3),
        "the same rows in one file, s": round(one, 4),
    }
    keep("compaction", table, notes)
    whole = rows == distinct == files * ROWS
    return int(not whole or any(reader.wrong or not reader.reads for reader in readers))


def _under_readers(root: Path, wanted: int, readers: list[Reader]) -> tuple[int, int]:
    """Let files arrive one by one until there were so many compactions of gold; returns the numbers of both."""
    landing = root / "landing/orders"
    landing.mkdir(parents=True)
    stop = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(root, stop)) for reader in readers]
    number = 0
    with running(root, **SETTINGS) as daemon:
        while daemon.count_lines('"layer_compacted"', '"gold"') < wanted:
            path = root / f"{number}.csv"
            orders(number * ROWS, ROWS).write_csv(path)
            path.rename(landing / path.name)
            number += 1
            if number == 1:
                _await(lambda: committed_rows(root) == ROWS)
                for thread in threads:
                    thread.start()
            time.sleep(0.1)
        _await(lambda: committed_rows(root) == number * ROWS)
        stop.set()
        for thread in threads:
            thread.join()
        compactions = daemon.count_lines('"layer_compacted"', '"gold"')
    return number, compactions


def _reading(folder: Path) -> tuple[float, float]:
    """Seconds for reading rows from many files, and from one."""
    many, one = folder / "many", folder / "one"
    many.mkdir()
    one.mkdir()
    for number in range(MANY):
        orders(number * ROWS, ROWS).write_parquet(many / f"{number}.parquet", compression="zstd")
    pl.read_parquet(f"{many}/*.parquet").write_parquet(one / "all.parquet", compression="zstd")
    return timed(lambda: pl.read_parquet(f"{many}/*.parquet")), timed(
        lambda: pl.read_parquet(f"{one}/*.parquet")
    )


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
