"""`medalliond lineage`: found by batch, by file, by table; hops with their counts."""

import json

import polars as pl
import pytest
from cli_world import ORDERS, Root, Run, batch_id

BATCH = batch_id(1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (BATCH, "batch"),
        (f"data/gold/sales/orders/{BATCH}.parquet", "batch"),
        (f"data/quarantine/sales/orders/{BATCH}-bronze.parquet", "batch"),
        ("sales/orders/jan.csv", "file"),
        ("jan.csv", "file"),
        ("sales.orders", "table"),
        ("orders", "table"),
        ("gold.sales.orders", "table"),
    ],
)
def test_a_batch_is_found_under_every_name_it_has(orders: Root, run: Run, name: str, kind: str) -> None:
    found = json.loads(run("lineage", name, "--json", orders).stdout)
    assert found["kind"] == kind
    assert [batch["batch_id"] for batch in found["batches"]] == [BATCH]


def test_a_file_is_found_by_its_path_in_landing(orders: Root, run: Run) -> None:
    path = orders.layout.landing / "sales" / "orders" / "jan.csv"
    assert json.loads(run("lineage", str(path), "--json", orders).stdout)["kind"] == "file"


def test_an_archived_file_is_found_by_where_it_rests(orders: Root, run: Run) -> None:
    archived = "data/archive/sales/orders/2026-01-02/jan~2.csv"
    (file,) = orders.ledger.rest.restless(ORDERS, 10)
    orders.ledger.rest.plan([(file.file_id, archived)])
    orders.ledger.rest.at_rest([file.file_id])
    for name in (archived, str(orders.path / archived)):
        found = json.loads(run("lineage", name, "--json", orders).stdout)
        assert found["batches"][0]["files"][0]["path"] == archived


def test_every_hop_shows_where_its_rows_went(orders: Root, run: Run) -> None:
    text = run("lineage", BATCH, orders).stdout
    assert "landing -> staged  3 in, 3 out\n" in text
    assert "staged -> bronze  3 in, 2 out, 1 quarantined  partial\n" in text
    assert f"data/gold/sales/orders/{BATCH}.parquet" in text
    assert "file sales/orders/jan.csv  3 rows" in text


def test_a_table_shows_its_newest_batches(root: Root, run: Run) -> None:
    batches = [
        root.fill(ORDERS, [f"{month}.csv"], pl.DataFrame({"x": [1]})) for month in ("jan", "feb", "mar")
    ]
    found = json.loads(run("lineage", "sales.orders", "--limit", "2", "--json", root).stdout)
    assert [batch["batch_id"] for batch in found["batches"]] == batches[:0:-1]


def test_a_file_name_with_control_characters_stays_on_its_line(root: Root, run: Run) -> None:
    root.fill(ORDERS, ["a\nb\x1b[31m.csv"], pl.DataFrame({"x": [1]}))
    text = run("lineage", "sales.orders", root).stdout
    assert "a\\nb\\x1b[31m.csv" in text
    assert "\x1b" not in text


def test_what_nobody_knows_is_refused(orders: Root, run: Run) -> None:
    found = run("lineage", "nothing.like.it", orders)
    assert found.exit_code == 1
    assert "no batch, no file and no table" in found.stderr


def test_what_is_no_longer_there_is_not_said_to_lie_anywhere(orders: Root, run: Run) -> None:
    (file,) = orders.ledger.rest.restless(ORDERS, 10)
    orders.ledger.rest.at_rest([file.file_id])  # deleted, as a contract may say
    assert "ingested  removed\n" in run("lineage", "jan.csv", orders).stdout
    assert (
        json.loads(run("lineage", "jan.csv", "--json", orders).stdout)["batches"][0]["files"][0]["path"]
        is None
    )
