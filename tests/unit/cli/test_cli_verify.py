"""`medalliond verify`: a good root is proved; whatever is wrong is named, and what can be derived is put right."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_world import Run
from refinery import Refinery

from daemon.audit.histories import History, contradictions
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.ledger.lock import RootLock
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.cli import verify as verify_module
from daemon.lake.layout import Layout
from daemon.lake.tables import read_table, table_path

ORDERS = TableKey("sales", "orders")
TOTALS = TableKey("sales", "totals")
CONTRACT = """
bronze: {cast: {id: int64, amount: {type: decimal, precision: 12, scale: 2}}}
silver:
  dedup: {keys: [id], keep: last}
  checks: [{name: positive, sql: "amount > 0", on_failure: quarantine}]
gold: {sql: "SELECT *, amount * 2 AS twice FROM silver"}
"""
MODEL = 'model: {sql: "SELECT count(*) AS orders, sum(amount) AS total FROM gold.sales.orders"}'


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose second delivery replaced a row of the first; records, a file and a duplicate were set aside."""
    root = tmp_path_factory.mktemp("verify") / "root"
    refinery = Refinery(Layout(root))
    refinery.contract(ORDERS, CONTRACT)
    refinery.contract(TOTALS, MODEL)
    refinery.deliver(ORDERS, jan="id,amount\n1,1.50\n2,twelve\n3,-1\n4,4.00\n", empty="")
    refinery.deliver(ORDERS, feb="id,amount\n1,9.00\n5,5.00\n", again="id,amount\n1,9.00\n5,5.00\n")
    refinery.deliver(ORDERS, mar="id,amount\n6,6.00\n")
    refinery.close()
    return root


@pytest.fixture
def made(delivered: Path, tmp_path: Path) -> Iterator[Refinery]:
    """A copy of that root, for one test to damage."""
    shutil.copytree(delivered, tmp_path / "root", symlinks=True)
    refinery = Refinery(Layout(tmp_path / "root"))
    yield refinery
    refinery.close()


def verified(run: Run, made: Refinery, *words: str) -> dict[str, Any]:
    found = run("verify", "--json", "--root", str(made.layout.root), *words)
    report: dict[str, Any] = json.loads(found.stdout)
    assert found.exit_code == (0 if report["proved"] else 1)
    return report


def only_problem(run: Run, made: Refinery) -> dict[str, str]:
    (problem,) = verified(run, made)["problems"]
    assert all(problem.values())
    return dict(problem)


def layer_files(made: Refinery, layer: Layer, key: TableKey = ORDERS) -> list[Path]:
    """The published files of a layer, the oldest batch first."""
    return sorted(made.layout.layer_link(layer, key).resolve().glob("*.parquet"))


def test_a_good_root_is_proved(made: Refinery, run: Run) -> None:
    report = verified(run, made)
    assert report["problems"] == []
    assert report["checked"]["layer_files"] == 13
    assert report["checked"]["dropped_files"] == 5
    assert report["checked"]["lineage_files"] == report["checked"]["transitions"]
    assert report["checked"]["quarantine_files"] == 2


def test_people_get_a_verdict_in_the_last_line(made: Refinery, run: Run) -> None:
    root = str(made.layout.root)
    assert "proved: " in run("verify", "--root", root).stdout.splitlines()[-1]
    layer_files(made, Layer.STAGED)[0].unlink()
    assert "not proved, 1 problem" in run("verify", "--root", root).stdout.splitlines()[-1]


def test_a_root_with_work_under_way_is_proved(made: Refinery, run: Run) -> None:
    made.claim(ORDERS, apr="id,amount\n7,7.00\n")
    assert verified(run, made)["problems"] == []
    made.climb(ORDERS, Layer.STAGED, Layer.BRONZE)
    assert verified(run, made)["problems"] == []
    made.climb(ORDERS, Layer.SILVER, Layer.GOLD)
    assert verified(run, made)["problems"] == []


