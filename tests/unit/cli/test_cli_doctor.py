"""`medalliond doctor`: the judgements, machine by machine, and the answer as a whole."""

import json
from typing import Any

import pytest
from cli_world import Root, Run, batch_id

from daemon.cli import doctor_machine as machine
from daemon.cli import doctor_root
from daemon.cli.doctor_root import judge_newest_batch


def findings(run: Run, root: Root) -> dict[str, dict[str, Any]]:
    report = json.loads(run("doctor", "--json", root).stdout)
    return {finding["check"]: finding for finding in report["findings"]}


def test_a_good_root_has_no_failure(orders: Root, run: Run) -> None:
    found = run("doctor", orders)
    assert found.exit_code == 0, found.stdout
    statuses = {line.split("\t")[0] for line in found.stdout.splitlines()}
    assert statuses <= {"ok", "warn"}


def test_everything_the_daemon_needs_is_looked_at(orders: Root, run: Run) -> None:
    assert set(findings(run, orders)) == {
        "permissions",
        "file systems",
        "landing file system",
        "inotify watches",
        "inotify instances",
        "inotify queue",
        "leases",
        "clock",
        "clock against ledger",
        "disk space",
        "inodes",
        "room for more",
        "ledger",
        "daemon",
    }


def test_what_is_not_well_says_what_to_do_next(orders: Root, run: Run) -> None:
    for finding in findings(run, orders).values():
        assert bool(finding["next_step"]) == (finding["status"] != "ok")


def test_a_missing_folder_fails(orders: Root, run: Run) -> None:
    orders.layout.landing.rename(orders.path / "gone")
    found = run("doctor", "--json", orders)
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["status"] == "fail"


def test_a_damaged_ledger_fails(orders: Root, run: Run) -> None:
    orders.ledger.close()
    orders.layout.ledger.write_bytes(b"no database" * 1000)
    found = findings(run, orders)["ledger"]
    assert found["status"] == "fail"
    assert "damaged" in found["found"]


def test_leases_are_tried_on_a_file_that_goes_away_again(orders: Root) -> None:
    assert doctor_root.leases(orders.layout).status == "ok"
    assert list(orders.layout.landing.iterdir()) == []


@pytest.mark.parametrize(
    ("folders", "limit", "status"), [(10, 8192, "ok"), (5000, 8192, "warn"), (8192, 8192, "fail")]
)
def test_watches_are_judged_by_the_folders_of_landing(folders: int, limit: int, status: str) -> None:
    finding = machine.judge_watches(folders, limit)
    assert finding.status == status
    if status != "ok":
        assert "fs.inotify.max_user_watches=" in finding.next_step


def test_a_network_file_system_is_swept_only() -> None:
    assert machine.judge_file_system("ext4", remote=False).status == "ok"
    assert machine.judge_file_system("nfs4", remote=True).status == "warn"


@pytest.mark.parametrize(
    ("drift", "synchronised", "status"),
    [(0.0, True, "ok"), (0.0, False, "warn"), (0.0, None, "warn"), (3600.0, True, "warn")],
)
def test_a_clock_is_judged_by_its_steadiness_and_the_kernel(
    drift: float,
    synchronised: bool | None,  # noqa: FBT001 - the kernel's answer, or none
    status: str,
) -> None:
    assert machine.judge_clock(drift, synchronised).status == status


@pytest.mark.parametrize(
    ("free", "status"), [(500_000_000_000, "ok"), (20_000_000_000, "warn"), (1_000_000_000, "fail")]
)
def test_space_is_judged_before_it_is_gone(free: int, status: str) -> None:
    assert machine.judge_space(free, 1_000_000_000_000).status == status


@pytest.mark.parametrize(("free", "total", "status"), [(0, 0, "ok"), (1, 1000, "fail"), (30, 1000, "warn")])
def test_inodes_are_judged_where_they_are_counted(free: int, total: int, status: str) -> None:
    assert machine.judge_inodes(free, total).status == status


def test_a_clock_that_was_set_back_is_noticed() -> None:
    made = 0x019B8A000000 / 1000
    assert judge_newest_batch(batch_id(1), made + 1).status == "ok"
    assert judge_newest_batch(batch_id(1), made - 3600).status == "warn"
    assert judge_newest_batch(None, made).status == "ok"
