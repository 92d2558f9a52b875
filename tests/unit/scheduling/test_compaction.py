"""Small files become larger ones, and batches come out of them again; no row is lost, doubled or told otherwise."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from refinery import HOPS, Refinery

from daemon.audit.copying import RootCopy
from daemon.audit.proof import prove, repair
from daemon.catalog.compaction import CompactionLimits
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout
from daemon.pipeline.repacking import runs
from daemon.scheduling.upkeep import keep_up

ORDERS = TableKey("sales", "orders")
CASTS = "bronze:\n  cast: {id: int64, amount: int64}\n"
LAST = CASTS + "silver:\n  dedup: {keys: [id], keep: last}\n"
TWICE = f"{CASTS}gold:\n  sql: SELECT *, amount * 2 AS twice FROM silver\n"  # noqa: S608 - a contract


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path / "root"))
    world.contract(ORDERS, CASTS)
    yield world
    world.close()


def deliver(world: Refinery, count: int, first: int = 1) -> list[str]:
    """Batches of two rows each: ids 10 n and 10 n + 1, amount n."""
    return [
        world.deliver(ORDERS, **{f"f{number}": f"id,amount\n{number}0,{number}\n{number}1,{number}\n"})
        for number in range(first, first + count)
    ]


def files(world: Refinery, layer: Layer = Layer.GOLD) -> list[Path]:
    return sorted(world.layout.layer_link(layer, ORDERS).glob("*.parquet"))


def rows(world: Refinery, *columns: str) -> list[tuple[object, ...]]:
    frame = pl.concat([pl.read_parquet(path) for path in files(world)], how="diagonal_relaxed")
    return sorted(frame.select(columns or ("id", "amount")).rows())


def problems(world: Refinery) -> list[str]:
    with LedgerInventory.open(world.layout.ledger) as inventory:
        return [
            f"{found.path}: {found.found}"
            for found in prove(world.layout, inventory, lambda _: None).problems
        ]


def whole(world: Refinery) -> None:
    keep_up(world.ledger, world.layout)
    assert problems(world) == []


def test_small_files_of_every_layer_become_one_and_hold_the_same_rows(refinery: Refinery) -> None:
    batches = deliver(refinery, 4)
    before = rows(refinery, "id", "amount", "_batch_id", "_source_file", "_source_row", "_ingested_at")
    assert refinery.compact() == len(HOPS)
    for layer in HOPS:
        (path,) = files(refinery, layer)
        assert path.name.startswith(f"{batches[0]}..{batches[-1]}.g")
    assert (
        rows(refinery, "id", "amount", "_batch_id", "_source_file", "_source_row", "_ingested_at") == before
    )
    assert pl.read_parquet(files(refinery)[0])["_batch_id"].rle().struct.field("value").to_list() == batches
    whole(refinery)


def test_what_arrives_later_lies_beside_and_is_merged_in_its_turn(refinery: Refinery) -> None:
    deliver(refinery, 3)
    refinery.compact()
    deliver(refinery, 2, first=4)
    assert len(files(refinery)) == 3
    refinery.compact()
    assert len(rows(refinery)) == 10
    whole(refinery)


def test_a_model_is_not_made_anew_because_its_inputs_lie_in_other_files(refinery: Refinery) -> None:
    totals = TableKey("sales", "totals")
    refinery.contract(totals, 'model: {sql: "SELECT sum(amount) AS total FROM gold.sales.orders"}')
    deliver(refinery, 2)
    before = refinery.ledger.views.batches_of_table(totals, 9)
    refinery.compact()
    refinery.settle(ORDERS)
    assert refinery.ledger.views.batches_of_table(totals, 9) == before
    assert len(files(refinery)) == 1


def test_files_of_other_columns_are_left_apart(refinery: Refinery) -> None:
    deliver(refinery, 2)
    refinery.deliver(ORDERS, more="id,amount,note\n90,9,x\n")
    refinery.deliver(ORDERS, again="id,amount,note\n91,9,y\n")
    deliver(refinery, 1, first=3)
    refinery.compact()
    assert [pl.read_parquet(path).height for path in files(refinery)] == [6, 2]
    whole(refinery)


def test_a_delivery_is_taken_back_out_of_a_merged_file_and_returns(refinery: Refinery) -> None:
    batches = deliver(refinery, 4)
    refinery.compact()
    before = rows(refinery)
    ids = tuple(file.file_id for file in refinery.ledger.rebuilds.delivered([batches[1]]))
    refinery.rebuild(ORDERS, "undo", Layer.LANDING, batches=frozenset([batches[1]]), files_out=ids)
    assert rows(refinery) == [row for row in before if row[1] != 2]
    whole(refinery)
    refinery.compact()
    refinery.rebuild(ORDERS, "redo", Layer.LANDING, batches=frozenset([batches[1]]), files_back=ids)
    assert rows(refinery) == before
    whole(refinery)


def test_a_table_is_rebuilt_from_merged_files(refinery: Refinery) -> None:
    batches = deliver(refinery, 4)
    refinery.compact()
    refinery.contract(ORDERS, TWICE)
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED, batches=frozenset(batches[:2]))
    assert (
        sum(
            pl.read_parquet(path).get_column("twice", default=pl.Series([0])).sum()
            for path in files(refinery)
        )
        == 12
    )
    whole(refinery)
    refinery.compact()
    refinery.rebuild(ORDERS, "rebuild", Layer.STAGED)
    assert rows(refinery, "amount", "twice") == sorted((n, 2 * n) for n in (1, 2, 3, 4) for _ in range(2))
    whole(refinery)


def test_a_newer_row_takes_the_place_of_one_in_a_merged_file(refinery: Refinery) -> None:
    refinery.contract(ORDERS, LAST)
    deliver(refinery, 4)
    refinery.compact()
    refinery.deliver(ORDERS, newer="id,amount\n20,99\n31,98\n")
    assert rows(refinery) == [(10, 1), (11, 1), (20, 99), (21, 2), (30, 3), (31, 98), (40, 4), (41, 4)]
    whole(refinery)
    refinery.compact()
    refinery.deliver(ORDERS, newest="id,amount\n20,100\n")
    assert (20, 100) in rows(refinery)
    assert len(rows(refinery)) == 8
    whole(refinery)


def test_a_rebuild_under_way_keeps_the_files_it_counts_on(refinery: Refinery) -> None:
    batches = deliver(refinery, 3)
    refinery.ledger.rebuilds.request(
        Rebuild(new_id(), ORDERS, "rebuild", Layer.STAGED, batches=frozenset(batches[:1])), datetime.now(UTC)
    )
    refinery.rebuilder.step(ORDERS)
    assert refinery.compact() == 0
    refinery.climb(ORDERS.shadow)
    refinery.carry_out(ORDERS)
    assert refinery.compact() > 0
    whole(refinery)


def test_a_lost_merged_file_is_made_again(refinery: Refinery) -> None:
    deliver(refinery, 5)
    refinery.compact()
    before = rows(refinery)
    for layer in (Layer.SILVER, Layer.GOLD):
        files(refinery, layer)[0].unlink()
    assert len(problems(refinery)) == 2
    with LedgerInventory.open(refinery.layout.ledger) as inventory:
        attempts = repair(prove(refinery.layout, inventory, lambda _: None))
    assert [attempt.hindered for attempt in attempts] == [None, None]
    assert rows(refinery) == before
    whole(refinery)


def test_a_backup_holds_merged_files_once(refinery: Refinery, tmp_path: Path) -> None:
    deliver(refinery, 3)
    refinery.compact()
    copy = Layout(tmp_path / "copy")
    copied = RootCopy(refinery.layout, copy, lambda _: None).run()
    assert copied.rows == 4 * 6
    with LedgerInventory.open(copy.ledger) as inventory:
        assert prove(copy, inventory, lambda _: None).problems == []


def test_what_a_crash_left_of_a_compaction_is_no_part_of_the_next(refinery: Refinery) -> None:
    deliver(refinery, 3)
    folder = refinery.layout.generations(Layer.GOLD, ORDERS)
    shutil.copytree(folder / "1", folder / "3")
    refinery.compact()
    assert len(rows(refinery)) == 6
    keep_up(refinery.ledger, refinery.layout)


def test_a_batch_that_comes_while_files_are_switched_waits_until_it_is_done(
    refinery: Refinery, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(refinery, 3)
    link, seen = refinery.ledger.compaction.names, list[int]()

    def names(key: TableKey, layer: Layer) -> tuple[int, tuple[str, ...]]:
        found = link(key, layer)
        if layer is Layer.GOLD:
            deliver(refinery, 1, first=4)
            seen.append(len(rows(refinery)))
        return found

    monkeypatch.setattr(refinery.ledger.compaction, "names", names)
    refinery.compact()
    assert seen == [6]
    refinery.climb(ORDERS)
    assert len(rows(refinery)) == 8
    whole(refinery)


LIMITS = CompactionLimits(min_files=3, max_bytes=900, min_age=0)


def sized(*sizes: int) -> list[LayerFile]:
    return [
        LayerFile(f"b{number:02}", f"b{number:02}.parquet", 1, size, "") for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ((10, 10), []),
        ((10, 10, 10), [(10, 10, 10)]),
        ((100, 10, 10, 10), [(10, 10, 10)]),  # the smallest first: the larger one was written anew already
        ((100, 100, 100, 10), [(100, 100, 100, 10)]),
        ((100, 10, 10), []),  # or a merged file would be written anew with every few that arrive
        ((10, 950, 10, 10), []),  # neighbours only, so that batches keep their order
        ((500, 600), [(500, 600)]),  # two that make up a full file
        ((10,) * 100, [(10,) * 90, (10,) * 10]),
    ],
)
def test_neighbours_of_like_size_are_merged(sizes: tuple[int, ...], merged: list[tuple[int, ...]]) -> None:
    found = runs(sized(*sizes), ["a"] * len(sizes), LIMITS)
    assert [tuple(file.size for file in run) for run in found] == merged
    assert LIMITS.some_may_be_worth_it(sizes) or not merged


def test_no_worker_is_asked_where_no_files_are_of_like_size() -> None:
    assert not LIMITS.some_may_be_worth_it([100, 10, 10, 300])
    assert not LIMITS.some_may_be_worth_it([])


def test_a_row_is_written_anew_a_few_times_however_many_files_arrive() -> None:
    limits = CompactionLimits(min_files=4, max_bytes=1_000_000, min_age=0)
    sizes, written = list[int](), 0
    for _ in range(1000):
        sizes.append(100)
        for run in runs(sized(*sizes), ["a"] * len(sizes), limits):
            merged = sum(file.size for file in run)
            first = int(run[0].batch_id[1:])
            sizes[first : first + len(run)] = [merged]
            written += merged
    assert written < 8 * sum(sizes)
    assert len(sizes) < 16


def test_a_table_may_be_left_as_it_is(refinery: Refinery) -> None:
    deliver(refinery, 3)
    refinery.limits = replace(refinery.limits, min_files=0)
    assert refinery.compact() == 0
    refinery.limits = replace(refinery.limits, min_files=2, min_age=60)
    assert refinery.compact() == 0
