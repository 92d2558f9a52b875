"""From rename to readable: a 1,000-row file renamed into landing of an idle daemon, a hundred times.

`python -m bench.latency [FILES]`. The clock stops when a new gold file can be opened and counted.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import keep
from bench.data import orders

ROWS = 1_000
_WARM_UP = 3
_PAUSE = 0.05


def main() -> int:
    """Run it; returns 1 when a row is missing."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        root = Path(folder) / "root"
        (root / "landing/orders").mkdir(parents=True)
        with (Path(folder) / "log").open("w") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run", "--root", str(root)],
                stdout=log,
                stderr=log,
                env={**os.environ, "MEDALLIOND_LOG_FORMAT": "json"},
            )
        try:
            time.sleep(3)
            times = [_one(root, Path(folder), number) for number in range(files + _WARM_UP)][_WARM_UP:]
        finally:
            daemon.terminate()
            daemon.wait(15)
        rows = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select(pl.len()).collect().item()
    times.sort()
    percentiles = {
        f"p{share}": times[min(len(times) - 1, len(times) * share // 100)] * 1000 for share in (95, 99)
    }
    keep(
        "latency",
        [{"what": "rename -> gold readable, ms", "median": statistics.median(times) * 1000, **percentiles}],
        {"files": files, "rows": rows},
    )
    return int(rows != (files + _WARM_UP) * ROWS)


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


def _files(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.suffix == ".parquet"}
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    sys.exit(main())
