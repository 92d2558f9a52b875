"""What the proof that nothing was lost costs: one clean CSV read by our reader, against a bare scan_csv of the same file.

`python -m bench.proof`. All sides write one zstd Parquet. Ours looks at the bytes as well, at what was written, and adds
`_source_file` and `_source_row`; so that the proof is seen apart from these two columns, the bare scan is also shown with
them. Three files of 1.5 million records: without quotes, with one quoted field a record, with all fields quoted, escaped
quotes and line ends in values.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import polars as pl

from bench.common import keep, timed
from daemon.catalog.contract import ReaderOptions
from daemon.lake.parquet import write_parquet
from daemon.readers import Source, read_delivery
from daemon.readers.delivery import SOURCE_FILE

ROWS = 1_500_000
PLAIN, ONE_QUOTED, ALL_QUOTED = "plain", "one quoted field", "all quoted"
_TIMES = 6


def main() -> int:
    """Run it; returns 1 when a file is not read on the fast path."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="medalliond-proof-") as folder:
        work = Path(folder)
        for kind in (PLAIN, ONE_QUOTED, ALL_QUOTED):
            path = work / f"{kind}.csv"
            write_csv(path, kind, ROWS)
            bare, numbered, ours = _compared(path, work)
            rows.append(
                {
                    "file": kind,
                    "MB": path.stat().st_size / 1e6,
                    "bare": bare,
                    "bare, the two columns added": numbered,
                    "proved": ours,
                    "ratio": ours / bare,
                    "of the proof alone": ours / numbered,
                }
            )
    keep("proof", rows, {"records": ROWS})
    return 0


def write_csv(path: Path, kind: str, rows: int) -> None:
    """A CSV of `rows` records, six columns, quoted as `kind` says."""
    with path.open("w") as file:
        file.write("id,name,amount,day,note,code\n")
        file.writelines(_record(kind, row) for row in range(rows))


def _compared(path: Path, work: Path) -> tuple[float, ...]:
    """The best times of the sides, turn by turn."""
    sides = (_bare, _numbered, proved)
    turns = [[timed(partial(side, path, work)) for side in sides] for _ in range(_TIMES)]
    return tuple(map(min, zip(*turns, strict=True)))


def _record(kind: str, row: int) -> str:
    name, amount, code = f"name {row}", f"{row * 0.37:.2f}", f"A{row % 977:05}"
    if kind == PLAIN:
        return f"{row},{name},{amount},2024-01-05,some note of usual length {row},{code}\n"
    if kind == ONE_QUOTED:
        return f'{row},"{name}, so",{amount},2024-01-05,some note of usual length {row},{code}\n'
    return f'"{row}","a ""{name}""","{amount}","2024-01-05","some note,\nof usual length {row}","{code}"\n'


def _bare(path: Path, work: Path) -> None:
    _sink(pl.scan_csv(path, infer_schema=False), work)


def _numbered(path: Path, work: Path) -> None:
    rows = pl.scan_csv(path, infer_schema=False, row_index_name="_source_row")
    _sink(
        rows.with_columns(pl.col("_source_row").cast(pl.Int64) + 1, pl.lit(path.name).alias("_source_file")),
        work,
    )


def _sink(rows: pl.LazyFrame, work: Path) -> None:
    rows.sink_parquet(work / "bare.parquet", compression="zstd", compression_level=1)


def proved(path: Path, work: Path) -> None:
    """Read, write and prove one file. Raises RuntimeError where that is not done on the fast path."""
    target = work / "proved.parquet"
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        delivery = read_delivery([Source("x", path)], ReaderOptions(), Path(scratch))
        (frame,) = delivery.frames
        write_parquet(frame, target, statistics=False)
        written = pl.scan_parquet(target)
        counts = dict(written.group_by(SOURCE_FILE).len().collect().iter_rows())
        if delivery.unproved(written, counts) or not delivery.proofs:
            raise RuntimeError(f"{path.name} is not read on the fast path: {delivery.notes}")


if __name__ == "__main__":
    sys.exit(main())
