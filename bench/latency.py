"""From rename to readable: a 1,000-row file renamed into landing of an idle daemon, a hundred times, then into 100 tables.

`python -m bench.latency [FILES]`. The clock of a file stops when its gold file can be opened and counted; of 100 files that
are renamed into landing at once, into a table each, it stops when the gold file is there.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import keep, running
from bench.data import orders

ROWS = 1_000
TABLES = 100
ROUNDS = 5
_WARM_UP = 3
_PAUSE = 0.05
_PATIENCE = 60.0
_LOOK = 0.02
"""Seconds between two looks at 100 tables: what they cost is taken from the processor that the daemon is measured on."""


def main() -> int:
    """Run it; returns 1 when a row is missing."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        root, outside = Path(folder) / "root", Path(folder)
        (root / "landing/orders").mkdir(parents=True)
        for table in range(TABLES):
            (root / f"landing/t{table}").mkdir()
        with running(root):
            alone = [_one(root, outside, number) for number in range(files + _WARM_UP)][_WARM_UP:]
            together = [
                seconds for number in range(ROUNDS + 1) for seconds in _all(root, outside, number) if number
            ]
        rows = _rows(root / "data/gold/main")
    wanted = (files + _WARM_UP + TABLES * (ROUNDS + 1)) * ROWS
    keep(
        "latency",
        [
            {"what": "one file, idle daemon: rename -> gold counted, ms", **_percentiles(alone)},
            {"what": f"{TABLES} tables at once: renames -> gold there, ms", **_percentiles(together)},
        ],
        {"files": files, "tables": TABLES, "rounds": ROUNDS, "rows": rows},
    )
    return int(rows != wanted)


def _one(root: Path, outside: Path, number: int) -> float:
    path = outside / f"orders-{number}.csv"
    orders(number * ROWS, ROWS).write_csv(path)
    gold = root / "data/gold/main/orders"
    before = _files(gold)
    began = time.perf_counter()
    path.rename(root / "landing/orders" / path.name)
    while not (new := _files(gold) - before):
        time.sleep(0.0005)
    pl.scan_parquet(gold / new.pop()).select(pl.len()).collect()
    seconds = time.perf_counter() - began
    time.sleep(_PAUSE)
    return seconds


def _all(root: Path, outside: Path, number: int) -> list[float]:
    """A file for every table, renamed one after the other; seconds from each one's rename until it is in gold."""
    tables = [f"t{table}" for table in range(TABLES)]
    for place, table in enumerate(tables):
        orders((number * TABLES + place) * ROWS, ROWS).write_csv(outside / f"{table}.csv")
    before = {table: len(_files(root / f"data/gold/main/{table}")) for table in tables}
    began = {}
    for table in tables:
        began[table] = time.perf_counter()
        (outside / f"{table}.csv").rename(root / f"landing/{table}/{number}.csv")
    ended: dict[str, float] = {}
    stamps: dict[str, int] = {}
    while len(ended) < TABLES and time.perf_counter() - began[tables[0]] < _PATIENCE:
        for table in tables:
            gold = f"{root}/data/gold/main/{table}"
            if table in ended or stamps.get(table) == (stamp := _changed_at(gold)):
                continue
            stamps[table] = stamp
            if len(_files(Path(gold))) > before[table]:
                ended[table] = time.perf_counter()
        time.sleep(_LOOK)
    time.sleep(2)  # until sources are archived as well
    return [ended.get(table, began[table] + _PATIENCE) - began[table] for table in tables]


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    shares = {
        f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] * 1000 for share in (95, 99)
    }
    return {"median": statistics.median(ordered) * 1000, **shares}


def _rows(gold: Path) -> int:
    return int(pl.scan_parquet(gold / "*/*.parquet").select(pl.len()).collect().item())


def _changed_at(folder: str) -> int:
    """When names last came or went in a folder, 0 where there is none; a fifth of the cost of listing it.

    Before Linux 6.13 two changes within 4 ms may look like one: a root that waits 60 s for its last file is one of those.
    """
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - cheaply
    except FileNotFoundError:
        return 0


def _files(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if name.endswith(".parquet")}  # noqa: PTH208 - names, and cheaply
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    sys.exit(main())
