"""What a killed daemon left half done on disk is gone after the next start, wherever it lies."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from refinery import HOPS, Refinery

from daemon.audit.proof import prove
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.generations import build_next, point_link
from daemon.lake.layout import Layout
from daemon.scheduling.recovery import recover

ORDERS = TableKey("sales", "orders")


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path))
    yield world
    world.close()


def problems(world: Refinery) -> list[str]:
    with LedgerInventory.open(world.layout.ledger) as inventory:
        return [str(problem) for problem in prove(world.layout, inventory, lambda _: None).problems]


def test_a_link_that_was_not_yet_in_its_place_is_removed_from_every_layer(
    refinery: Refinery, monkeypatch: pytest.MonkeyPatch
) -> None:
    refinery.deliver(ORDERS, a="id\n1\n")

    def killed(*_: object) -> None:
        raise SystemExit

    for layer in HOPS:
        refinery.layout.layer_link(layer, ORDERS).unlink()
        with (
            monkeypatch.context() as instant
        ):  # after the link is made, before it is renamed; nobody tidies up
            instant.setattr(Path, "rename", killed)
            instant.setattr(Path, "unlink", killed)
            with pytest.raises(SystemExit):
                point_link(refinery.layout, layer, ORDERS, 1)
        assert list(refinery.layout.generations(layer, ORDERS).glob("*.tmp"))
    recover(refinery.ledger, refinery.layout, [])
    assert not list(refinery.layout.data.rglob("*.tmp"))
    assert problems(refinery) == []


def test_a_generation_that_was_built_for_a_change_that_never_came_is_removed(refinery: Refinery) -> None:
    refinery.deliver(ORDERS, a="id\n1\n")
    build_next(refinery.layout, Layer.SILVER, ORDERS, 1, 2, [])
    assert problems(refinery)
    recover(refinery.ledger, refinery.layout, [])
    assert problems(refinery) == []


def test_so_is_one_that_others_have_passed_since_but_none_that_readers_may_be_in(refinery: Refinery) -> None:
    refinery.deliver(ORDERS, a="id\n1\n")
    refinery.deliver(ORDERS, b="id\n2\n")
    build_next(refinery.layout, Layer.SILVER, ORDERS, 1, 2, [])
    assert refinery.compact()
    before = set(refinery.layout.generations(Layer.SILVER, ORDERS).iterdir())
    recover(refinery.ledger, refinery.layout, [])
    assert before - set(refinery.layout.generations(Layer.SILVER, ORDERS).iterdir()) == {
        refinery.layout.generation(Layer.SILVER, ORDERS, 2)
    }
    assert problems(refinery) == []


def test_halves_of_sources_receipts_reasons_answers_and_of_what_was_undone_are_removed(
    refinery: Refinery,
) -> None:
    batch = refinery.claim(ORDERS, a="id\n1\n")
    refinery.climb(ORDERS)
    halves = [
        refinery.layout.claimed(batch) / "0-a.csv.0123.tmp",
        refinery.layout.landing / "sales/orders/.receipts/a.csv.json.0123.tmp",
        refinery.layout.quarantine(ORDERS) / "b.csv.reason.json.0123.tmp",
        refinery.layout.undone(ORDERS) / "1.parquet.0123.tmp",
        refinery.layout.requests / "1.answer.json.0123.tmp",
    ]
    for half in halves:
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_text("{")
    recover(refinery.ledger, refinery.layout, [])
    assert not any(half.exists() for half in halves)
    refinery.settle(ORDERS)
    assert problems(refinery) == []
