"""What the next batch, a start and `status` cost, against what they cost when the root had seen nothing yet.

`python -m bench.growth [BATCHES] [FILES]`. One batch of FILES is drained and measured against; then the ledger and the
layer folders are filled with its likeness, BATCHES times over, under earlier ids, and the same is measured again. Last,
100,000 files are put into landing, and a daemon is started.
"""

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from bench.common import drain, keep, timed
from bench.data import orders, small_files

ROWS = 100
WAITING = 100_000
NEXT = 9
"""Batches that are measured; the median counts."""
_LONG_AGO = 0x0190_0000_0000
"""A time in 2024, in the milliseconds of UUIDv7: before the real batch."""
_LAYERS = ("staged", "bronze", "silver", "gold")
_MAX_LINKS = 60_000
"""Hard links to one file; ext4 allows 65,000."""


def main() -> int:
    """Run it; returns 1 when a row of a measured batch is missing."""
    batches, files = (int(word) for word in (sys.argv[1:3] or ("100000", "10")))
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as name:
        folder = Path(name)
        root = folder / "root"
        small_files(root / "landing/orders", files, ROWS)
        drain(root)
        first = costs(root, files, 0)
        fill(root, batches)
        with running(root):  # the first start writes the newest lineage files, which `fill` leaves out
            pass
        grown = costs(root, files, 1)
        rows = [
            {"what": what, "first": first[what], "grown": grown[what], "ratio": grown[what] / first[what]}
            for what in first
        ]
        waiting = _start_with_files_waiting(folder / "waiting")
        rows.append(
            {
                "what": f"start with {WAITING:,} files in landing, s",
                "first": waiting,
                "grown": "",
                "ratio": "",
            }
        )
        ledger = (root / "catalog/state.sqlite3").stat().st_size / 1e6
        keep("growth", rows, {"batches": batches, "files": batches * files, "ledger, MB": round(ledger)})
        return int(not _whole(root, batches, files))


def costs(root: Path, files: int, turn: int) -> dict[str, float]:
    """What a start, the next batch and the questions of people cost, in seconds."""
    outside = root.parent / "outside"
    with running(root) as daemon:
        ready = daemon.ready
        hops = [_next_batch(root, outside, files, 1 + turn * NEXT + number) for number in range(NEXT)]
    return {
        "start to ready, s": ready,
        "next batch, s": statistics.median(hops),
        "status, s": timed(lambda: _ask(root, "status")),
        "lineage TABLE, s": timed(lambda: _ask(root, "lineage", "orders")),
        "lineage FILE, s": timed(lambda: _ask(root, "lineage", "orders-00001.csv")),
    }


