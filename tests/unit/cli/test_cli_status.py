"""`medalliond status`: the ledger's totals, what fails, what waits, who is at work."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_world import NOW, ORDERS, Root, Run

from daemon.catalog.ledger.lock import RootLock
from daemon.catalog.transition import Layer


def report(run: Run, root: Root) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("status", "--json", root).stdout)
    return found


def test_rows_are_counted_per_layer(orders: Root, run: Run) -> None:
    (table,) = report(run, orders)["tables"]
    assert table == {
        "domain": "sales",
        "table": "orders",
        "rows": {"staged": 3, "bronze": 2, "silver": 2, "gold": 2},
        "batches_in_flight": 0,
        "quarantined_records": 1,
        "quarantined_by_rule": {"cast": 1},
        "files_set_aside": 0,
        "batches_under_another_contract": 0,
    }


def test_a_batch_on_its_way_is_in_flight(orders: Root, run: Run) -> None:
    orders.claim(ORDERS, "sales/orders/feb.csv")
    assert report(run, orders)["tables"][0]["batches_in_flight"] == 1


def test_a_failure_is_shown_with_its_error_and_the_next_step(root: Root, run: Run) -> None:
    root.claim(ORDERS, "sales/orders/jan.csv")
    root.ledger.outcomes.retry(root.due(ORDERS, Layer.STAGED), "machine", "No space left on device", NOW)
    (failure,) = report(run, root)["failures"]
    assert failure["error"] == "No space left on device"
    assert "tried again by itself" in failure["next_step"]
    text = run("status", root).stdout
    assert "failing: sales.orders -> staged" in text
    assert "No space left on device" in text


def test_the_oldest_waiting_file_is_named(orders: Root, run: Run) -> None:
    folder = orders.layout.landing / "sales" / "orders"
    folder.mkdir(parents=True)
    (folder / "old.csv").write_text("a\n1\n")
    (folder / "new.csv").write_text("a\n1\n")
    newer = (folder / "new.csv").stat().st_ctime_ns
    while (folder / "new.csv").stat().st_ctime_ns <= newer:
        (folder / "new.csv").chmod(0o600)
    landing = report(run, orders)["landing"]
    assert landing["waiting_files"] == 2
    assert landing["oldest"]["file"] == "sales/orders/old.csv"
    assert 0 <= landing["oldest"]["seconds"] < 60
    assert "landing: 2 files are waiting" in run("status", orders).stdout


def test_temporary_hidden_empty_and_claimed_files_do_not_wait(orders: Root, run: Run) -> None:
    claimed = orders.layout.landing / ".claimed" / "b"
    claimed.mkdir(parents=True)
    (claimed / "0-x.csv").write_text("a\n")
    (orders.layout.landing / "x.csv.part").write_text("a\n")
    (orders.layout.landing / "empty.csv").touch()
    (orders.layout.landing / ".x.csv").write_text("a\n")
    assert report(run, orders)["landing"] == {
        "waiting_files": 0,
        "oldest": None,
        "problems": [],
        "no_room": None,
    }


def test_below_the_floor_it_is_said_that_nothing_new_is_taken_in(
    root: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLIOND_MIN_FREE_BYTES", "1000TB")
    assert "the floor is 1,000,000,000,000,000" in report(run, root)["landing"]["no_room"]
    assert "nothing new is taken in until there is room" in run("status", root).stdout


def test_no_daemon_is_running_where_nobody_holds_the_lock(orders: Root, run: Run) -> None:
    assert report(run, orders)["daemon"] == {"running": False, "pid": None}
    RootLock.acquire(orders.layout.lock).release()
    assert report(run, orders)["daemon"]["running"] is False


def test_a_running_daemon_is_seen_without_touching_its_lock(orders: Root, run: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from daemon.catalog.ledger.lock import RootLock;"
        "lock = RootLock.acquire(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(orders.layout.lock)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        assert report(run, orders)["daemon"] == {"running": True, "pid": holder.pid}
        assert f"a daemon is at work (pid {holder.pid})" in run("status", orders).stdout
        holder.stdin.close()
    assert report(run, orders)["daemon"]["running"] is False


def test_a_root_without_a_ledger_has_nothing_yet(tmp_path: Path, run: Run) -> None:
    assert run("init", str(tmp_path)).exit_code == 0
    found = json.loads(run("status", "--root", str(tmp_path), "--json").stdout)
    assert found["tables"] == []
    assert "no tables yet" in run("status", "--root", str(tmp_path)).stdout


def test_a_pipe_gets_tab_separated_lines(orders: Root, run: Run) -> None:
    assert "sales.orders\t3\t2\t2\t2\t0\t1\t0\n" in run("status", orders).stdout


def test_a_broken_contract_is_named_with_its_line(root: Root, run: Run) -> None:
    folder = root.layout.contracts / "sales"
    folder.mkdir(parents=True)
    (folder / "orders.yaml").write_text("bronz: {}\n")
    told = run("status", root).output
    assert "catalog/contracts/sales/orders.yaml:1: unknown key 'bronz'; did you mean 'bronze'?" in told


def test_a_model_over_a_table_without_data_is_said_to_wait(orders: Root, run: Run) -> None:
    folder = orders.layout.contracts / "sales"
    folder.mkdir(parents=True)
    (folder / "totals.yaml").write_text(
        'model: {sql: "SELECT 1 FROM gold.sales.orders, gold.sales.nothere"}\n'
    )
    told = run("status", orders).output
    assert "the model sales.totals is made once there is data in gold.sales.nothere" in told
