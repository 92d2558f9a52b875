"""SIGKILL at random moments while deliveries are undone, redone, replaced and rebuilt: gold is what was asked for."""

import os
import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from daemon_process import Daemon, drain, run

from daemon.catalog.identity import new_id
from daemon.catalog.requests import Act, Request
from daemon.lake.layout import Layout
from daemon.lake.requests import post

ROUNDS = 8
CONTRACT = """
landing: {revisions: replace}
bronze:
  cast: {id: int64, amount: int64}
silver:
  dedup: {keys: [id], keep: last}
"""


def deliver(root: Path, number: int, name: str, chance: random.Random) -> None:
    rows = "".join(f"{chance.randrange(30)},{number * 100 + row}\n" for row in range(6))
    (root / "next.csv").write_text("id,amount\n" + rows)
    (root / "next.csv").rename(root / "landing/sales/orders" / name)


def ask(root: Path, act: Act, *files: int) -> None:
    request = Request(
        request_id=new_id(), act=act, domain="sales", table="orders", files=files, asked_at=datetime.now(UTC)
    )
    post(Layout(root), request)


def delivered(root: Path) -> list[tuple[int, str, str]]:
    """File id, state and resting place of what came to rest in the archive, in the order of its rows."""
    connection = sqlite3.connect(root / "catalog/state.sqlite3")
    rows = connection.execute(
        "SELECT file_id, state, resting_path FROM files WHERE state IN ('ingested', 'undone') ORDER BY batch_id, ordinal"
    ).fetchall()
    connection.close()
    return [(file_id, state, os.fsdecode(path or b"")) for file_id, state, path in rows]


@pytest.mark.timeout(150)
def test_killed_in_the_midst_of_changes_gold_is_what_the_deliveries_that_stand_say(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    (tmp_path / "landing/sales/orders").mkdir(parents=True)
    (tmp_path / "catalog/contracts/sales").mkdir(parents=True)
    (tmp_path / "catalog/contracts/sales/orders.yaml").write_text(CONTRACT)
    for turn in range(ROUNDS):
        for number in (2 * turn, 2 * turn + 1):
            again = chance.randrange(number) if number and chance.random() < 0.3 else number
            deliver(tmp_path, number, f"{again}.csv", chance)
        known = delivered(tmp_path) if turn else []
        for file_id, state, _ in chance.sample(known, min(2, len(known))):
            ask(tmp_path, "undo" if state == "ingested" else "redo", file_id)
        if chance.random() < 0.3:
            ask(tmp_path, "rebuild")
        daemon = Daemon(tmp_path)
        daemon.wait_for("daemon_started")
        daemon.live_for(chance.uniform(0.1, 0.7))
        daemon.kill()
    assert drain(tmp_path) == 0, f"seed {seed}"
    wanted: dict[int, int] = {}
    for _, state, path in delivered(tmp_path):
        if state == "ingested":
            wanted.update(pl.read_csv(tmp_path / path).select("id", "amount").iter_rows())
    paths = (tmp_path / "data/gold/sales/orders").glob("*.parquet")
    gold = [row for path in paths for row in pl.read_parquet(path).select("id", "amount").rows()]
    assert sorted(gold) == sorted(wanted.items()), f"seed {seed}"
    proof = run(tmp_path, "verify")
    assert proof.status == 0, f"seed {seed}: {proof.output}"
