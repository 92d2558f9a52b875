"""What is published can be changed: taken back, returned, made anew; readers see all of it or nothing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ledgers import transitions_of_table
from refinery import Refinery

from daemon.audit.copying import RootCopy
from daemon.audit.proof import prove
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild, RebuildKind
from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer
from daemon.cli.lake_sql import ask
from daemon.lake.layout import Layout
from daemon.scheduling.upkeep import keep_up

ORDERS = TableKey("sales", "orders")
CASTS = "bronze:\n  cast: {id: int64, amount: int64}\n"
TWICE = """
bronze:
  cast: {id: int64, amount: int64}
gold:
  sql: SELECT *, amount * 2 AS twice FROM silver
"""
LAST = CASTS + "silver:\n  dedup: {keys: [id], keep: last}\n"


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path))
    yield world
    world.close()


def gold(world: Refinery, *columns: str) -> list[tuple[object, ...]]:
    paths = sorted(world.layout.layer_link(Layer.GOLD, ORDERS).glob("*.parquet"))
    if not paths:
        return []
    frame = pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed")
    return sorted(frame.select(columns or ("id", "amount")).rows())


def quarantined(world: Refinery) -> list[tuple[str, int]]:
    return sorted((found.rule, found.rows) for found in world.ledger.views.quarantined(ORDERS))


def file_ids(world: Refinery, batch: str) -> list[int]:
    return [file.file_id for file in world.ledger.rebuilds.delivered([batch])]


def undo(world: Refinery, batch: str, *ids: int) -> None:
    out = tuple(ids or file_ids(world, batch))
    world.rebuild(ORDERS, "undo", Layer.LANDING, batches=frozenset([batch]), files_out=out)


def redo(world: Refinery, batch: str, *ids: int) -> None:
    back = tuple(ids or file_ids(world, batch))
    world.rebuild(ORDERS, "redo", Layer.LANDING, batches=frozenset([batch]), files_back=back)


def is_whole(world: Refinery) -> bool:
    """Whether `verify` finds nothing wrong."""
    with LedgerInventory.open(world.layout.ledger) as inventory:
        problems = prove(world.layout, inventory, lambda _: None).problems
    assert not problems
    return True


def _everything() -> Rebuild:
    return Rebuild(new_id(), ORDERS, "rebuild", Layer.STAGED)


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_delivery_that_is_undone_leaves_every_layer_and_comes_back_as_it_was(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    first = refinery.deliver(ORDERS, a="id,amount\n1,10\n2,x\n")
    refinery.deliver(ORDERS, b="id,amount\n3,30\n")
    before = gold(refinery, "id", "amount", "_source_file", "_source_row", "_batch_id")
    undo(refinery, first)
    assert gold(refinery) == [(3, 30)]
    assert quarantined(refinery) == []
    for layer in (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD):
        names = [path.name for path in refinery.layout.layer_link(layer, ORDERS).glob("*.parquet")]
        assert not [name for name in names if name.startswith(first)]
    assert is_whole(refinery)
    redo(refinery, first)
    assert gold(refinery, "id", "amount", "_source_file", "_source_row", "_batch_id") == before
    assert quarantined(refinery) == [("cast:amount", 1)]
    assert is_whole(refinery)


def test_one_file_of_a_batch_is_undone_and_the_others_stay(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    batch = refinery.deliver(
        ORDERS, a="id,amount\n1,10\n", b="id,amount\n2,20\n2,20,20\n", c="id,amount\n3,30\n"
    )
    ids = file_ids(refinery, batch)
    undo(refinery, batch, ids[1])
    assert gold(refinery) == [(1, 10), (3, 30)]
    assert quarantined(refinery) == []
    assert is_whole(refinery)
    undo(refinery, batch, ids[0], ids[2])
    assert gold(refinery) == []
    assert is_whole(refinery)
    redo(refinery, batch, *ids)
    assert gold(refinery) == [(1, 10), (2, 20), (3, 30)]
    assert [rows for _, rows in quarantined(refinery)] == [1]
    assert is_whole(refinery)


def test_rows_that_an_undone_delivery_had_superseded_come_back(refinery: Refinery) -> None:
    refinery.contract(ORDERS, LAST)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n2,20\n")
    second = refinery.deliver(ORDERS, b="id,amount\n2,21\n3,30\n")
    assert gold(refinery) == [(1, 10), (2, 21), (3, 30)]
    undo(refinery, second)
    assert gold(refinery) == [(1, 10), (2, 20)]
    redo(refinery, second)
    assert gold(refinery) == [(1, 10), (2, 21), (3, 30)]
    assert is_whole(refinery)


def test_content_that_was_undone_may_be_dropped_again(refinery: Refinery) -> None:
    first = refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    undo(refinery, first)
    refinery.deliver(ORDERS, b="id,amount\n1,10\n")
    assert len(gold(refinery)) == 1
    assert refinery.ledger.rebuilds.content_is_there(ORDERS, file_ids(refinery, first)[0]) is not None


def test_a_rebuild_applies_the_present_contract_to_old_batches(refinery: Refinery) -> None:
    refinery.deliver(ORDERS, a="id,amount\n1,10\n2,x\n")
    refinery.contract(ORDERS, TWICE)
    refinery.deliver(ORDERS, b="id,amount\n3,30\n")
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED)
    assert gold(refinery, "id", "amount", "twice") == [(1, 10, 20), (3, 30, 60)]
    assert quarantined(refinery) == [("cast:amount", 1)]
    assert is_whole(refinery)
    refinery.contract(ORDERS, CASTS.replace("amount: int64", "amount: text"))
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED)
    assert gold(refinery) == [(1, "10"), (2, "x"), (3, "30")]
    assert quarantined(refinery) == []
    assert is_whole(refinery)


def test_a_rebuild_from_bronze_leaves_bronze_alone(refinery: Refinery) -> None:
    refinery.contract(ORDERS, LAST)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.deliver(ORDERS, b="id,amount\n1,11\n")
    generation = refinery.ledger.promotions.generation(ORDERS, Layer.BRONZE)
    refinery.contract(ORDERS, LAST.replace("last", "first"))
    refinery.rebuild(ORDERS, "rebuild", Layer.BRONZE)
    assert gold(refinery) == [(1, 10)]
    assert refinery.ledger.promotions.generation(ORDERS, Layer.BRONZE) == generation
    assert is_whole(refinery)


def test_what_arrives_during_a_rebuild_waits_and_then_goes_on(refinery: Refinery) -> None:
    refinery.contract(ORDERS, LAST)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.ledger.rebuilds.request(_everything(), _now())
    assert refinery.rebuilder.step(ORDERS)
    refinery.claim(ORDERS, b="id,amount\n1,11\n")
    refinery.climb(ORDERS)
    assert gold(refinery) == [(1, 10)]
    refinery.climb(ORDERS.shadow)
    assert gold(refinery) == [(1, 10)], "readers see nothing of it before it is whole"
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 11)]
    assert is_whole(refinery)


def test_a_batch_on_its_way_up_is_carried_by_the_rebuild(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    batch = refinery.claim(ORDERS, a="id,amount\n1,10\n")
    refinery.climb(ORDERS, Layer.STAGED, Layer.BRONZE)
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED)
    assert gold(refinery) == [(1, 10)]
    row = refinery.ledger.views.batch(batch)
    assert row is not None
    assert row["state"] == "done"
    assert is_whole(refinery)


def test_a_rebuild_whose_data_fails_leaves_the_table_as_it_was(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.contract(
        ORDERS, CASTS + "silver:\n  checks: [{name: big, sql: amount > 100, on_failure: fail}]\n"
    )
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED)
    assert gold(refinery) == [(1, 10)]
    assert refinery.ledger.rebuilds.current(ORDERS) is None
    assert not refinery.ledger.promotions.unfinished()
    keep_up(refinery.ledger, refinery.layout)
    assert is_whole(refinery)


def test_a_contract_edited_during_a_rebuild_makes_it_begin_anew(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.deliver(ORDERS, b="id,amount\n2,20\n")
    refinery.ledger.rebuilds.request(_everything(), _now())
    assert refinery.rebuilder.step(ORDERS)
    refinery.climb(ORDERS.shadow, Layer.BRONZE)
    refinery.contract(ORDERS, CASTS.replace("amount: int64", "amount: float64"))
    refinery.climb(ORDERS.shadow)
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 10.0), (2, 20.0)]
    assert is_whole(refinery)


def test_sources_are_read_again_with_other_reader_options(refinery: Refinery) -> None:
    batch = refinery.deliver(ORDERS, a="id,amount\n1,10\n#2,20,9\n3,30\n")
    assert len(quarantined(refinery)) == 1
    refinery.contract(ORDERS, "reader:\n  comment: '#'\n")
    refinery.rebuild(ORDERS, "replay", Layer.LANDING, batches=frozenset([batch]))
    assert gold(refinery) == [("1", "10"), ("3", "30")]
    assert quarantined(refinery) == []
    assert is_whole(refinery)


def test_a_file_of_a_known_name_replaces_the_earlier_one_where_the_contract_says_so(
    refinery: Refinery,
) -> None:
    refinery.contract(ORDERS, "landing: {revisions: replace}\n" + CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n2,20\n", b="id,amount\n3,30\n")
    assert gold(refinery) == [(1, 10), (2, 20), (3, 30)]
    refinery.deliver(ORDERS, a="id,amount\n1,11\n")
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 11), (3, 30)]
    assert is_whole(refinery)
    refinery.deliver(ORDERS, a="id,amount\n1,12\n")
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 12), (3, 30)]
    assert is_whole(refinery)


def test_readers_see_either_the_earlier_file_or_the_one_that_replaces_it(refinery: Refinery) -> None:
    refinery.contract(ORDERS, "landing: {revisions: replace}\n" + CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.claim(ORDERS, a="id,amount\n1,11\n")
    refinery.climb(ORDERS)
    assert gold(refinery) == [(1, 10)]
    while refinery.ledger.rebuilds.current(ORDERS):
        assert gold(refinery) == [(1, 10)]
        refinery.climb(ORDERS.shadow)
        refinery.rebuilder.step(ORDERS)
    assert gold(refinery) == [(1, 11)]


def test_a_file_of_a_known_name_is_set_aside_where_revisions_are_rejected(refinery: Refinery) -> None:
    refinery.contract(ORDERS, "landing: {revisions: reject}\n" + CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.deliver(ORDERS, a="id,amount\n1,11\n", b="id,amount\n2,20\n")
    assert gold(refinery) == [(1, 10), (2, 20)]
    (aside,) = refinery.ledger.views.files.set_aside(ORDERS)
    assert (aside.name, aside.kind) == ("sales/orders/a.csv", "revision")
    assert is_whole(refinery)


def test_a_record_released_from_a_check_comes_to_gold_once(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS + "silver:\n  checks: [{name: small, sql: amount < 100}]\n")
    batch = refinery.deliver(ORDERS, a="id,amount\n1,10\n2,200\n3,300\n")
    record = RecordId(batch, "sales/orders/a.csv", 2, "check:small")
    for _ in range(2):
        refinery.ledger.quarantine.decide(ORDERS, [record], "released", "it was right", _now())
        refinery.rebuild(ORDERS, "replay", Layer.BRONZE, batches=frozenset([batch]))
    assert gold(refinery) == [(1, 10), (2, 200)]
    assert quarantined(refinery) == [("check:small", 1)]
    assert is_whole(refinery)


def test_a_file_that_was_set_aside_is_taken_up_again_once(refinery: Refinery) -> None:
    refinery.contract(
        ORDERS, CASTS + "silver:\n  checks: [{name: small, sql: amount < 100, on_failure: fail}]\n"
    )
    refinery.deliver(ORDERS, a="id,amount\n1,200\n")
    (row,) = refinery.ledger._store.rows("SELECT file_id FROM files WHERE state = 'set_aside'")
    failed = transitions_of_table(refinery.ledger.views, ORDERS)[0].transition_id
    refinery.contract(ORDERS, CASTS)
    assert refinery.ledger.quarantine.replay_files(ORDERS, [row["file_id"]]) == 1
    assert refinery.ledger.quarantine.replay_files(ORDERS, [row["file_id"]]) == 0
    refinery.settle(ORDERS)
    landed = refinery.layout.landing / "sales/orders/a.csv"
    assert landed.read_text() == "id,amount\n1,200\n"
    batch = refinery.deliver(ORDERS, a=landed.read_text())
    assert gold(refinery) == [(1, 200)]
    assert refinery.ledger.views.transitions_of_batch(batch)[0].replays == (failed,)
    assert is_whole(refinery)


def test_files_that_leave_quarantine_leave_no_reason_behind(refinery: Refinery) -> None:
    refinery.contract(
        ORDERS, CASTS + "silver:\n  checks: [{name: small, sql: amount < 100, on_failure: fail}]\n"
    )
    odd = "not UTF-8: \udcff"
    for id_, name in enumerate(("a", "b" * 240, odd, "kept")):
        refinery.deliver(ORDERS, **{name: f"id,amount\n{id_},200\n"})
    ids = [
        row["file_id"] for row in refinery.ledger._store.rows("SELECT file_id FROM files ORDER BY file_id")
    ]
    assert refinery.ledger.quarantine.replay_files(ORDERS, ids[:1]) == 1
    assert refinery.ledger.quarantine.discard_files(ORDERS, ids[1:3], "a test") == 2
    assert refinery.ledger.quarantine.discard_files(ORDERS, ids[:3], "a test") == 0
    assert is_whole(refinery)  # on their way
    refinery.settle(ORDERS)
    left = [path.name.split("-")[-1] for path in refinery.layout.quarantine(ORDERS).iterdir()]
    assert sorted(left) == ["kept.csv", "kept.csv.reason.json"]
    assert is_whole(refinery)


def test_whoever_dropped_a_file_finds_a_receipt_beside_it(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n2,x\n", b="id,amount\n3,30\n")
    refinery.deliver(ORDERS, c="id,amount\n3,30\n")

    receipts = refinery.layout.landing / "sales/orders/.receipts"

    def receipt(name: str) -> dict[str, object]:
        found = json.loads((receipts / f"{name}.csv.json").read_text())
        return {key: found[key] for key in ("status", "rows", "rows_quarantined")}

    assert receipt("a") == {"status": "partly accepted", "rows": 2, "rows_quarantined": {"cast:amount": 1}}
    assert receipt("b") == {"status": "accepted", "rows": 1, "rows_quarantined": {}}
    assert receipt("c") == {"status": "duplicate", "rows": 0, "rows_quarantined": {}}
    told = {name: json.loads((receipts / f"{name}.csv.json").read_text()) for name in "abc"}
    assert told["a"]["why"] == "1 of 2 records are set aside: 1 cast:amount"
    assert told["b"]["why"] is None
    assert told["c"]["duplicate_of"] == "sales/orders/b.csv"


def test_what_is_asked_for_twice_is_done_once(refinery: Refinery) -> None:
    first = refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    ids = tuple(file_ids(refinery, first))
    kinds: tuple[RebuildKind, ...] = ("undo", "undo", "redo", "redo")
    for kind in kinds:
        files: dict[str, Any] = {"files_out": ids} if kind == "undo" else {"files_back": ids}
        refinery.ledger.rebuilds.request(
            Rebuild(new_id(), ORDERS, kind, Layer.LANDING, batches=frozenset([first]), **files), _now()
        )
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 10)]
    assert is_whole(refinery)


def test_verify_leaves_alone_what_a_rebuild_is_making(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    refinery.ledger.rebuilds.request(_everything(), _now())
    refinery.rebuilder.step(ORDERS)
    refinery.climb(ORDERS.shadow, Layer.BRONZE)
    assert is_whole(refinery)
    refinery.carry_out(ORDERS)
    assert gold(refinery) == [(1, 10)]


def test_an_undone_delivery_can_be_redone_in_a_restored_backup(refinery: Refinery, tmp_path: Path) -> None:
    batch = refinery.deliver(ORDERS, a="id,amount\n1,10\n")
    undo(refinery, batch)
    copy = Layout(tmp_path / "copy")
    copy.root.mkdir()
    RootCopy(refinery.layout, copy, lambda _: None).run()
    restored = Refinery(copy)
    restored.contracts.reload()
    redo(restored, batch)
    assert gold(restored) == [(1, 10)]
    assert is_whole(restored)
    restored.close()


def test_a_model_over_a_table_all_of_whose_deliveries_are_undone_has_no_rows_and_gets_them_back(
    refinery: Refinery,
) -> None:
    model = TableKey("sales", "sums")
    sql = "SELECT sum(amount) AS total FROM gold.sales.orders"
    refinery.contract(ORDERS, CASTS)
    refinery.contract(model, f"model: {{sql: {sql}}}\n")
    batch = refinery.deliver(ORDERS, a="id,amount\n1,10\n2,20\n")
    link = refinery.layout.layer_link(Layer.GOLD, model)
    undo(refinery, batch)
    assert not list(link.glob("*.parquet"))
    redo(refinery, batch)
    (path,) = link.glob("*.parquet")
    assert pl.read_parquet(path)["total"].to_list() == [30]


def test_a_query_sees_a_table_that_was_emptied_as_empty(refinery: Refinery) -> None:
    refinery.contract(ORDERS, CASTS)
    undo(refinery, refinery.deliver(ORDERS, a="id,amount\n1,10\n"))
    with ask(refinery.layout, "SELECT id, amount, _batch_id FROM gold.sales.orders") as answer:
        assert (answer.types, list(answer.rows)) == (["BIGINT", "BIGINT", "VARCHAR"], [])


def test_what_a_rebuild_sets_aside_while_it_rewrites_older_batches_is_where_the_ledger_says(
    refinery: Refinery,
) -> None:
    check = '  checks: [{name: positive, sql: "amount > 0", on_failure: quarantine}]\n'
    refinery.contract(ORDERS, LAST + check)
    refinery.deliver(ORDERS, a="id,amount\n1,1\n2,2\n")
    refinery.deliver(ORDERS, b="id,amount\n1,5\n9,-1\n")
    last = refinery.deliver(ORDERS, c="id,amount\n7,7\n")
    undo(refinery, last)
    assert gold(refinery) == [(1, 5), (2, 2)]
    assert quarantined(refinery) == [("check:positive", 1)]
    assert is_whole(refinery)
