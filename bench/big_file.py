"""One 10-million-row CSV through four durable layers with key dedup; against one bare `scan_csv -> sink_parquet`.

`python -m bench.big_file [ROWS] [--rivals] [--no-dedup]`. One order in a hundred is there twice; the first stays. With
`--rivals` also four layers of DuckDB by hand and of Spark. `--no-dedup` is for the memory, which then is that of any size.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import drain, in_fresh_process, keep
from bench.data import big_file
from bench.rivals import Rival, compete

RIVALS = (
    Rival("DuckDB, four layers by hand", "duckdb_layers", "four_layers", ("duckdb",)),
    Rival("Spark, four layers", "spark", "four_layers", ("pyspark",)),
)
CONTRACT = "silver:\n  dedup: {keys: [id], keep: first}\n"


def bare_scan(source: str, target: str) -> float:
    """One scan to one zstd Parquet, not synced; returns the seconds."""
    began = time.perf_counter()
    pl.scan_csv(source, infer_schema=False).sink_parquet(target, compression="zstd")
    return time.perf_counter() - began


def main() -> int:
    """Run it; returns 1 when the rows are not the ones expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--no-dedup", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        return _measured(Path(folder), options.rows, dedup=not options.no_dedup, rivals=options.rivals)


def _measured(work: Path, rows: int, *, dedup: bool, rivals: bool) -> int:
    root = work / "root"
    contracts = root / "catalog/contracts/main"
    contracts.mkdir(parents=True)
    if dedup:
        (contracts / "orders.yaml").write_text(CONTRACT)
    source = root / "landing/orders/orders.csv"
    big_file(source, rows)
    bare = in_fresh_process("bench.big_file:bare_scan", str(source), str(work / "bare.parquet"))
    kept = rows - (rows // 100 - 1)
    runs = compete(RIVALS, source, work, kept) if rivals else []
    seconds, peaks = drain(root)
    size = next(root.glob("data/archive/main/orders/**/orders.csv")).stat().st_size / 1e6
    gold = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select("id")
    count = gold.select(pl.len()).collect().item()
    right = count == gold.unique().select(pl.len()).collect().item() == kept if dedup else count == rows
    keep(
        f"big_file{'-rivals' if rivals else ''}{'' if dedup else f'-{rows}-no-dedup'}",
        [
            {
                "what": f"medalliond, four layers{', dedup' if dedup else ''}",
                "seconds": seconds,
                "times ours": 1.0,
            },
            {"what": "bare scan_csv -> sink_parquet", "seconds": bare, "times ours": bare / seconds},
            *(run.row(seconds) for run in runs),
        ],
        {
            "ratio to the bare scan": seconds / bare,
            "MB": size,
            "rows": rows,
            "in gold": count,
            "parent MB": peaks.parent,
            "worker MB": peaks.child,
        },
    )
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
