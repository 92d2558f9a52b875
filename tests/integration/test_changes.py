"""What people change afterwards, by the commands as typed: with a daemon at work and without one."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from daemon_process import drain, medalliond, running, wait_for
from workbooks import Cell, workbook

CONTRACT = """
bronze:
  cast: {id: int64, amount: int64}
silver:
  checks: [{name: small, sql: amount < 100}]
"""


def drop(root: Path, name: str, text: str) -> None:
    folder = root / "landing/sales/orders"
    folder.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    (root / name).rename(folder / name)


def contract(root: Path, text: str) -> None:
    path = root / "catalog/contracts/sales/orders.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def gold(root: Path) -> list[Any]:
    paths = sorted((root / "data/gold/sales/orders").glob("*.parquet"))
    return sorted(value for path in paths for value in pl.read_parquet(path).get_column("id"))


@pytest.mark.timeout(120)
def test_a_delivery_is_undone_and_redone_while_the_daemon_works(tmp_path: Path) -> None:
    contract(tmp_path, CONTRACT)
    with running(tmp_path) as daemon:
        drop(tmp_path, "a.csv", "id,amount\n1,10\n")
        drop(tmp_path, "b.csv", "id,amount\n2,20\n")
        wait_for(lambda: gold(tmp_path) == [1, 2], 20, daemon.log_path.read_text)
        daemon.wait_for("source_archived")
        assert "undo of sales.orders: done." in medalliond(
            tmp_path, "undo", "b.csv", "--why", "a wrong export"
        )
        assert gold(tmp_path) == [1]
        assert "it is undone, not ingested" in medalliond(tmp_path, "undo", "b.csv", status=1)
        medalliond(tmp_path, "redo", "b.csv")
        assert gold(tmp_path) == [1, 2]
    assert "proved" in medalliond(tmp_path, "verify")
    kinds = [hop["kind"] for hop in _transitions(tmp_path, "b.csv") if hop["target_layer"] == "staged"]
    assert kinds == ["promotion", "retraction", "restoration"]


def _transitions(root: Path, name: str) -> list[dict[str, Any]]:
    found = json.loads(medalliond(root, "lineage", name, "--json"))
    stories = found if isinstance(found, list) else found["batches"]
    hops: list[dict[str, Any]] = stories[0]["transitions"]
    return hops


@pytest.mark.timeout(120)
def test_quarantine_is_worked_off_without_a_daemon(tmp_path: Path) -> None:
    contract(tmp_path, CONTRACT)
    drop(tmp_path, "a.csv", "id,amount\n1,10\n2,200\n3,300\n4,x\n5,50,9\n")
    assert drain(tmp_path) == 0
    assert gold(tmp_path) == [1]
    assert "replay what?" in medalliond(tmp_path, "quarantine", "replay", status=1)
    assert "only a check can be passed over" in medalliond(
        tmp_path, "quarantine", "release", "--rule", "cast:amount", status=1
    )
    medalliond(tmp_path, "quarantine", "release", "--file", "a.csv", "--record", "2", "--rule", "check:small")
    assert gold(tmp_path) == [1, 2]
    medalliond(tmp_path, "quarantine", "discard", "--rule", "check:small", "--why", "a test order")
    listed = json.loads(medalliond(tmp_path, "quarantine", "list", "--json"))
    assert sorted(entry["rule"] for entry in listed) == ["cast:amount", "too_many_fields"]
    medalliond(tmp_path, "quarantine", "export", str(tmp_path / "bad.csv"), "--rule", "cast:amount")
    assert pl.read_csv(tmp_path / "bad.csv").get_column("reason").to_list() == ["amount: 'x' is not an int64"]
    contract(
        tmp_path,
        CONTRACT.replace("amount: int64", "amount: {type: int64}, other: text").replace("< 100", "< 1000"),
    )
    medalliond(tmp_path, "quarantine", "replay", "--table", "sales.orders")
    assert gold(tmp_path) == [1, 2, 3]
    assert "proved" in medalliond(tmp_path, "verify")


@pytest.mark.timeout(120)
def test_a_contract_is_tried_saved_and_applied_to_old_deliveries(tmp_path: Path) -> None:
    drop(tmp_path, "a.csv", "id,amount\n1,10\n2,200\n")
    assert drain(tmp_path) == 0
    (tmp_path / "new.yaml").write_text(CONTRACT)
    found = json.loads(
        medalliond(
            tmp_path, "contract", "diff", str(tmp_path / "new.yaml"), "--table", "sales.orders", "--json"
        )
    )
    assert (found["rows_in_gold"], found["newly_quarantined"]) == ({"now": 2, "then": 1}, {"check:small": 1})
    assert gold(tmp_path) == [1, 2], "a trial changes nothing"
    shown = json.loads(medalliond(tmp_path, "contract", "show", "sales.orders", "--json"))
    assert shown["learned"] == {"id": "int64", "amount": "int64"}
    assert shown["version"].startswith("learned-")
    assert "#   amount: int64" in medalliond(tmp_path, "contract", "show", "sales.orders")
    missing = medalliond(tmp_path, "contract", "diff", "nowhere.yaml", status=1)
    assert "nowhere.yaml: there is no such file" in missing
    medalliond(tmp_path, "contract", "adopt", "sales.orders")
    assert "cast: {}" not in (tmp_path / "catalog/contracts/sales/orders.yaml").read_text()
    assert "has a contract already" in medalliond(tmp_path, "contract", "adopt", "sales.orders", status=1)
    contract(tmp_path, CONTRACT)
    offer = "1 batch was made under another one; `medalliond rebuild sales.orders` applies the present one"
    assert offer in medalliond(tmp_path, "status")
    medalliond(tmp_path, "rebuild", "sales.orders")
    assert gold(tmp_path) == [1]
    assert offer not in medalliond(tmp_path, "status")
    assert "proved" in medalliond(tmp_path, "verify")


@pytest.mark.timeout(120)
def test_a_file_cut_short_waits_for_its_other_half(tmp_path: Path) -> None:
    whole = json.dumps([{"id": number, "name": f"n{number}"} for number in range(50)])
    with running(tmp_path, incomplete_wait="60") as daemon:
        folder = tmp_path / "landing/sales/orders"
        folder.mkdir(parents=True)
        (folder / "a.json").write_text(whole[:700])
        daemon.wait_for("file_incomplete")
        wait_for((folder / "a.json").exists, 10, daemon.log_path.read_text)
        assert (folder / "a.json").read_text() == whole[:700]
        (folder / "a.json").write_text(whole)
        wait_for(lambda: gold(tmp_path) == list(range(50)), 20, daemon.log_path.read_text)


@pytest.mark.timeout(120)
def test_a_drain_that_leaves_a_file_cut_short_says_so(tmp_path: Path) -> None:
    drop(tmp_path, "half.csv", "id,amount\n1,10\n2")
    assert drain(tmp_path) == 3
    assert "1 file is waiting" in medalliond(tmp_path, "status")


def test_a_file_that_stays_cut_short_is_set_aside_with_that_reason(tmp_path: Path) -> None:
    drop(tmp_path, "a.json", '[{"id": 1}, {"id": 2}, {"id"')
    assert drain(tmp_path, incomplete_wait="0") == 0
    (entry,) = json.loads(medalliond(tmp_path, "quarantine", "list", "--json"))
    assert entry["rule"] == "incomplete"


@pytest.mark.timeout(120)
def test_every_sheet_with_a_table_becomes_a_table_and_the_workbook_is_archived_once(tmp_path: Path) -> None:
    folder = tmp_path / "landing/sales"
    folder.mkdir(parents=True)
    sheets: dict[str, list[list[Cell]]] = {
        "Notes": [["about this book"]],
        "Orders": [["A report"], ["id", "amount"], ["1", "10"], ["2", "20"]],
        "Price list": [["item", "price"], ["x", "1.5"]],
    }
    (tmp_path / "book.xlsx").write_bytes(workbook(sheets))
    (tmp_path / "book.xlsx").rename(folder / "book.xlsx")
    assert drain(tmp_path) == 0
    tables = {path.name for path in (tmp_path / "data/gold/main").iterdir()}
    assert tables == {"sales", "sales__price_list"}
    frame = pl.read_parquet(tmp_path / "data/gold/main/sales__price_list/*.parquet")
    assert frame.select("item", "price", "_source_file").rows() == [("x", 1.5, "sales/book.xlsx!Price list")]
    archived = [path.name for path in (tmp_path / "data/archive").rglob("*.xlsx")]
    assert archived == ["book.xlsx"]
    medalliond(tmp_path, "rebuild", "main.sales__price_list", "--from", "landing")
    told = medalliond(tmp_path, "undo", "book.xlsx")
    assert "undo of main.sales: done." in told
    assert "undo of main.sales__price_list: done." in told
    assert not list((tmp_path / "data/gold/main").glob("*/*.parquet"))
    medalliond(tmp_path, "redo", "sales/book.xlsx")
    assert "proved" in medalliond(tmp_path, "verify")
    shutil.copy(next((tmp_path / "data/archive").rglob("*.xlsx")), folder / "again.xlsx")
    assert drain(tmp_path) == 0
    assert pl.read_parquet(tmp_path / "data/gold/main/sales__price_list/*.parquet").height == 1
