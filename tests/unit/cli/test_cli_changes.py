"""`medalliond undo`, `redo` and `rebuild`: what is meant, and what is said where nobody carries it out."""

import pytest
from cli_world import ORDERS, Root, Run

from daemon.catalog.requests import Answer
from daemon.lake.layout import Layout
from daemon.lake.requests import answer, waiting


def nobody(_: Layout) -> None:
    """Works on nothing."""


def test_a_request_that_was_broken_off_is_not_waited_for(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.cli.changes._work_alone", nobody)
    found = run("undo", "jan.csv", orders)
    assert found.exit_code == 1
    assert found.stdout.startswith(
        "undo of sales.orders is asked for, but was broken off: `medalliond run` or"
    )
    assert len(waiting(orders.layout)) == 1


def test_a_change_that_was_broken_off_is_not_waited_for(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(layout: Layout) -> None:
        (asked,) = waiting(layout)
        answer(
            layout, Answer(request_id=asked.request_id, accepted=True, message="under way", rebuild_id="r1")
        )

    monkeypatch.setattr("daemon.cli.changes._work_alone", begin)
    found = run("rebuild", "orders", orders)
    assert found.exit_code == 1
    assert found.stdout.startswith("rebuild of sales.orders is under way, but was broken off")


def test_a_delivery_may_be_named_by_where_it_rests(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.cli.changes._work_alone", nobody)
    archived = "data/archive/sales/orders/2026-01-02/jan.csv"
    (file,) = orders.ledger.rest.restless(ORDERS, 10)
    orders.ledger.rest.plan([(file.file_id, archived)])
    orders.ledger.rest.at_rest([file.file_id])
    assert "is asked for" in run("undo", archived, orders).stdout


def test_a_file_of_another_folder_is_not_meant(orders: Root, run: Run) -> None:
    found = run("undo", "elsewhere/jan.csv", orders)
    assert found.exit_code == 1
    assert "no dropped file 'elsewhere/jan.csv'" in found.stderr


def test_a_model_is_not_rebuilt_by_hand(orders: Root, run: Run) -> None:
    (orders.layout.contracts / "sales").mkdir()
    (orders.layout.contracts / "sales/orders.yaml").write_text(
        'model: {sql: "SELECT 1 AS x FROM gold.sales.lines"}'
    )
    found = run("rebuild", "orders", orders)
    assert found.exit_code == 1
    assert "sales.orders is a model" in found.stderr


def test_nothing_that_was_learned_makes_no_contract(orders: Root, run: Run) -> None:
    found = run("contract", "adopt", "orders", orders)
    assert found.exit_code == 1
    assert "nothing was learned of sales.orders yet" in found.stderr
    assert not (orders.layout.contracts / "sales/orders.yaml").exists()
