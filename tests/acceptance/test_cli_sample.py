"""What a newcomer does: the sample dropped, drained, asked about and traced, each with the real command."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import run, wait_for

REPOSITORY = Path(__file__).parents[2]
HELP_SECONDS = 0.3
"""What `medalliond --help` may take, of the processor's time."""

Medalliond = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *words]


def environment(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MEDALLIOND_")}
    return {**plain, "PYTHONPATH": str(REPOSITORY), **more}


@pytest.fixture
def medalliond(tmp_path: Path) -> Medalliond:
    """Call the command line in a folder of its own."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words), cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )

    return call


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def look(root: Path) -> Any:
    """What `status` says, by a command that starts at once."""
    return json.loads(run(root, "status", "--json").output)


def gold_rows(status: Any) -> dict[str, int]:
    return {table["table"]: table["rows"]["gold"] for table in status["tables"]}


def test_the_sample_becomes_gold_tables_that_can_be_asked_and_traced(medalliond: Medalliond) -> None:
    assert medalliond("init", "--sample").returncode == 0
    drained = medalliond("drain")
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert all(json.loads(line)["event"] for line in drained.stdout.splitlines())

    status = answer(medalliond("status", "--json"))
    assert gold_rows(status) == {"customers": 12, "orders": 77, "revenue_by_country": 10}
    assert status["failures"] == []
    assert status["landing"]["waiting_files"] == 0

    asked = medalliond("query", "SELECT product, unit_price FROM gold.orders WHERE order_id = 1001", "--csv")
    assert list(csv.reader(io.StringIO(asked.stdout))) == [["product", "unit_price"], ["00417", "18.40"]]

    shown = answer(medalliond("quarantine", "show", "sales.orders", "--json"))
    assert {record["_source_row"] for record in shown["records"]} == {10, 12, 27, 34}
    assert all(record["reason"] for record in shown["records"])

    (batch,) = answer(medalliond("lineage", "orders-2026-01.csv", "--json"))["batches"]
    assert {log["target_layer"] for log in batch["transitions"]} == {"staged", "bronze", "silver", "gold"}
    for log in batch["transitions"]:
        accounted = log["row_count_out"] + log["rows_quarantined"] + log["rows_deduplicated"]
        assert log["row_count_in"] == accounted + log["rows_filtered"]


def test_a_terminal_sees_progress_and_the_outcome_of_a_drain(medalliond: Medalliond, tmp_path: Path) -> None:
    assert medalliond("init", "--sample").returncode == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("drain"),
        cwd=tmp_path,
        env=environment(TERM="xterm", COLUMNS="120"),
        stdout=theirs,
        stderr=theirs,
    ) as drain:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    assert drain.returncode == 0
    assert "3/3" in shown
    assert "3 files done; there are 99 rows in gold." in shown
    assert "batch_completed" not in shown


def _read(terminal: int) -> bytes:
    """Read what a terminal shows; a terminal that nobody writes to any more is at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_a_drain_of_nothing_is_done_at_once(tmp_path: Path) -> None:
    assert run(tmp_path, "init").status == 0
    assert run(tmp_path, "drain").status == 0


def test_a_broken_contract_leaves_the_drain_with_exit_status_three(tmp_path: Path) -> None:
    assert run(tmp_path, "init", "--sample").status == 0
    contract = tmp_path / "catalog/contracts/sales/orders.yaml"
    contract.write_text(contract.read_text().replace("FROM silver", "FROM nowhere"))
    assert run(tmp_path, "drain").status == 3
    (failure,) = look(tmp_path)["failures"]
    assert failure["table"] == "orders"
    assert "edit the contract" in failure["next_step"]


def test_a_running_daemon_can_be_looked_at_and_ends_quietly_on_ctrl_c(
    medalliond: Medalliond, tmp_path: Path
) -> None:
    assert medalliond("init", "--sample").returncode == 0
    with subprocess.Popen(
        command("run"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        assert any('"daemon_ready"' in line for line in daemon.stdout)
        wait_for(
            lambda: gold_rows(look(tmp_path)).get("revenue_by_country") == 10,
            30,
            lambda: "the model was not made",
        )
        status = answer(medalliond("status", "--json"))
        assert gold_rows(status)["revenue_by_country"] == 10
        assert status["daemon"] == {"running": True, "pid": daemon.pid}
        second = medalliond("run")
        assert second.returncode == 1
        assert f"pid {daemon.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        daemon.send_signal(signal.SIGINT)
        _, errors = daemon.communicate(timeout=15)
    assert daemon.returncode == 0
    assert errors == ""
    assert answer(medalliond("status", "--json"))["daemon"]["running"] is False


def test_a_query_ends_quietly_on_ctrl_c(tmp_path: Path, medalliond: Medalliond) -> None:
    assert medalliond("init").returncode == 0
    endless = "FROM range(1000000) a, range(1000000) b SELECT 'begun' UNION ALL FROM range(3) SELECT 'x'"
    with subprocess.Popen(
        command("query", endless, "--csv"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as query:
        assert query.stdout is not None
        assert query.stderr is not None
        query.stdout.readline()
        query.send_signal(signal.SIGINT)
        query.stdout.read()
        assert query.stderr.read() == ""
    assert query.returncode == 130


def test_help_is_there_at_once() -> None:
    before = os.times()
    for _ in range(3):
        subprocess.run(command("--help"), env=environment(), check=True, capture_output=True)
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    assert seconds / 3 < HELP_SECONDS