def fill(root: Path, batches: int) -> None:
    """Multiply the first batch of table `orders`: rows of the ledger by SQL, layer files by hard links."""
    connection = sqlite3.connect(root / "catalog/state.sqlite3")
    connection.executescript("PRAGMA synchronous=OFF; PRAGMA cache_size=-500000; BEGIN")
    connection.execute(
        "CREATE TEMP TABLE n AS WITH RECURSIVE c(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM c WHERE i + 1 < ?) "
        "SELECT i, printf('%08x-%04x', (? + i * 1000) >> 16, (? + i * 1000) & 65535) AS stamp FROM c",
        (batches, _LONG_AGO, _LONG_AGO),
    )
    (batch_id, newest) = connection.execute(
        "SELECT min(batch_id), (SELECT max(file_id) FROM files) FROM batches"
    ).fetchone()
    moved = {name: f"n.stamp || substr(t.{name}, 14)" for name in ("batch_id", "transition_id", "group_id")}
    record = f"replace(replace(t.record, t.batch_id, {moved['batch_id']}), t.transition_id, {moved['transition_id']})"
    changes = {
        "batches": {},
        "files": {
            "file_id": f"t.file_id + (n.i + 1) * {newest}",
            "name": "printf('%07d-', n.i) || t.name",
            "size": "t.size + n.i % 997",
            "sha256": "printf('%016x', n.i) || substr(t.sha256, 17)",
            "resting_path": "CAST(printf('%07d-', n.i) || t.resting_path AS BLOB)",
        },
        "promotions": {},
        "transitions": {"record": record},
        "layer_files": {"name": f"{moved['batch_id']} || '.parquet'"},
    }
    connection.execute("UPDATE transitions SET filed = 1")
    for table, changed in changes.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = ", ".join((moved | changed).get(column, f"t.{column}") for column in columns)
        connection.execute(
            f"INSERT INTO {table} SELECT {values} FROM n CROSS JOIN {table} AS t WHERE t.batch_id = ?",
            (batch_id,),
        )
    more = "(SELECT total(rows) FROM layer_files AS f WHERE f.layer = layers.layer AND f.table_name = layers.table_name)"
    connection.execute(
        f"UPDATE layers SET rows = {more}, files = files + ? WHERE table_name = 'orders'", (batches,)
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stamps = [stamp for (stamp,) in connection.execute("SELECT stamp FROM n")]
    connection.close()
    for layer in _LAYERS:
        _link(root / f"data/{layer}/main/orders", batch_id, stamps)


def _link(folder: Path, batch_id: str, stamps: list[str]) -> None:
    source = folder / f"{batch_id}.parquet"
    for number, stamp in enumerate(stamps):
        target = folder / f"{stamp}{batch_id[13:]}.parquet"
        if number % _MAX_LINKS == 0:
            shutil.copyfile(source, target)
            source = target
        else:
            os.link(source, target)


class Daemon:
    """A daemon at work: `ready`, seconds from its start until it was."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.ready = timed(lambda: self.wait_for("daemon_ready", 1))

    def wait_for(self, event: str, times: int) -> None:
        """Return when it has logged an event so many times."""
        word, deadline = f'"{event}"'.encode(), time.monotonic() + 300
        while self._log.read_bytes().count(word) < times:
            if time.monotonic() > deadline:
                raise TimeoutError(event)
            time.sleep(0.002)

    def count_lines(self, *words: str) -> int:
        """How many lines of its log hold all of these words."""
        lines = self._log.read_text().splitlines()
        return sum(all(word in line for word in words) for line in lines)


@contextmanager
def running(root: Path, **settings: str) -> Iterator[Daemon]:
    """A daemon on a root, ready."""
    log = root.parent / "log"
    environment = {**os.environ, "MEDALLIOND_LOG_FORMAT": "json"}
    environment |= {f"MEDALLIOND_{name.upper()}": value for name, value in settings.items()}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "daemon", "run", "--root", str(root)],
            stdout=output,
            stderr=output,
            env=environment,
        )
    try:
        yield Daemon(log)
    finally:
        process.terminate()
        process.wait()


def _next_batch(root: Path, outside: Path, files: int, number: int) -> float:
    """Seconds from the arrival of a batch of new files until it is in gold."""
    outside.mkdir(exist_ok=True)
    paths = [outside / f"next-{number}-{file}.csv" for file in range(files)]
    for file, path in enumerate(paths):
        orders((number * files + file) * ROWS, ROWS).write_csv(path)
    before = _rows(root)
    time.sleep(0.5)  # what the batch before left to do is done
    began = time.perf_counter()
    for path in paths:
        path.rename(root / "landing/orders" / path.name)
    while _rows(root) < before + files * ROWS:
        time.sleep(0.001)
    return time.perf_counter() - began


def _rows(root: Path) -> int:
    connection = sqlite3.connect(f"file:{root}/catalog/state.sqlite3?mode=ro", uri=True)
    (rows,) = connection.execute(
        "SELECT rows FROM layers WHERE table_name = 'orders' AND layer = 'gold'"
    ).fetchone()
    connection.close()
    return int(rows)


def _ask(root: Path, *words: str) -> None:
    command = [sys.executable, "-m", "daemon", *words, "--root", str(root)]
    subprocess.run(command, check=True, capture_output=True)


def _start_with_files_waiting(root: Path) -> float:
    landing = root / "landing/orders"
    landing.mkdir(parents=True)
    for number in range(WAITING):
        (landing / f"{number}.csv").write_text(f"id\n{number}\n")
    with running(root) as daemon:
        return daemon.ready


def _whole(root: Path, batches: int, files: int) -> bool:
    """Whether gold holds the rows of the first batch, of its likenesses and of those that were measured."""
    gold = root / "data/gold/main/orders"
    paths = sorted(gold.glob("*.parquet"))
    rows = sum(
        pl.scan_parquet(paths[first : first + 1000], missing_columns="insert")
        .select(pl.len())
        .collect()
        .item()
        for first in range(0, len(paths), 1000)
    )
    return bool(rows == (batches + 1 + 2 * NEXT) * files * ROWS)


if __name__ == "__main__":
    sys.exit(main())
