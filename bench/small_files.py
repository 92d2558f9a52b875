"""2,000 small CSV files dropped at once, through four durable layers; against bare Polars over the same batches.

`python -m bench.small_files [--rivals]`. Bare Polars does the four layers, synced, and nothing else: no detection, hashing,
ledger, lineage or archive. With `--rivals` also Spark's file stream, Pathway and dlt, one layer each. Process start is on
no side: the time of a drain of one file is taken off ours.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import drain, in_fresh_process, keep
from bench.data import small_files
from bench.rivals import Rival, compete

RIVALS = (
    Rival("Spark Structured Streaming's file stream, one layer", "spark", "file_stream", ("pyspark",)),
    Rival("Pathway, one CSV", "pathway_files", "one_csv", ("pathway",)),
    Rival("dlt, one layer", "dlt_files", "one_layer", ("dlt[filesystem,parquet]", "pandas")),
)
FILES = 2_000
ROWS = 1_000
BATCH = 1_000


def bare_polars(source: str, target: str) -> float:
    """Four chained layers per batch of files, each one scan and one synced zstd Parquet; returns the seconds."""
    files = sorted(Path(source).glob("*.csv"))
    began = time.perf_counter()
    for batch in range(0, len(files), BATCH):
        below: Path | None = None
        for layer in ("staged", "bronze", "silver", "gold"):
            folder = Path(target) / layer
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{batch}.parquet"
            if below is None:
                lf = pl.scan_csv(
                    files[batch : batch + BATCH],
                    infer_schema=False,
                    include_file_paths="_source_file",
                    row_index_name="_row",
                )
            elif layer == "silver":
                text = pl.col(pl.String).str.strip_chars()
                lf = pl.scan_parquet(below).with_columns(pl.when(text != "").then(text))
            else:
                lf = pl.scan_parquet(below)
            lf.with_columns(pl.lit(layer).alias("_layer")).sink_parquet(
                path, compression="zstd", compression_level=1
            )
            _sync(path)
            _sync(folder)
            below = path
    return time.perf_counter() - began


def main() -> int:
    """Run it; returns 1 when a row is missing."""
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        work = Path(folder)
        small_files(work / "source", FILES, ROWS)
        one = work / "one"
        shutil.copytree(work / "source", one / "landing/orders", ignore=lambda _, names: sorted(names)[1:])
        root = work / "root"
        shutil.copytree(work / "source", root / "landing/orders")
        os.sync()  # what is on its way to the disk is the sender's work; so is the wait until files have settled
        time.sleep(1.5)
        start, _ = drain(one)
        seconds, peaks = drain(root)
        ours = seconds - start
        os.sync()
        bare = in_fresh_process("bench.small_files:bare_polars", str(work / "source"), str(work / "bare"))
        rows = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select(pl.len()).collect().item()
        rivals = compete(RIVALS, work / "source", work, FILES * ROWS) if "--rivals" in sys.argv else []
        keep(
            "small_files-rivals" if rivals else "small_files",
            [
                {"what": "medalliond", "seconds": ours, "times ours": 1.0},
                {"what": "bare Polars, four layers", "seconds": bare, "times ours": bare / ours},
                *(run.row(ours) for run in rivals),
            ],
            {
                "ratio to bare Polars": ours / bare,
                "files a second": FILES / ours,
                "drain of one file, taken off": start,
                "parent MB": peaks.parent,
                "worker MB": peaks.child,
                "rows": rows,
            },
        )
        return int(rows != FILES * ROWS)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
