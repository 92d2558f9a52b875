"""`medalliond quarantine`: lists from the ledger, records from their files."""

import json
from pathlib import Path

import polars as pl
from cli_world import HOPS, NOW, ORDERS, Root, Run, batch_id, records

from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer, LayerTransitionLog


def set_aside(root: Root, name: str, reason: str) -> None:
    """Give up on a file that nothing can read."""
    root.claim(ORDERS, name)
    due = root.due(ORDERS, Layer.STAGED)
    log = LayerTransitionLog.model_validate(
        {
            "transition_id": due.items[0].transition_id,
            "batch_id": due.items[0].batch_id,
            "domain": ORDERS.domain,
            "table": ORDERS.table,
            "source_layer": "landing",
            "target_layer": "staged",
            "started_at": NOW,
            "completed_at": NOW,
            "status": "failed",
            "errors": [reason],
        }
    )
    root.ledger.outcomes.set_aside(due, log, "unreadable", reason)


def test_the_list_counts_records_by_rule_and_names_files(orders: Root, run: Run) -> None:
    set_aside(orders, "sales/orders/broken.csv", "no reader knows it")
    listed = json.loads(run("quarantine", "list", "--json", orders).stdout)
    assert [(entry["what"], entry["file"], entry["rule"], entry["rows"]) for entry in listed] == [
        ("records", "sales/orders/jan.csv", "cast", 1),
        ("file", "sales/orders/broken.csv", "unreadable", None),
    ]
    assert listed[1]["reason"] == "no reader knows it"
    assert "sales\torders\tfile\t" in run("quarantine", "list", orders).stdout


def test_the_list_can_be_of_one_table(orders: Root, run: Run) -> None:
    assert len(json.loads(run("quarantine", "list", "--table", "orders", "--json", orders).stdout)) == 1
    assert run("quarantine", "list", "--table", "other", orders).exit_code == 1


def test_an_empty_quarantine_is_an_empty_list(root: Root, run: Run) -> None:
    assert json.loads(run("quarantine", "list", "--json", root).stdout) == []
    assert run("quarantine", "list", root).stdout == ""


def test_a_record_is_shown_with_its_place_its_reason_and_itself(orders: Root, run: Run) -> None:
    text = run("quarantine", "show", "sales.orders", orders).stdout
    assert "sales/orders/jan.csv, record 3" in text
    assert "cast: amount: 'twelve' is no number" in text
    assert '{"order_id": "3", "amount": "twelve"}' in text


def test_records_are_found_by_batch_and_by_file(orders: Root, run: Run) -> None:
    for name in (batch_id(1), "jan.csv"):
        found = json.loads(run("quarantine", "show", name, "--json", orders).stdout)
        assert [record["_source_row"] for record in found["records"]] == [3]


def test_only_the_records_of_the_named_file_are_shown(root: Root, run: Run) -> None:
    root.claim(ORDERS, "a.csv", "b.csv")
    rows = pl.DataFrame({"x": [1]})
    both = pl.concat([records("a.csv", 1, 2), records("b.csv", 7)], how="vertical_relaxed")
    for target in HOPS:
        root.climb(ORDERS, target, rows, both if target is Layer.BRONZE else None)
    found = json.loads(run("quarantine", "show", "b.csv", "--json", root).stdout)
    assert [record["_source_row"] for record in found["records"]] == [7]


def test_more_records_than_the_limit_are_counted(root: Root, run: Run) -> None:
    root.claim(ORDERS, "a.csv")
    root.climb(ORDERS, Layer.STAGED, pl.DataFrame({"x": [1]}), records("a.csv", *range(1, 31)))
    text = run("quarantine", "show", "sales.orders", "--limit", "5", root).stdout
    assert text.count("did not reach") == 5
    assert "and 25 more records" in text


def test_a_whole_file_is_shown_with_its_reason(orders: Root, run: Run) -> None:
    set_aside(orders, "sales/orders/broken.csv", "no reader knows it")
    text = run("quarantine", "show", "broken.csv", orders).stdout
    assert "sales/orders/broken.csv  the whole file was set aside: unreadable" in text
    assert "no reader knows it" in text


def test_records_that_somebody_moved_away_are_missed_with_their_path(orders: Root, run: Run) -> None:
    (orders.layout.quarantine(ORDERS) / f"{batch_id(1)}-bronze.parquet").unlink()
    found = run("quarantine", "show", "sales.orders", orders)
    assert found.exit_code == 1
    assert f"{batch_id(1)}-bronze.parquet" in found.stderr


def test_discarded_records_are_neither_listed_nor_shown_nor_exported(
    root: Root, run: Run, tmp_path: Path
) -> None:
    batch = root.claim(ORDERS, "a.csv")
    root.climb(ORDERS, Layer.STAGED, pl.DataFrame({"x": [1]}), records("a.csv", 1, 2))
    root.ledger.quarantine.decide(ORDERS, [RecordId(batch, "a.csv", 1, "cast")], "discarded", "", NOW)
    assert json.loads(run("quarantine", "list", "--json", root).stdout)[0]["rows"] == 1
    shown = json.loads(run("quarantine", "show", "a.csv", "--json", root).stdout)
    assert [record["_source_row"] for record in shown["records"]] == [2]
    assert "more record" not in run("quarantine", "show", "a.csv", root).stdout
    assert "1 record\n" in run("quarantine", "export", str(tmp_path / "out.csv"), root).stdout


def test_a_record_is_named_with_its_file(orders: Root, run: Run) -> None:
    assert run("quarantine", "discard", "--record", "3", orders).exit_code == 2
    for act in ("discard", "release"):
        found = run("quarantine", act, "--file", "jan.csv", "--record", "99", orders)
        assert found.exit_code == 1
        assert "nothing that was set aside is meant" in found.stderr


def test_an_export_that_cannot_be_written_is_an_error_and_leaves_nothing(
    orders: Root, run: Run, tmp_path: Path
) -> None:
    found = run("quarantine", "export", str(tmp_path / "no" / "out.csv"), orders)
    assert found.exit_code == 1
    assert "No such file or directory" in found.stderr
    assert not (tmp_path / "no").exists()
