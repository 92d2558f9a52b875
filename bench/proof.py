"""What the proof that nothing was lost costs: one clean CSV read by our reader, against a bare scan_csv of the same file.

`python -m bench.proof`. Both sides write one zstd Parquet; ours adds `_source_file` and `_source_row`, looks at the bytes
beforehand and at what was written afterwards. Three files of 1.5 million records: without quotes, with one quoted field a
record, with all fields quoted, escaped quotes and line ends in values.
"""

import sys
import tempfile
from pathlib import Path

import polars as pl

from bench.common import keep, timed
from daemon.catalog.contract import ReaderOptions
from daemon.lake.beside import beside
from daemon.readers import Source, read_delivery

ROWS = 1_500_000
_TIMES = 4


def main() -> int:
    """Run it; returns 1 when a file is not read on the fast path."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="medalliond-proof-") as folder:
        work = Path(folder)
        for kind in ("plain", "one quoted field", "all quoted"):
            path = work / f"{kind}.csv"
            path.write_text(
                "id,name,amount,day,note,code\n" + "".join(_record(kind, row) for row in range(ROWS))
            )
            bare, ours = _compared(path, work)
            rows.append(
                {
                    "file": kind,
                    "MB": path.stat().st_size / 1e6,
                    "bare": bare,
                    "proved": ours,
                    "ratio": ours / bare,
                }
            )
    keep("proof", rows, {"rows": ROWS})
    return 0


def _compared(path: Path, work: Path) -> tuple[float, float]:
    """The best times of both sides, turn by turn."""
    pairs = [(timed(lambda: _bare(path, work)), timed(lambda: _proved(path, work))) for _ in range(_TIMES)]
    return min(bare for bare, _ in pairs), min(ours for _, ours in pairs)


def _record(kind: str, row: int) -> str:
    name, amount, code = f"name {row}", f"{row * 0.37:.2f}", f"A{row % 977:05}"
    if kind == "plain":
        return f"{row},{name},{amount},2024-01-05,some note of usual length {row},{code}\n"
    if kind == "one quoted field":
        return f'{row},"{name}, so",{amount},2024-01-05,some note of usual length {row},{code}\n'
    return f'"{row}","a ""{name}""","{amount}","2024-01-05","some note,\nof usual length {row}","{code}"\n'


def _bare(path: Path, work: Path) -> None:
    pl.scan_csv(path, infer_schema=False).sink_parquet(
        work / "bare.parquet", compression="zstd", compression_level=1
    )


def _proved(path: Path, work: Path) -> None:
    target = work / "proved.parquet"
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        delivery = read_delivery([Source("x", path)], ReaderOptions(), Path(scratch))
        (frame,) = delivery.frames
        with beside(delivery.look):
            frame.sink_parquet(target, compression="zstd", compression_level=1)
        if delivery.unproved(pl.scan_parquet(target)) or not delivery.proofs:
            raise RuntimeError(f"{path.name} is not read on the fast path: {delivery.notes}")


if __name__ == "__main__":
    sys.exit(main())
