"""Files that wait: the daemon's memory while ten times as many lie in landing must not be more.

`python -m bench.backpressure [FILES]`. A tenth of FILES is dropped at once, then FILES, each time into one table of a new
root, beside a table that gets one file in the midst of it; the daemon works at them for a while and is stopped.
"""

import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import keep, memory_mb, running

_WHILE = 45.0


def main() -> int:
    """Run it; returns 1 when a record is lost or doubled, or the file beside does not come through."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rows = [_flooded(count) for count in (files // 10, files)]
    keep(
        "backpressure",
        rows,
        {
            "more memory for ten times as many, MB": float(rows[1]["daemon's most memory, MB"])
            - float(rows[0]["daemon's most memory, MB"]),
        },
    )
    return int(not all(row["every record once"] and row["file beside, s"] < _WHILE for row in rows))


def _flooded(files: int) -> dict[str, float | bool]:
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        root = Path(folder) / "root"
        source = Path(folder) / "flood"
        source.mkdir()
        for number in range(files):
            (source / f"{number}.csv").write_text(f"id\n{number}\n")
        (root / "landing/calm").mkdir(parents=True)
        with running(root) as pid:
            source.rename(root / "landing/flood")
            began = time.monotonic()
            beside, most = _WHILE, 0.0
            while (passed := time.monotonic() - began) < _WHILE:
                if passed > _WHILE / 3 and not (root / "landing/calm/.sent").exists():
                    (root / "landing/calm/.sent").touch()
                    (Path(folder) / "calm.csv").write_text("id\n0\n")
                    (Path(folder) / "calm.csv").rename(root / "landing/calm/a.csv")
                    sent = passed
                if beside == _WHILE and list(root.glob("data/gold/main/calm/*.parquet")):
                    beside = passed - sent
                most = max(most, memory_mb(pid))
                time.sleep(0.05)
        gold = pl.scan_parquet(root / "data/gold/main/flood/*.parquet").select("id").collect()["id"]
        waiting = sum(1 for path in (root / "landing/flood").iterdir() if path.suffix == ".csv")
        claimed = sum(1 for _ in root.glob("landing/.claimed/*/*.csv"))
        archived = sum(1 for _ in root.glob("data/archive/main/flood/*/*.csv"))
        return {
            "files": files,
            "daemon's most memory, MB": most,
            "taken in the while": files - waiting,
            "file beside, s": beside,
            "every record once": gold.n_unique() == len(gold) and waiting + claimed + archived == files,
        }


if __name__ == "__main__":
    sys.exit(main())