def test_it_refuses_while_a_daemon_works_on_the_root(
    made: Refinery, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "lock_holder", lambda _path: 4711)
    found = run("verify", "--root", str(made.layout.root))
    assert (found.exit_code, found.stdout) == (1, "")
    assert "a daemon (pid 4711) works on this root" in found.stderr
    assert "medalliond backup DIR" in found.stderr


def test_no_daemon_may_start_meanwhile(made: Refinery, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[RootLock] = []
    monkeypatch.setattr(RootLock, "release", lambda lock: held.append(lock))  # noqa: PLW0108 - a method binds
    verified(run, made)
    assert len(held) == 1


def test_a_missing_layer_file_is_found_and_made_again(made: Refinery, run: Run) -> None:
    newest = [
        layer_files(made, layer)[-1] for layer in (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)
    ]
    before = [path.read_bytes() for path in newest]
    for path in newest:
        path.unlink()
    assert [problem["found"] for problem in verified(run, made)["problems"]] == ["is missing"] * 4
    report = verified(run, made, "--repair")
    assert report["proved"]
    assert [repair["repaired"] for repair in report["repairs"]] == [True] * 4
    assert [path.read_bytes() for path in newest] == before
    assert not list(made.layout.data.glob("**/*.tmp"))


def test_a_flipped_byte_is_found_and_the_file_made_again(made: Refinery, run: Run) -> None:
    path = layer_files(made, Layer.BRONZE)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "holds other bytes" in only_problem(run, made)["found"]
    assert verified(run, made, "--repair")["proved"]


def test_a_layer_file_is_not_made_again_under_another_contract(made: Refinery, run: Run) -> None:
    layer_files(made, Layer.BRONZE)[0].unlink()
    made.contract(ORDERS, CONTRACT + "# edited\n")
    (problem,) = verified(run, made, "--repair")["problems"]
    assert "of the contract, now it is" in problem["next_step"]
    assert "restore it from a backup" in problem["next_step"]


def test_a_file_that_a_later_batch_rewrote_is_not_made_again(made: Refinery, run: Run) -> None:
    layer_files(made, Layer.SILVER)[0].unlink()
    (repair,) = verified(run, made, "--repair")["repairs"]
    assert repair["hindered"] == "it was rewritten when a later batch came"


def test_nothing_is_made_again_from_a_file_that_is_damaged_itself(made: Refinery, run: Run) -> None:
    layer_files(made, Layer.BRONZE)[-1].unlink()
    layer_files(made, Layer.STAGED)[-1].unlink()
    next(made.layout.data.glob("archive/sales/orders/*/mar.csv")).write_text("id,amount\n6,6.01\n")
    hindered = [repair["hindered"] for repair in verified(run, made, "--repair")["repairs"]]
    assert "the dropped file sales/orders/mar.csv is not there any more, or not as it was" in hindered[0]
    assert "the file below it" in hindered[1]


def test_a_transform_that_changed_since_does_not_slip_in(made: Refinery, run: Run) -> None:
    module = made.layout.transforms / "verify_shop.py"
    module.write_text("import polars as pl\n\ndef tax(lf):\n    return lf.with_columns(tax=pl.lit(1))\n")
    key = TableKey("sales", "taxed")
    made.contract(key, 'gold: {transforms: ["verify_shop:tax"]}')
    made.deliver(key, taxes="id\n1\n")
    layer_files(made, Layer.GOLD, key)[0].unlink()
    module.write_text("import polars as pl\n\ndef tax(lf):\n    return lf.with_columns(tax=pl.lit(22))\n")
    (problem,) = verified(run, made, "--repair")["problems"]
    assert "a transform, medalliond or Polars has changed since" in problem["next_step"]


def test_a_lost_model_says_how_it_is_made_again(made: Refinery, run: Run) -> None:
    layer_files(made, Layer.GOLD, TOTALS)[0].unlink()
    assert "edit its contract" in only_problem(run, made)["next_step"]
    made.contract(TOTALS, MODEL + "\n# again\n")
    made.settle(TOTALS)
    assert verified(run, made)["proved"]


@pytest.mark.parametrize("damage", ["missing", "empty", "different"])
def test_a_lineage_file_is_written_again_from_the_ledger(made: Refinery, run: Run, damage: str) -> None:
    one, other = sorted(made.layout.lineage.iterdir())[:2]
    before = one.read_bytes()
    if damage == "missing":
        one.unlink()
    else:
        one.write_bytes(b"" if damage == "empty" else other.read_bytes())
    assert only_problem(run, made)["check"] == "lineage"
    assert verified(run, made, "--repair")["proved"]
    assert one.read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_table_metadata_is_derived_again_from_the_layer_files(made: Refinery, run: Run, damage: str) -> None:
    path = table_path(made.layout, ORDERS)
    before = read_table(made.layout, ORDERS)
    path.unlink() if damage == "missing" else path.write_bytes(b"")
    assert only_problem(run, made)["check"] == "table metadata"
    assert verified(run, made, "--repair")["proved"]
    after = read_table(made.layout, ORDERS)
    assert before is not None
    assert after is not None
    assert after.columns == before.columns


def test_a_link_that_shows_the_wrong_generation_is_put_right(made: Refinery, run: Run) -> None:
    link = made.layout.layer_link(Layer.SILVER, ORDERS)
    right = link.readlink()
    link.unlink()
    link.symlink_to(right.with_name("1"))
    assert only_problem(run, made)["check"] == "link"
    assert verified(run, made, "--repair")["proved"]
    assert link.readlink() == right


def test_a_copy_that_followed_the_links_is_told_so(made: Refinery, run: Run) -> None:
    link = made.layout.layer_link(Layer.STAGED, ORDERS)
    link.unlink()
    link.mkdir()
    problem = only_problem(run, made)
    assert "is no link" in problem["found"]
    assert "must keep symbolic links" in problem["next_step"]


def test_leftovers_are_found_and_removed(made: Refinery, run: Run) -> None:
    folder = made.layout.generation(Layer.STAGED, ORDERS, 1)
    leftovers = [
        folder / "x.parquet.0011.tmp",
        folder.with_name("9"),
        made.layout.lineage / "x.json.tmp",
        made.layout.quarantine(ORDERS) / "x.tmp",
        made.layout.data / ".repair.tmp",
    ]
    for path in leftovers:
        path.mkdir() if path.suffix == "" else path.touch()
    assert {problem["check"] for problem in verified(run, made)["problems"]} == {"leftover"}
    report = verified(run, made, "--repair")
    assert report["proved"]
    assert len(report["repairs"]) == len(leftovers)
    assert not any(path.exists() for path in leftovers)


def test_a_stranger_in_a_layer_is_named_and_left_alone(made: Refinery, run: Run) -> None:
    stranger = made.layout.generation(Layer.STAGED, ORDERS, 1) / "mine.parquet"
    pl.DataFrame({"id": ["1"]}).write_parquet(stranger)
    assert only_problem(run, made)["check"] == "orphan"
    verified(run, made, "--repair")
    assert stranger.exists()


def test_a_lost_dropped_file_is_named(made: Refinery, run: Run) -> None:
    next(made.layout.data.glob("archive/**/jan.csv")).unlink()
    problem = only_problem(run, made)
    assert (problem["check"], problem["found"]) == ("dropped file", "is missing")
    assert problem["file"].endswith("/jan.csv")


def test_a_lost_claimed_file_says_that_its_records_are_not_in_gold_yet(made: Refinery, run: Run) -> None:
    batch = made.claim(ORDERS, apr="id,amount\n7,7.00\n")
    (made.layout.claimed(batch) / "0-apr.csv").unlink()
    assert "not in gold yet" in only_problem(run, made)["next_step"]


def test_a_file_among_the_claimed_that_no_batch_knows_is_named(made: Refinery, run: Run) -> None:
    path = made.layout.claimed("nobody") / "0-lost.csv"
    path.parent.mkdir(parents=True)
    path.touch()
    assert "nothing will read it" in only_problem(run, made)["found"]


def test_a_file_kept_in_landing_is_its_owners_to_change(made: Refinery, run: Run) -> None:
    key = TableKey("sales", "kept")
    made.contract(key, "landing: {archive: keep}")
    made.deliver(key, one="id\n1\n")
    (made.layout.landing / "sales/kept/one.csv").write_text("id\n2\n")
    assert verified(run, made)["proved"]


def test_lost_quarantine_is_named(made: Refinery, run: Run) -> None:
    next(made.layout.quarantine(ORDERS).glob("*-bronze.parquet")).unlink()
    assert only_problem(run, made)["check"] == "quarantine"


def test_a_set_aside_file_without_its_reason_is_named(made: Refinery, run: Run) -> None:
    next(made.layout.quarantine(ORDERS).glob("*.reason.json")).unlink()
    assert only_problem(run, made)["file"].endswith(".reason.json")


def test_a_damaged_ledger_is_the_only_thing_said(made: Refinery, run: Run) -> None:
    made.close()
    content = bytearray(made.layout.ledger.read_bytes())
    content[4096:8192] = bytes(4096)
    made.layout.ledger.write_bytes(content)
    found = run("verify", "--root", str(made.layout.root))
    assert found.exit_code == 1
    assert "damaged" in found.stdout + found.stderr


def test_counts_of_files_that_are_not_what_the_files_say_are_told(made: Refinery, run: Run) -> None:
    connection = sqlite3.connect(made.layout.ledger)
    connection.execute("UPDATE file_counts SET files = files + 1 WHERE state = 'ingested'")
    connection.commit()
    connection.close()
    problem = only_problem(run, made)
    assert (problem["check"], problem["found"]) == (
        "totals",
        "its counts of dropped files by state are not what its files say",
    )


def test_a_root_without_a_ledger_has_nothing_to_prove(tmp_path: Path, run: Run) -> None:
    (tmp_path / "landing").mkdir()
    found = run("verify", "--root", str(tmp_path))
    assert found.exit_code == 1
    assert "there is no ledger here yet" in found.stderr


def history(made: Refinery, *, without: tuple[Layer, ...] = (), **changes: Any) -> History:
    """The history of the newest batch, changed; no file is listed in the layers `without`."""
    batch = made.ledger.views.batches_of_table(ORDERS, 1)[0]
    logs = [
        log.model_copy(update=changes) if str(log.target_layer) == "bronze" else log
        for log in made.ledger.views.transitions_of_batch(batch)
    ]
    from_ledger = {
        listed.layer: listed
        for listed in LedgerInventory(made.ledger._store).layer_files()
        if listed.file.batch_id == batch and listed.layer not in without
    }
    return History(batch, "done", logs, from_ledger, frozenset())


def test_a_whole_history_has_no_contradiction(made: Refinery) -> None:
    assert list(contradictions(history(made))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"row_count_in": 7}, "7 rows went into bronze"),
        ({"row_count_out": 7}, "its record and its file differ"),
        ({"supersedes": "nobody"}, "supersedes nobody, which is not there"),
        ({"status": "failed"}, "no record tells how its file in bronze was made"),
    ],
    ids=["in", "out", "supersedes", "failed"],
)
def test_a_hop_that_does_not_fit_the_one_below_is_told(
    made: Refinery, changes: dict[str, Any], said: str
) -> None:
    assert any(said in found for found in contradictions(history(made, **changes)))


def test_rows_that_nothing_will_carry_on_are_told(made: Refinery) -> None:
    whole = history(made, without=(Layer.SILVER, Layer.GOLD))
    lower = [log for log in whole.logs if log.target_layer in {Layer.STAGED, Layer.BRONZE}]
    stuck = History(whole.batch_id, "open", lower, whole.files, frozenset())
    assert list(contradictions(stuck)) == ["1 rows stand in bronze, and nothing is planned to carry them on"]
    waiting = History(whole.batch_id, "open", lower, whole.files, frozenset({Layer.SILVER}))
    assert list(contradictions(waiting)) == []


def test_a_batch_that_was_taken_back_has_no_files(made: Refinery) -> None:
    whole = history(made)
    split = History(whole.batch_id, "split", whole.logs, whole.files, frozenset())
    assert any("it is split, yet has a file in gold" in found for found in contradictions(split))
    assert isinstance(whole.logs[0], LayerTransitionLog)
