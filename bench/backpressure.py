"""Files that wait: the daemon's memory while ten times as many lie in landing must not be more.

`python -m bench.backpressure [FILES]`. A tenth of FILES is dropped at once, then FILES, each time into one table of a new
root, beside a table that gets one file in the midst of it; the daemon works at them for a while and is stopped.
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from bench.common import keep, memory_mb, running, timed

_WHILE = 30.0
_STOP = 10.0
"""Seconds in which it must have stopped: its workers may finish what they do for eight."""


def main() -> int:
    """Run it; returns 1 when a record is lost or doubled, or the file beside does not come through."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rows = [_flooded(count) for count in (files // 10, files)]
    few, many = (float(row["most memory, MB"]) for row in rows)
    keep("backpressure", rows, {"memory at ten times as many files, ratio": many / few})
    return int(
        not all(
            row["every record once"] and row["file beside, s"] < _WHILE and row["stop, s"] < _STOP
            for row in rows
        )
    )


def _flooded(files: int) -> dict[str, float | bool]:
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        root = Path(folder) / "root"
        source = Path(folder) / "flood"
        source.mkdir()
        for number in range(files):
            (source / f"{number}.csv").write_text(f"id\n{number}\n")
        (root / "landing/calm").mkdir(parents=True)
        with ExitStack() as daemon:
            pid = daemon.enter_context(running(root))
            source.rename(root / "landing/flood")
            began = time.monotonic()
            beside, memory = _WHILE, list[float]()
            while (passed := time.monotonic() - began) < _WHILE:
                if passed > _WHILE / 3 and not (root / "landing/calm/.sent").exists():
                    (root / "landing/calm/.sent").touch()
                    (Path(folder) / "calm.csv").write_text("id\n0\n")
                    (Path(folder) / "calm.csv").rename(root / "landing/calm/a.csv")
                    sent = passed
                if beside == _WHILE and list(root.glob("data/gold/main/calm/*.parquet")):
                    beside = passed - sent
                memory.append(memory_mb(pid))
                time.sleep(0.05)
            stop = timed(daemon.close)
        gold = pl.scan_parquet(root / "data/gold/main/flood/*.parquet").select("id").collect()["id"]
        waiting = sum(1 for path in (root / "landing/flood").iterdir() if path.suffix == ".csv")
        claimed = sum(1 for _ in root.glob("landing/.claimed/*/*.csv"))
        archived = sum(1 for _ in root.glob("data/archive/main/flood/*/*.csv"))
        return {
            "files": files,
            "most memory, MB": max(memory),
            "memory, first third, MB": statistics.median(memory[: len(memory) // 3]),
            "memory, last third, MB": statistics.median(memory[-len(memory) // 3 :]),
            "taken in the while": files - waiting,
            "file beside, s": beside,
            "stop, s": stop,
            "every record once": gold.n_unique() == len(gold) and waiting + claimed + archived == files,
        }


if __name__ == "__main__":
    sys.exit(main())
