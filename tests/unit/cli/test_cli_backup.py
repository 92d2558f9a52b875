"""`medalliond backup`: the copy is a root that proves; what moves meanwhile is found where it lies now."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_world import Run
from refinery import Refinery

from daemon.audit import copying
from daemon.audit.copying import RootCopy
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError
from daemon.lake.layout import Layout

ORDERS = TableKey("sales", "orders")
TOTALS = TableKey("sales", "totals")
CONTRACT = """
bronze: {cast: {id: int64, amount: int64}}
silver: {dedup: {keys: [id], keep: last}}
"""
MODEL = 'model: {sql: "SELECT count(*) AS orders, sum(amount) AS total FROM gold.sales.orders"}'


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a delivery in gold, one that is halfway and one that is only claimed."""
    root = tmp_path_factory.mktemp("backup") / "root"
    refinery = Refinery(Layout(root))
    refinery.contract(ORDERS, CONTRACT)
    refinery.contract(TOTALS, MODEL)
    refinery.deliver(ORDERS, jan="id,amount\n1,1\n2,two\n3,3\n", empty="")
    refinery.claim(ORDERS, feb="id,amount\n3,30\n4,4\n")
    refinery.climb(ORDERS, Layer.STAGED, Layer.BRONZE)
    refinery.claim(ORDERS, mar="id,amount\n5,5\n")
    refinery.close()
    return root


@pytest.fixture
def made(under_way: Path, tmp_path: Path) -> Iterator[Refinery]:
    """A copy of that root."""
    shutil.copytree(under_way, tmp_path / "root", symlinks=True)
    refinery = Refinery(Layout(tmp_path / "root"))
    refinery.contracts.reload()
    yield refinery
    refinery.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy"


