"""A real daemon in its own process: what it does with files, faults, edits and signals."""

import json
import os
import signal
import subprocess
from pathlib import Path

import polars as pl
import pytest
from daemon_process import Daemon, InstalledDaemon, drain, medalliond, ready, running, wait_for

ROWS = "id,name\n1,Ada\n2,Grace\n"


def drop(root: Path, name: str, text: str = ROWS) -> Path:
    path = root / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def contract(root: Path, table: str, text: str) -> None:
    path = root / "catalog" / "contracts" / f"{table}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def transform(root: Path, text: str) -> None:
    path = root / "catalog" / "transforms" / "mine.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"import os\nimport time\nimport polars as pl\n\n\ndef step(lf):\n{text}\n")


def slow_transform(root: Path) -> Path:
    """A step that takes a second; the file it returns is there once the step has begun."""
    begun = root / "begun"
    transform(
        root,
        "    def look(frame):\n"
        f"        if frame.height:\n            open({str(begun)!r}, 'w').close()\n            time.sleep(1.0)\n"
        "        return frame\n"
        "    return lf.map_batches(look)",
    )
    return begun


def gold(root: Path, table: str) -> list[str]:
    """The source files whose rows are in gold."""
    files = list((root / "data/gold" / table).glob("*.parquet"))
    return sorted(pl.read_parquet(files)["_source_file"].unique()) if files else []


def reasons(root: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in root.glob("data/quarantine/**/*.reason.json")]


def test_a_file_dropped_while_it_runs_is_in_gold_a_moment_later(tmp_path: Path) -> None:
    with ready(InstalledDaemon(tmp_path)) as daemon:
        drop(tmp_path, "sales/orders/a.csv")
        daemon.wait_for("source_archived", table="orders")
        assert gold(tmp_path, "sales/orders") == ["sales/orders/a.csv"]


def test_below_the_floor_of_free_space_files_stay_in_landing_until_there_is_room(tmp_path: Path) -> None:
    left = drop(tmp_path, "a.csv")
    with running(tmp_path, min_free_bytes="1000TB") as daemon:
        assert "bytes are free, the floor is" in daemon.wait_for("intake_paused")["reason"]
        assert daemon.stop() == 0
    assert left.exists()
    assert drain(tmp_path) == 0
    assert gold(tmp_path, "main/a") == ["a.csv"]


