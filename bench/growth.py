"""What the next batch, a start and questions cost with a million files in the ledger, against a root that is new.

`python -m bench.growth [BATCHES] [FILES]`. One batch of FILES is drained into a young root; a copy of it is filled, ledger
and layer folders, with the likeness of that batch under earlier ids, BATCHES times over, and never compacted. Then both are
given the same new batches and asked the same questions in turns; medians count. Last, 100,000 files are put into landing
of a new root, and a daemon is started.
"""

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from bench.common import drain, keep, timed, timed_command
from bench.data import orders, small_files

ROWS = 100
WAITING = 100_000
NEXT = 21
"""Batches that each root is given."""
TURNS = 3
"""How often each is started and asked."""
_LONG_AGO = 0x0190_0000_0000
"""A time in 2024, in the milliseconds of UUIDv7: before the real batch."""
_LAYERS = ("staged", "bronze", "silver", "gold")
_PATIENCE = 60.0
_MAX_LINKS = 60_000
"""Hard links to one file; ext4 allows 65,000."""
_AS_IT_IS = {"compaction_min_files": "0"}
"""Settings: what is measured is not the merging of what a daemon would have merged long ago."""


def main() -> int:
    """Run it; returns 1 when a row of a measured batch is missing."""
    batches, files = (int(word) for word in (sys.argv[1:3] or ("100000", "10")))
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as name:
        young, old = Path(name) / "young/root", Path(name) / "old/root"
        small_files(young / "landing/orders", files, ROWS)
        drain(young)
        shutil.copytree(young, old, symlinks=True)
        fill(old, batches)
        with running(old):  # the first start writes the newest lineage files, which `fill` leaves out
            pass
        rows = [
            {"what": what, "young": new, "old": grown, "ratio": grown / new}
            for what, (new, grown) in costs(young, old, files).items()
        ]
        waiting = start_with_files_waiting(Path(name) / "waiting")
        rows.append(
            {"what": f"start with {WAITING:,} files in landing, s", "young": waiting, "old": "", "ratio": ""}
        )
        ledger = (old / "catalog/state.sqlite3").stat().st_size / 1e6
        keep("growth", rows, {"batches": batches, "files": batches * files, "ledger, MB": round(ledger)})
        return int(not (_is_whole(young, 0, files) and _is_whole(old, batches, files)))


def costs(young: Path, old: Path, files: int) -> dict[str, tuple[float, float]]:
    """What a start, the next batch and the questions of people cost in each root, in seconds."""
    ready, hops = _each(), _each()
    for _ in range(TURNS):
        for root, taken in zip((young, old), ready, strict=True):
            with running(root, **_AS_IT_IS) as daemon:
                taken.append(daemon.ready)
    with running(young, **_AS_IT_IS), running(old, **_AS_IT_IS):
        for number in range(1, NEXT + 1):
            batch = [orders((number * files + file) * ROWS, ROWS) for file in range(files)]
            for root, taken in zip((young, old), hops, strict=True):
                taken.append(next_batch(root, batch, files * ROWS))
    found = {"start to ready, s": ready, "next batch, s": hops}
    for question in (("status",), ("lineage", "orders"), ("lineage", "orders-00001.csv")):
        answers = found[" ".join(question) + ", s"] = _each()
        for _ in range(TURNS):
            for root, taken in zip((young, old), answers, strict=True):
                taken.append(_ask(root, *question))
    return {what: (statistics.median(new), statistics.median(grown)) for what, (new, grown) in found.items()}


def _each() -> tuple[list[float], list[float]]:
    return [], []


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


def next_batch(root: Path, batch: Sequence[pl.DataFrame], rows: int) -> float:
    """Seconds from the arrival of a batch of new files until their `rows` rows are in gold."""
    outside = root.parent / "outside"
    outside.mkdir(exist_ok=True)
    before = gold_rows(root)
    paths = [outside / f"next-{before}-{number}.csv" for number in range(len(batch))]
    for path, frame in zip(paths, batch, strict=True):
        frame.write_csv(path)
    time.sleep(0.3)  # what the batch before left to do is done
    began = time.perf_counter()
    for path in paths:
        path.rename(root / "landing/orders" / path.name)
    while gold_rows(root) < before + rows:
        if time.perf_counter() - began > _PATIENCE:
            raise TimeoutError(f"{gold_rows(root)} rows are in gold, {before + rows} are expected")
        time.sleep(0.001)
    return time.perf_counter() - began


def gold_rows(root: Path) -> int:
    """Rows in gold of the table `orders`, by the ledger."""
    connection = sqlite3.connect(f"file:{root}/catalog/state.sqlite3?mode=ro", uri=True)
    (rows,) = connection.execute(
        "SELECT rows FROM layers WHERE table_name = 'orders' AND layer = 'gold'"
    ).fetchone()
    connection.close()
    return int(rows)


def _ask(root: Path, *words: str) -> float:
    """Seconds that a command takes."""
    return timed_command("-m", "daemon", *words, "--root", str(root))


def start_with_files_waiting(root: Path) -> float:
    """Seconds from the start of a daemon to ready, beside a flood in landing."""
    landing = root / "landing/orders"
    landing.mkdir(parents=True)
    for number in range(WAITING):
        (landing / f"{number}.csv").write_text(f"id\n{number}\n")
    with running(root) as daemon:
        return daemon.ready


def _is_whole(root: Path, batches: int, files: int) -> bool:
    """Whether gold has a file of every batch, and every row of the first and the measured ones once."""
    paths = sorted((root / "data/gold/main/orders").glob("*.parquet"))
    ids = pl.scan_parquet(paths[batches:]).select("id").collect()["id"]
    return ids.n_unique() == len(ids) == (1 + NEXT) * files * ROWS


if __name__ == "__main__":
    sys.exit(main())
