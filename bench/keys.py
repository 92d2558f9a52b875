"""What the next batch of a table with key dedup across batches costs over 50 million keys, against one without history.

`python -m bench.keys [MILLIONS]`. Two roots with the same contract: one young, one whose silver is made to hold so many
million random keys, in files of a million rows as compaction leaves them. After a few batches, which make the indexes, both
are given new batches in turns, each with keys of its own and one that the table has; the medians of both count.
"""

import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from bench.common import drain, keep
from bench.growth import gold_rows, next_batch, running
from daemon.lake.parquet import layer_file

KEYS = 1_000
"""Keys of a batch that no other has."""
NEXT = 25
_CONTRACT = "bronze:\n  cast: {id: int64}\nsilver:\n  dedup: {keys: [id], keep: first}\n"
_MILLION = 1_000_000
_OLDEST = "01900000-0000-7000-8000-"
"""How the ids of batches of 2024 begin."""


def main() -> int:
    """Run it; returns 1 when a row is missing or doubled, or the ratio is above the goal."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as name:
        young, old = Path(name) / "young/root", Path(name) / "old/root"
        batches = (_keys(number * KEYS, KEYS) for number in range(10**9))
        for root in (young, old):
            _begin(root, next(batches))
        fill(old, millions)
        read = _median_of(old, batches, 3)  # nearly all of it without indexes
        _median_of(old, batches, millions)
        new, grown = _in_turns([young, old], batches)
        whole = all(_is_whole(root) for root in (young, old))
        index = sum(path.stat().st_size for path in old.glob("data/.index/main/orders/*")) / 1e6
    keep(
        "keys",
        [
            {"table": "without history", "next batch, s": new, "ratio": 1.0},
            {"table": f"{millions} million keys, no index yet", "next batch, s": read, "ratio": read / new},
            {"table": f"{millions} million keys", "next batch, s": grown, "ratio": grown / new},
        ],
        {"indexes, MB": round(index), "goal": "ratio at most 3"},
    )
    return int(not whole or grown > 3 * new)


def _keys(first: int, count: int) -> pl.DataFrame:
    """Random whole numbers, none twice whatever is asked for."""
    numbers = pl.int_range(first, first + count, dtype=pl.UInt64)
    return pl.select(id=(numbers * pl.lit(0x9E3779B97F4A7C15, dtype=pl.UInt64)).reinterpret(signed=True))


def _begin(root: Path, keys: pl.DataFrame) -> None:
    """A root with a contract and a first batch."""
    (root / "catalog/contracts/main").mkdir(parents=True)
    (root / "catalog/contracts/main/orders.yaml").write_text(_CONTRACT)
    (root / "landing/orders").mkdir(parents=True)
    keys.write_csv(root / "landing/orders/first.csv")
    drain(root)


def fill(root: Path, millions: int) -> None:
    """Put so many million further keys into silver of the table `orders`, and into its ledger."""
    folder = root / "data/silver/main/orders"
    first = next(iter(folder.glob("*.parquet")))
    connection = sqlite3.connect(root / "catalog/state.sqlite3")
    connection.row_factory = sqlite3.Row
    (known,) = connection.execute("SELECT * FROM layer_files WHERE layer = 'silver'").fetchall()
    (batch,) = connection.execute("SELECT * FROM batches").fetchall()
    for number in range(millions):
        batch_id = f"{_OLDEST}{number:012}"
        path = folder / f"{batch_id}.parquet"
        like_it = (
            pl.read_parquet(first, n_rows=1).select(pl.exclude("id")).with_columns(_batch_id=pl.lit(batch_id))
        )
        rows = (
            _keys((number + 1) * 10 * _MILLION, _MILLION)
            .join(like_it, how="cross")
            .select(pl.read_parquet_schema(first).keys())
        )
        rows.write_parquet(path, compression="zstd", compression_level=1, row_group_size=1 << 17)
        file = layer_file(path, batch_id, _MILLION)
        _copy(connection, "batches", batch, batch_id=batch_id)
        made = {"name": file.name, "rows": file.rows, "size": file.size, "sha256": file.sha256}
        _copy(connection, "layer_files", known, batch_id=batch_id, **made)
    connection.execute(
        "UPDATE layers SET rows = rows + ?, files = files + ? WHERE layer = 'silver'",
        (millions * _MILLION, millions),
    )
    connection.commit()
    connection.close()


def _copy(connection: sqlite3.Connection, table: str, row: sqlite3.Row, **changes: object) -> None:
    values = list((dict(row) | changes).values())
    places = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} VALUES ({places})", values)


def _median_of(root: Path, batches: Iterator[pl.DataFrame], count: int) -> float:
    return _measured([root], batches, count)[0]


def _in_turns(roots: list[Path], batches: Iterator[pl.DataFrame]) -> list[float]:
    return _measured(roots, batches, NEXT)


def _measured(roots: list[Path], batches: Iterator[pl.DataFrame], count: int) -> list[float]:
    """Give each root so many batches, in turns; returns the median seconds of each until they were in gold."""
    seconds: list[list[float]] = [[] for _ in roots]
    with ExitStack() as stack:
        for root in roots:
            stack.enter_context(running(root))
        for _ in range(count):
            for root, taken in zip(roots, seconds, strict=True):
                known = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select("id").last()
                rows = pl.concat([next(batches), known.collect()])
                taken.append(next_batch(root, [rows], KEYS))
    return [statistics.median(taken) for taken in seconds]


def _is_whole(root: Path) -> bool:
    """Whether gold has every key of the measured batches once."""
    keys = pl.scan_parquet(root / "data/gold/main/orders/*.parquet").select("id").collect()["id"]
    return len(keys) == keys.n_unique() == gold_rows(root) and len(keys) % KEYS == 0


if __name__ == "__main__":
    sys.exit(main())