def test_a_directory_moved_in_is_a_delivery_too(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "orders"
    outside.mkdir(parents=True)
    (outside / "a.csv").write_text(ROWS)
    root = tmp_path / "root"
    (root / "landing").mkdir(parents=True)
    with running(root) as daemon:
        outside.rename(root / "landing" / "orders")
        daemon.wait_for("source_archived", table="orders")
        assert gold(root, "main/orders") == ["orders/a.csv"]


def test_a_second_daemon_on_the_same_root_stops_at_once_and_says_why(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        told = medalliond(tmp_path, "run", status=1)
        assert f"another medalliond (pid {daemon.pid}) works on this root" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_finishes_the_running_climb_and_exits_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    contract(tmp_path, "main/slow", 'silver: {transforms: ["mine:step"]}\n')
    begun = slow_transform(tmp_path)
    drop(tmp_path, "slow/a.csv")
    daemon = Daemon(tmp_path)
    wait_for(begun.exists, 20, daemon.log_path.read_text)
    assert daemon.stop(number) == 0
    assert daemon.wait_for("transition_completed", target_layer="gold")["rows"] == 2
    assert gold(tmp_path, "main/slow") == ["slow/a.csv"]
    assert drain(tmp_path) == 0
    assert gold(tmp_path, "main/slow") == ["slow/a.csv"]


def test_the_same_content_again_is_archived_as_a_duplicate_and_logged_once(tmp_path: Path) -> None:
    drop(tmp_path, "orders/a.csv")
    assert drain(tmp_path) == 0
    drop(tmp_path, "orders/copy.csv")
    assert drain(tmp_path) == 0
    assert gold(tmp_path, "main/orders") == ["orders/a.csv"]
    assert [path.name for path in tmp_path.glob("data/archive/main/orders/*/duplicates/*")] == ["copy.csv"]


def test_the_same_name_with_new_content_is_ingested_and_rests_beside_its_namesake(tmp_path: Path) -> None:
    drop(tmp_path, "orders/a.csv")
    assert drain(tmp_path) == 0
    drop(tmp_path, "orders/a.csv", "id,name\n3,Edsger\n")
    assert drain(tmp_path) == 0
    assert pl.read_parquet(tmp_path / "data/gold/main/orders/*.parquet").height == 3
    assert sorted(path.name for path in tmp_path.glob("data/archive/main/orders/*/*")) == ["a.csv", "a~2.csv"]


def test_a_file_nothing_can_read_is_set_aside_with_the_reason_and_the_others_go_on(tmp_path: Path) -> None:
    drop(tmp_path, "orders/good.csv")
    (tmp_path / "landing/orders/bad.parquet").write_bytes(b"PAR1" + os.urandom(100) + b"PAR1")
    assert drain(tmp_path) == 0
    assert gold(tmp_path, "main/orders") == ["orders/good.csv"]
    (reason,) = reasons(tmp_path)
    assert reason["file"] == "orders/bad.parquet"
    assert reason["reason"]


@pytest.mark.parametrize(
    ("deadly", "limit", "kind"),
    [
        ("os._exit(9)", {}, "worker_died"),
        ("time.sleep(30)", {"worker_timeout": "1.5"}, "timed_out"),
        ("bytearray(b'x') * 10**10", {"worker_memory": "400MB"}, "too_much_memory"),
    ],
)
def test_data_that_ends_its_worker_costs_its_own_file_only(
    tmp_path: Path, deadly: str, limit: dict[str, str], kind: str
) -> None:
    contract(tmp_path, "main/orders", 'silver: {transforms: ["mine:step"]}\n')
    transform(
        tmp_path,
        "    def look(frame):\n"
        f"        if 'poison' in frame['name'].to_list():\n            {deadly}\n"
        "        return frame\n"
        "    return lf.map_batches(look)",
    )
    for name in "abc":
        drop(tmp_path, f"orders/{name}.csv", f"id,name\n1,{'poison' if name == 'c' else name}\n")
    assert drain(tmp_path, retry_base="0.1", **limit) == 0
    assert gold(tmp_path, "main/orders") == ["orders/a.csv", "orders/b.csv"]
    (reason,) = reasons(tmp_path)
    assert (reason["file"], reason["kind"]) == ("orders/c.csv", kind)


def test_a_wrong_transform_parks_its_batch_and_mending_it_releases_it(tmp_path: Path) -> None:
    contract(tmp_path, "main/orders", 'silver: {transforms: ["mine:step"]}\n')
    transform(tmp_path, "    return lf.select(pl.col('no_such_column'))")
    drop(tmp_path, "orders/a.csv")
    with running(tmp_path) as daemon:
        parked = daemon.wait_for("batch_parked", table="orders")
        assert "mine.py:" in parked["error"] or "no_such_column" in parked["error"]
        transform(tmp_path, "    return lf")
        daemon.wait_for("batch_completed", table="orders")
    assert gold(tmp_path, "main/orders") == ["orders/a.csv"]
    assert reasons(tmp_path) == []


def test_a_drain_that_leaves_something_failing_exits_with_3(tmp_path: Path) -> None:
    contract(tmp_path, "main/orders", 'gold: {sql: "SELECT nothing FROM silver"}\n')
    drop(tmp_path, "orders/a.csv")
    drop(tmp_path, "others/b.csv")
    assert drain(tmp_path) == 3
    assert gold(tmp_path, "main/others") == ["others/b.csv"]


def test_a_broken_edit_keeps_the_last_good_contract_and_says_so(tmp_path: Path) -> None:
    contract(tmp_path, "main/orders", "bronze: {cast: {id: int64}}\n")
    with running(tmp_path) as daemon:
        contract(tmp_path, "main/orders", "bronz: {cast: {id: int64}}\n")
        broken = daemon.wait_for("contract_broken")
        assert "orders.yaml:1: unknown key 'bronz'; did you mean 'bronze'?" in broken["reason"]
        drop(tmp_path, "orders/a.csv")
        daemon.wait_for("batch_completed", table="orders")
    assert (
        pl.read_parquet_schema(next((tmp_path / "data/gold/main/orders").glob("*.parquet")))["id"] == pl.Int64
    )


def test_a_model_is_made_anew_after_its_input_has_changed(tmp_path: Path) -> None:
    contract(tmp_path, "main/count", 'model: {sql: "SELECT count(*) AS rows FROM gold.main.orders"}\n')
    drop(tmp_path, "orders/a.csv")
    with running(tmp_path) as daemon:
        daemon.wait_for("model_refreshed", table="count", rows_in=2)
        drop(tmp_path, "orders/b.csv", "id,name\n3,Edsger\n")
        daemon.wait_for("model_refreshed", table="count", rows_in=3)
    files = list((tmp_path / "data/gold/main/count").glob("*.parquet"))
    assert [path.name for path in files] == ["count.parquet"]
    assert pl.read_parquet(files[0])["rows"].to_list() == [3]


def test_kept_sources_stay_in_landing_and_are_not_taken_twice(tmp_path: Path) -> None:
    kept = drop(tmp_path, "orders/a.csv")
    for _ in range(2):
        assert drain(tmp_path, archive="keep") == 0
        assert kept.read_text() == ROWS
    assert pl.read_parquet(tmp_path / "data/gold/main/orders/*.parquet").height == 2


def test_a_file_waits_for_its_done_marker_which_goes_with_it(tmp_path: Path) -> None:
    contract(tmp_path, "main/orders", "landing: {done_marker: true}\n")
    waiting = drop(tmp_path, "orders/a.csv")
    assert drain(tmp_path) == 3
    assert waiting.exists()
    drop(tmp_path, "orders/a.csv.done", "")
    assert drain(tmp_path) == 0
    assert gold(tmp_path, "main/orders") == ["orders/a.csv"]
    assert not list((tmp_path / "landing/orders").glob("*.csv*"))


def test_a_file_that_somebody_still_writes_is_left_alone(tmp_path: Path) -> None:
    growing = drop(tmp_path, "orders/a.csv", "")
    with running(tmp_path) as daemon, growing.open("a") as writer:
        writer.write("id,name\n1,Ada\n")
        writer.flush()
        drop(tmp_path, "others/b.csv")
        daemon.wait_for("batch_completed", table="others")
        writer.write("2,Grace\n")
        writer.close()
        daemon.wait_for("batch_completed", table="orders")
    assert pl.read_parquet(tmp_path / "data/gold/main/orders/*.parquet").height == 2


def test_a_worker_killed_from_outside_costs_a_retry_and_no_data(tmp_path: Path) -> None:
    contract(tmp_path, "main/slow", 'silver: {transforms: ["mine:step"]}\n')
    begun = slow_transform(tmp_path)
    with ready(InstalledDaemon(tmp_path, retry_base="0.1")) as daemon:
        drop(tmp_path, "slow/a.csv")
        wait_for(begun.exists, 20, daemon.log_path.read_text)
        wait_for(lambda: _kill_workers(daemon.pid), 5, lambda: "no worker was found")
        daemon.wait_for("worker_died", table="slow")
        daemon.wait_for("batch_completed", table="slow")
    assert gold(tmp_path, "main/slow") == ["slow/a.csv"]
    assert reasons(tmp_path) == []


def _kill_workers(parent: int) -> int:
    """SIGKILL to every worker of a daemon; returns how many there were."""
    found = subprocess.run(
        ["ps", "-ww", "--ppid", str(parent), "-o", "pid=,args="], capture_output=True, text=True, check=False
    )
    workers = [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    return len(workers)


def test_a_kept_source_comes_back_under_its_own_name_while_the_daemon_runs(tmp_path: Path) -> None:
    with running(tmp_path, archive="keep") as daemon:
        drop(tmp_path, "orders/a.csv")
        daemon.wait_for("source_archived", table="orders")
        drop(tmp_path, "orders/b.csv", "id,name\n3,Edsger\n")
        wait_for(lambda: len(gold(tmp_path, "main/orders")) == 2, 20, daemon.log_path.read_text)
        both = ["a.csv", "b.csv"]
        wait_for(lambda: _names(tmp_path / "landing/orders") == both, 20, daemon.log_path.read_text)
        claims = [line for line in daemon.events() if line["event"] == "batch_claimed"]
    assert len(claims) == 2
    assert _names(tmp_path / "landing/orders") == both


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.csv"))
