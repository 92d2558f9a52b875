"""SIGKILL at random moments of a real load, then a restart: the result is the one of a run that nobody killed."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from daemon_process import Daemon, InstalledDaemon, drain, wait_for

from daemon.catalog.transition import LayerTransitionLog

KILLS = 10
ROUND_FILES = 6
MERGING = {"workers": "2", "sweep_interval": "0.2", "compaction_min_files": "2", "compaction_min_age": "0"}
"""Tables are promoted side by side, and small files merged at once, so that kills fall into compactions as well."""
CONTRACT = """
bronze:
  cast: {id: int64, version: int64, amount: {type: decimal, precision: 12, scale: 2}}
silver:
  dedup: {keys: [id], keep: last, order_by: [version]}
  checks:
    - {name: positive, sql: "amount > 0", on_failure: quarantine}
    - {name: wanted, sql: "id % 7 <> 0", on_failure: drop}
gold:
  sql: "SELECT *, amount * 2 AS twice FROM silver"
"""
MODEL = """
model:
  sql: "SELECT id % 5 AS bucket, count(*) AS orders, sum(amount) AS total FROM gold.sales.orders GROUP BY 1 ORDER BY 1"
"""


def write_orders(path: Path, number: int) -> None:
    """Forty orders, of which some do not cast, some fail a check, and most are newer versions of earlier ones."""
    chance = random.Random(number)
    lines = ["id,version,amount"]
    for row in range(40):
        amount = chance.choice(
            ["abc", "-1.00", *(f"{chance.randrange(1, 99999) / 100:.2f}" for _ in range(12))]
        )
        lines.append(f"{chance.randrange(200)},{number * 100 + row},{amount}")
    path.write_text("\n".join(lines) + "\n")


def write_events(path: Path, number: int) -> None:
    path.write_text("code,text\n" + "".join(f"{row:05},file {number} row {row}\n" for row in range(60)))


def prepare(root: Path) -> None:
    (root / "landing/sales/orders").mkdir(parents=True)
    (root / "landing/events").mkdir()
    contracts = root / "catalog/contracts/sales"
    contracts.mkdir(parents=True)
    (contracts / "orders.yaml").write_text(CONTRACT)
    (contracts / "by_bucket.yaml").write_text(MODEL)


def drop(root: Path, outside: Path, numbers: Iterator[int]) -> None:
    for number in numbers:
        write = write_orders if number % 2 else write_events
        folder = "landing/sales/orders" if number % 2 else "landing/events"
        source = outside / f"{number:04}.csv"
        write(source, number)
        shutil.copy(source, root / folder / source.name)


def rows(root: Path, table: str) -> pl.DataFrame:
    """A gold table without what differs from run to run, in an order of its own."""
    frame = pl.read_parquet(f"{root}/data/gold/{table}/*.parquet").drop("_ingested_at", "_batch_id")
    return frame.sort(frame.columns)


def quarantined(root: Path) -> pl.DataFrame:
    found = pl.read_parquet(f"{root}/data/quarantine/sales/orders/*.parquet")
    columns = ["_source_file", "_source_row", "rule", "raw"]
    return found.select(columns).sort(columns)


@pytest.mark.timeout(150)
def test_ten_kills_under_load_leave_what_no_kill_would_have_left(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    root, calm, outside = tmp_path / "killed", tmp_path / "calm", tmp_path / "outside"
    outside.mkdir()
    for folder in (root, calm):
        prepare(folder)
    for kill in range(KILLS):
        drop(root, outside, iter(range(kill * ROUND_FILES, (kill + 1) * ROUND_FILES)))
        daemon = InstalledDaemon(root, **MERGING)
        daemon.wait_for("daemon_started")
        daemon.live_for(chance.uniform(0.3, 1.4))
        daemon.kill()
    assert drain(root) == 0
    drop(calm, outside, iter(range(KILLS * ROUND_FILES)))
    assert drain(calm) == 0
    for table in ("sales/orders", "main/events"):
        assert rows(root, table).equals(rows(calm, table)), f"{table}, seed {seed}"
    model = rows(root, "sales/by_bucket").drop("_source_row")
    assert model.equals(rows(calm, "sales/by_bucket").drop("_source_row"))
    assert quarantined(root).equals(quarantined(calm))
    assert nothing_is_left_over(root)
    assert every_source_is_archived_once(root, KILLS * ROUND_FILES)
    assert lineage_and_ledger_agree(root)


def nothing_is_left_over(root: Path) -> bool:
    leftovers = [
        *root.glob("data/**/*.tmp"),
        *root.glob("catalog/**/*.tmp"),
        *root.glob("landing/.claimed/*/*"),
    ]
    waiting = [path for path in root.glob("landing/**/*.csv") if path.is_file()]
    assert not leftovers
    assert not waiting
    return True


def every_source_is_archived_once(root: Path, count: int) -> bool:
    names = sorted(path.name for path in root.glob("data/archive/**/*.csv"))
    assert names == [f"{number:04}.csv" for number in range(count)]
    return True


def lineage_and_ledger_agree(root: Path) -> bool:
    """Every transition is in both, says the same, and its rows add up (the model checks that when it is read)."""
    connection = sqlite3.connect(root / "catalog/state.sqlite3")
    known = dict(connection.execute("SELECT transition_id, record FROM transitions"))
    connection.close()
    files = {path.stem: path.read_text() for path in (root / "catalog/lineage").glob("*.json")}
    assert files.keys() == known.keys()
    for name, record in known.items():
        assert LayerTransitionLog.model_validate_json(files[name]) == LayerTransitionLog.model_validate_json(
            record
        )
    return True


def test_killed_between_the_hops_of_a_climb_nothing_of_it_is_left_above_what_was_committed(
    tmp_path: Path,
) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "landing/sales/orders").mkdir(parents=True)
    (tmp_path / "catalog/contracts/sales").mkdir(parents=True)
    (tmp_path / "catalog/transforms").mkdir()
    (tmp_path / "catalog/transforms/mine.py").write_text(
        "import pathlib, time\n\n\ndef slow(frame):\n"
        f"    if frame.height:\n        pathlib.Path({str(begun)!r}).touch()\n        time.sleep(30)\n"
        "    return frame\n\n\ndef step(lf):\n    return lf.map_batches(slow)\n"
    )
    contract = tmp_path / "catalog/contracts/sales/orders.yaml"
    contract.write_text("gold: {transforms: ['mine:step']}\n")
    daemon = Daemon(tmp_path)
    daemon.wait_for("daemon_ready")
    (tmp_path / "landing/sales/orders/a.csv").write_text("id\n1\n2\n")
    wait_for(begun.exists, 20, daemon.log_path.read_text)
    daemon.kill()
    assert list(tmp_path.glob("data/silver/sales/orders/*.parquet")), "the kill came between two hops"
    assert layers_of_the_ledger(tmp_path) == []
    contract.write_text("silver: {checks: [{name: never, sql: 'false', on_failure: quarantine}]}\n")
    assert drain(tmp_path) == 0
    assert layers_of_the_ledger(tmp_path) == ["bronze", "staged"]
    assert not list(tmp_path.glob("data/silver/sales/orders/*.parquet"))
    assert pl.read_parquet(tmp_path / "data/quarantine/sales/orders/*.parquet")["_source_row"].to_list() == [
        1,
        2,
    ]
    assert nothing_is_left_over(tmp_path)


def layers_of_the_ledger(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "catalog/state.sqlite3")) as connection:
        return sorted(layer for (layer,) in connection.execute("SELECT layer FROM layer_files"))
