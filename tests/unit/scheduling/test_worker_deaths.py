"""A worker that dies costs a second try, and leaves nothing behind: not every death is its task's fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from refinery import Refinery

from daemon.catalog.identity import new_id
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError
from daemon.lake.layout import Layout
from daemon.scheduling.clock import utc_now

ORDERS = TableKey("sales", "orders")


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path))
    yield world
    world.close()


def gold(world: Refinery) -> list[Path]:
    return list(world.layout.layer_link(Layer.GOLD, ORDERS).glob("*"))


def ask_to_undo(world: Refinery, batch: str) -> None:
    files = tuple(file.file_id for file in world.ledger.rebuilds.delivered([batch]))
    undo = Rebuild(new_id(), ORDERS, "undo", Layer.LANDING, batches=frozenset([batch]), files_out=files)
    world.ledger.rebuilds.request(undo, utc_now())


def test_an_undo_whose_worker_dies_is_tried_again_and_done(refinery: Refinery) -> None:
    batch = refinery.deliver(ORDERS, a="id\n1\n")
    ask_to_undo(refinery, batch)
    refinery.workers.deaths = 1
    with pytest.raises(RetryLaterError, match="exit code -9"):
        refinery.rebuilder.step(ORDERS)
    refinery.carry_out(ORDERS)
    assert gold(refinery) == []


def test_an_undo_that_costs_a_second_worker_is_given_up_and_the_table_stays(refinery: Refinery) -> None:
    batch = refinery.deliver(ORDERS, a="id\n1\n")
    ask_to_undo(refinery, batch)
    refinery.workers.deaths = 2
    with pytest.raises(RetryLaterError):
        refinery.rebuilder.step(ORDERS)
    refinery.carry_out(ORDERS)
    assert len(gold(refinery)) == 1
    assert refinery.ledger.rebuilds.current(ORDERS) is None


def test_a_hop_of_a_rebuild_whose_worker_dies_is_tried_again_however_many_files_its_batch_has(
    refinery: Refinery,
) -> None:
    refinery.deliver(ORDERS, a="id\n1\n", b="id\n2\n")
    refinery.ledger.rebuilds.request(Rebuild(new_id(), ORDERS, "rebuild", Layer.STAGED), utc_now())
    refinery.rebuilder.step(ORDERS)
    refinery.workers.deaths = 1
    refinery.climb(ORDERS.shadow)
    assert refinery.ledger.rebuilds.current(ORDERS) is not None


def test_what_a_dead_worker_was_writing_is_removed_without_a_restart(refinery: Refinery) -> None:
    batch = refinery.claim(ORDERS, a="id\n1\n")
    staged = refinery.layout.generation(Layer.STAGED, ORDERS, 1)
    quarantine = refinery.layout.quarantine(ORDERS)
    left = [staged / f"{batch}.parquet.1f.tmp", quarantine / f"{batch}-staged.parquet.1f.tmp"]
    others = quarantine / "other-batch-bronze.parquet.1f.tmp"
    for path in (*left, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    refinery.workers.deaths = 1
    refinery.climb(ORDERS)
    assert not any(path.exists() for path in left)
    assert others.exists()
