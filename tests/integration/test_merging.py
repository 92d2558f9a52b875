"""Files are merged under the eyes of a reader who counts in a loop, until the daemon is killed; nothing is doubled or lost.

`python -m bench.compaction` does it for a hundred compactions, with two readers.
"""

import shutil
import threading
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from daemon_process import Daemon, drain, running, wait_for
from polars.exceptions import PolarsError

from daemon.audit.proof import prove
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.lake.layout import Layout

ROWS = 20
SETTINGS = {
    "compaction_min_files": "2",
    "compaction_min_age": "0",
    "sweep_interval": "0.1",
    "generation_grace": "1",
}


class Reader(threading.Thread):
    """Counts gold as people do, by a glob; "file not found" is read again."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.counts: list[tuple[int, int]] = []
        self.stop = threading.Event()
        self._folder = folder

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                ids = pl.read_parquet(f"{self._folder}/*.parquet", columns=["id"])["id"]
            except (PolarsError, OSError):
                continue
            self.counts.append((len(ids), ids.n_unique()))


@pytest.mark.timeout(120)
def test_a_reader_counts_every_row_once_while_files_are_merged_and_a_kill_changes_nothing(
    tmp_path: Path,
) -> None:
    root, gold = tmp_path / "root", tmp_path / "root/data/gold/main/orders"
    (root / "landing/orders").mkdir(parents=True)
    reader, delivered = Reader(gold), 0
    with running(root, **SETTINGS) as daemon:
        while sum(compacted(daemon, "gold")) < 2:
            first = delivered * ROWS
            text = "id\n" + "".join(f"{number}\n" for number in range(first, first + ROWS))
            (tmp_path / "next.csv").write_text(text)
            shutil.move(tmp_path / "next.csv", root / f"landing/orders/{delivered}.csv")
            delivered += 1
            wait_for(partial(has_done, daemon, delivered), 30, daemon.log_path.read_text)
            if delivered == 1:
                reader.start()
        reader.stop.set()
        reader.join()
        daemon.kill()
    assert reader.counts
    assert all(rows == distinct and rows % ROWS == 0 for rows, distinct in reader.counts)
    assert sorted(reader.counts) == reader.counts
    assert drain(root) == 0
    assert pl.read_parquet(f"{gold}/*.parquet")["id"].n_unique() == delivered * ROWS
    layout = Layout(root)
    with LedgerInventory.open(layout.ledger) as inventory:
        assert [str(found) for found in prove(layout, inventory, lambda _: None).problems] == []


def compacted(daemon: Daemon, layer: str) -> list[bool]:
    return [line["layer"] == layer for line in daemon.events() if line["event"] == "layer_compacted"]


def has_done(daemon: Daemon, batches: int) -> bool:
    return len([line for line in daemon.events() if line["event"] == "batch_completed"]) >= batches