@pytest.fixture
def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be linked into the copy."""

    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)


def backed_up(run: Run, made: Refinery, copy: Path) -> dict[str, Any]:
    found = run("backup", str(copy), "--json", "--root", str(made.layout.root))
    assert found.exit_code == 0, found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def proved(run: Run, root: Path) -> bool:
    report = json.loads(run("verify", "--json", "--root", str(root)).stdout)
    assert report["problems"] == []
    return bool(report["proved"])


def gold(root: Path, key: TableKey) -> pl.DataFrame:
    frame = pl.read_parquet(f"{root}/data/gold/{key.domain}/{key.table}/*.parquet")
    frame = frame.drop("_ingested_at", "_batch_id")
    return frame.sort(frame.columns)


def finish(root: Refinery) -> None:
    root.climb(ORDERS)
    root.settle(ORDERS)


def on_first_link(monkeypatch: pytest.MonkeyPatch, needle: str, act: Callable[[], object]) -> None:
    """Do something just before the first file whose path holds `needle` is brought."""
    bring = copying._link_or_copy
    done: list[Path] = []

    def wrapped(source: Path, target: Path) -> None:
        if needle in str(target) and not done:
            done.append(target)
            act()
        bring(source, target)

    monkeypatch.setattr(copying, "_link_or_copy", wrapped)


def copied(made: Refinery, copy: Path) -> int:
    """Copy the root; returns how often its ledger was."""
    return RootCopy(made.layout, Layout(copy), lambda _: None).run().rounds


def test_a_copy_is_proved_and_says_what_it_holds(made: Refinery, run: Run, copy: Path) -> None:
    report = backed_up(run, made, copy)
    assert report["backup"] == str(copy)
    assert report["rows"] == sum(totals.rows for totals in made.ledger.views.layers())
    assert proved(run, copy)


@pytest.mark.usefixtures("other_file_system")
def test_a_copy_on_another_file_system_is_proved(made: Refinery, run: Run, copy: Path) -> None:
    backed_up(run, made, copy)
    assert proved(run, copy)
    assert not list(copy.glob("**/*.tmp"))


def test_a_copy_goes_on_with_what_was_under_way(made: Refinery, run: Run, copy: Path) -> None:
    backed_up(run, made, copy)
    carried_on = Refinery(Layout(copy))
    carried_on.contracts.reload()
    finish(carried_on)
    carried_on.close()
    finish(made)
    assert proved(run, copy)
    for key in (ORDERS, TOTALS):
        assert gold(copy, key).equals(gold(made.layout.root, key))
    assert {path.name for path in copy.glob("data/archive/**/*.csv")} == {"jan.csv", "feb.csv", "mar.csv"}


def test_what_people_wrote_is_copied_not_linked(made: Refinery, run: Run, copy: Path) -> None:
    (made.layout.root / "medalliond.toml").write_text("settle = 2\n")
    (made.layout.transforms / "own.py").write_text("# mine\n")
    backed_up(run, made, copy)
    for name in ("medalliond.toml", "catalog/transforms/own.py", "catalog/contracts/sales/orders.yaml"):
        assert (copy / name).read_bytes() == (made.layout.root / name).read_bytes()
        assert (copy / name).stat().st_nlink == 1


def test_what_waits_in_landing_is_not_copied(made: Refinery, run: Run, copy: Path) -> None:
    (made.layout.landing / "sales/orders/waiting.csv").write_text("id,amount\n9,9\n")
    backed_up(run, made, copy)
    assert not list(copy.glob("landing/**/waiting.csv"))


def test_a_file_that_is_archived_meanwhile_is_found_there(
    made: Refinery, run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_first_link(monkeypatch, "feb.csv", lambda: finish(made))
    assert copied(made, copy) == 1
    assert proved(run, copy)
    assert len(list(copy.glob("landing/.claimed/*/0-feb.csv"))) == 1


def test_a_model_made_anew_meanwhile_is_copied_with_a_newer_ledger(
    made: Refinery, run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_first_link(monkeypatch, "totals.parquet", lambda: finish(made))
    assert copied(made, copy) == 2
    assert proved(run, copy)
    assert gold(copy, TOTALS).equals(gold(made.layout.root, TOTALS))


def test_a_generation_removed_meanwhile_does_no_harm(
    made: Refinery, run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_and_remove() -> None:
        finish(made)
        for layer in (Layer.SILVER, Layer.GOLD):
            shutil.rmtree(made.layout.generation(layer, ORDERS, 1))

    on_first_link(monkeypatch, "/silver/", publish_and_remove)
    assert copied(made, copy) == 2
    assert proved(run, copy)
    assert gold(copy, ORDERS).equals(gold(made.layout.root, ORDERS))


def test_a_root_that_is_always_faster_is_given_up_and_nothing_is_left(
    made: Refinery, run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(source: Path, _target: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone", str(source))

    monkeypatch.setattr(copying, "_link_or_copy", gone)
    found = run("backup", str(copy), "--root", str(made.layout.root))
    assert found.exit_code == 1
    assert "try again when less is going on" in found.stderr
    assert list(copy.iterdir()) == []


def test_an_unfinished_copy_has_no_ledger(
    made: Refinery, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RetryLaterError("the disk is full")

    monkeypatch.setattr(copying, "sync_files", full)
    with pytest.raises(RetryLaterError):
        copied(made, copy)
    assert not Layout(copy).ledger.exists()


def test_a_folder_that_holds_something_is_refused(made: Refinery, run: Run, copy: Path) -> None:
    copy.mkdir()
    (copy / "mine").touch()
    found = run("backup", str(copy), "--root", str(made.layout.root))
    assert found.exit_code == 1
    assert f"{copy}: is not empty" in found.stderr
    assert [path.name for path in copy.iterdir()] == ["mine"]


def test_a_folder_within_the_root_is_refused(made: Refinery, run: Run) -> None:
    found = run("backup", str(made.layout.root / "copy"), "--root", str(made.layout.root))
    assert found.exit_code == 1
    assert "name a folder outside" in found.stderr


def test_the_copied_ledger_is_one_file_of_one_instant(made: Refinery, copy: Path) -> None:
    with LedgerInventory.open(made.layout.ledger) as inventory:
        inventory.copy_to(copy)
    before = made.ledger.views.counts()
    made.claim(ORDERS, apr="id,amount\n6,6\n")
    with LedgerInventory.open(copy) as inventory:
        assert inventory.views.counts() == before
    assert [path.name for path in copy.parent.glob("copy*")] == ["copy"]
