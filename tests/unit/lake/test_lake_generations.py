"""Generations: what readers of the folder see before, during and after a change."""

import os
import shutil
from pathlib import Path

import pytest

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.durable import remove_leftovers
from daemon.lake.generations import build_next, ensure_generation, is_shown, point_link
from daemon.lake.layout import Layout


@pytest.fixture
def first(layout: Layout, key: TableKey) -> Path:
    """Generation 1 of gold with the files a and b."""
    folder = ensure_generation(layout, Layer.GOLD, key, 1)
    (folder / "a.parquet").write_text("a")
    (folder / "b.parquet").write_text("b")
    return folder


def _seen(layout: Layout) -> list[str]:
    """What a reader finds who knows only the folders that people see."""
    return sorted(layout.relative(path) for path in layout.root.glob("data/gold/*/*/*.parquet"))


def test_a_table_is_made_with_its_link(layout: Layout, key: TableKey) -> None:
    folder = ensure_generation(layout, Layer.GOLD, key, 1)
    link = layout.layer_link(Layer.GOLD, key)
    assert link.is_symlink()
    assert link.resolve() == folder.resolve()


def test_making_a_table_again_writes_nothing(
    layout: Layout, key: TableKey, first: Path, steps: list[str]
) -> None:
    assert ensure_generation(layout, Layer.GOLD, key, 1) == first
    assert steps == []


def test_a_link_that_a_crash_left_behind_the_ledger_is_put_right(
    layout: Layout, key: TableKey, first: Path
) -> None:
    build_next(layout, Layer.GOLD, key, 1, 2, ["a.parquet"])
    ensure_generation(layout, Layer.GOLD, key, 2)
    assert _seen(layout) == ["data/gold/sales/orders/a.parquet"]
    assert first.exists()


def test_the_next_generation_is_not_seen_until_the_link_shows_it(
    layout: Layout, key: TableKey, first: Path
) -> None:
    new = build_next(layout, Layer.GOLD, key, 1, 2, ["a.parquet"])
    (new / "b.g2.parquet").write_text("b2")
    assert _seen(layout) == ["data/gold/sales/orders/a.parquet", "data/gold/sales/orders/b.parquet"]
    assert not is_shown(layout, Layer.GOLD, key, 2)
    assert point_link(layout, Layer.GOLD, key, 2)
    assert is_shown(layout, Layer.GOLD, key, 2)
    assert _seen(layout) == ["data/gold/sales/orders/a.parquet", "data/gold/sales/orders/b.g2.parquet"]
    assert (new / "a.parquet").samefile(first / "a.parquet")


def test_kept_files_are_durable_before_the_ledger_hears_of_them(
    layout: Layout, key: TableKey, first: Path, steps: list[str]
) -> None:
    assert first.exists()
    build_next(layout, Layer.GOLD, key, 1, 2, ["a.parquet", "b.parquet"])
    assert steps == ["mkdir 2", "fsync orders", "link a.parquet", "link b.parquet", "fsync 2"]


def test_what_a_crash_left_of_the_next_generation_is_begun_anew(
    layout: Layout, key: TableKey, first: Path
) -> None:
    leftover = build_next(layout, Layer.GOLD, key, 1, 2, ["a.parquet", "b.parquet"])
    (leftover / "half.parquet").touch()
    again = build_next(layout, Layer.GOLD, key, 1, 2, ["b.parquet"])
    assert [path.name for path in again.iterdir()] == ["b.parquet"]
    assert (first / "a.parquet").read_text() == "a"


def test_pointing_the_link_again_writes_nothing(
    layout: Layout, key: TableKey, first: Path, steps: list[str]
) -> None:
    assert first.exists()
    assert not point_link(layout, Layer.GOLD, key, 1)
    assert steps == []


def test_the_link_is_replaced_in_one_step_and_synced(
    layout: Layout, key: TableKey, first: Path, steps: list[str]
) -> None:
    assert first.exists()
    point_link(layout, Layer.GOLD, key, 2)
    assert steps == ["rename orders", "fsync sales"]


def test_a_crash_before_the_link_is_renamed_shows_no_table_twice(
    layout: Layout, key: TableKey, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_next(layout, Layer.GOLD, key, 1, 2, ["a.parquet"])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(os, "rename", killed)
        crash.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            point_link(layout, Layer.GOLD, key, 2)
    assert first.exists()
    assert _seen(layout) == ["data/gold/sales/orders/a.parquet", "data/gold/sales/orders/b.parquet"]
    assert remove_leftovers(layout.generations(Layer.GOLD, key)) == 1
    assert point_link(layout, Layer.GOLD, key, 2)
    assert _seen(layout) == ["data/gold/sales/orders/a.parquet"]


def test_a_root_can_be_moved(layout: Layout, first: Path, tmp_path: Path) -> None:
    assert first.exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(layout.data, elsewhere / "data")
    assert len(_seen(Layout(elsewhere))) == 2


def test_a_real_folder_in_the_links_place_is_never_replaced(layout: Layout, key: TableKey) -> None:
    layout.layer_link(Layer.GOLD, key).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        ensure_generation(layout, Layer.GOLD, key, 1)
