"""One 10-million-row CSV through four durable layers with key dedup; against one bare `scan_csv -> sink_parquet`.

`python -m bench.big_file [ROWS]`. One order in a hundred is there twice; the first stays.
"""

import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import drain, in_fresh_process, keep
from bench.data import big_file

CONTRACT = "silver:\n  dedup: {keys: [id], keep: first}\n"


def bare_scan(source: str, target: str) -> float:
    """One scan to one zstd Parquet, not synced; returns the seconds."""
    began = time.perf_counter()
    pl.scan_csv(source, infer_schema=False).sink_parquet(target, compression="zstd")
    return time.perf_counter() - began


def main() -> int:
    """Run it; returns 1 when the rows are not the ones expected."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        work = Path(folder)
        root = work / "root"
        contracts = root / "catalog/contracts/main"
        contracts.mkdir(parents=True)
        (contracts / "orders.yaml").write_text(CONTRACT)
        source = root / "landing/orders/orders.csv"
        big_file(source, rows)
        size = source.stat().st_size / 1e6
        bare = in_fresh_process("bench.big_file:bare_scan", str(source), str(work / "bare.parquet"))
        time.sleep(1.5)
        seconds, peaks = drain(root)
        found = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select(
            pl.len(), pl.col("id").n_unique()
        )
        count, keys = found.collect().row(0)
        expected = rows - (rows // 100 - 1)
        keep(
            "big_file",
            [
                {"what": "medalliond, four layers, dedup", "seconds": seconds, "ratio": seconds / bare},
                {"what": "bare scan_csv -> sink_parquet", "seconds": bare, "ratio": 1.0},
            ],
            {"MB": size, "rows": rows, "in gold": count, "parent MB": peaks.parent, "worker MB": peaks.child},
        )
        return int(not count == keys == expected)


if __name__ == "__main__":
    sys.exit(main())
