"""Parquet files on their way out: counted, hashed, published or gone."""

import errno
import hashlib
import os
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.exceptions import ComputeError, PanicException

from daemon.catalog.promotion import LayerFile
from daemon.errors import RetryLaterError
from daemon.lake.parquet import count_rows, layer_file, writing


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "b1.parquet"


@pytest.fixture
def frame() -> pl.LazyFrame:
    return pl.LazyFrame({"id": ["00123", "", None]})


def test_a_file_is_published_with_what_the_ledger_wants_to_know(final: Path, frame: pl.LazyFrame) -> None:
    with writing(final) as pending:
        rows = pending.sink(frame)
        facts = pending.publish("b1", rows)
    content = final.read_bytes()
    assert facts == LayerFile("b1", "b1.parquet", 3, len(content), hashlib.sha256(content).hexdigest())
    assert facts == layer_file(final, "b1", 3)
    assert pl.read_parquet(final)["id"].to_list() == ["00123", "", None]


def test_nothing_is_seen_of_a_file_before_it_is_published(final: Path, frame: pl.LazyFrame) -> None:
    with writing(final) as pending:
        pending.sink(frame)
        assert list(final.parent.glob("*.parquet")) == []
    assert list(final.parent.iterdir()) == []


def test_a_file_is_synced_before_it_is_published_and_its_folder_after(
    final: Path, frame: pl.LazyFrame, steps: list[str]
) -> None:
    with writing(final) as pending:
        pending.publish("b1", pending.sink(frame))
    assert steps[:3] == ["fsync b1.parquet.tmp", "rename b1.parquet", f"fsync {final.parent.name}"]


def test_a_second_sink_replaces_the_first(final: Path, frame: pl.LazyFrame) -> None:
    with writing(final) as pending:
        pending.sink(frame)
        pending.publish("b1", pending.sink(frame.head(1)))
    assert count_rows(final) == 1


def test_a_redo_replaces_the_file_by_the_same_bytes(final: Path, frame: pl.LazyFrame) -> None:
    facts = []
    for _ in range(2):
        with writing(final) as pending:
            facts.append(pending.publish("b1", pending.sink(frame)))
    assert facts[0] == facts[1]


def test_every_column_is_zstd(final: Path, frame: pl.LazyFrame) -> None:
    with writing(final) as pending:
        pending.publish("b1", pending.sink(frame))
    codecs = duckdb.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(final)]).fetchall()
    assert codecs == [("ZSTD",)]


def test_a_row_count_comes_from_the_footer_even_of_an_odd_name(tmp_path: Path) -> None:
    path = tmp_path / "b[1]*.parquet"
    pl.DataFrame({"a": [1, 2]}).write_parquet(path)
    assert count_rows(path) == 2


@pytest.mark.parametrize("fault", [ComputeError, PanicException])
def test_a_full_disk_is_the_machines_fault_and_leaves_nothing(
    final: Path, frame: pl.LazyFrame, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def full(_: pl.LazyFrame, path: Path, **__: object) -> None:
        path.write_bytes(b"PAR1")
        raise fault("No space left on device (os error 28)")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    with pytest.raises(RetryLaterError, match=r"b1\.parquet: .*os error 28"), writing(final) as pending:
        pending.sink(frame)
    assert list(final.parent.iterdir()) == []


@pytest.mark.parametrize("fault", [ComputeError, PanicException])
def test_what_the_data_makes_polars_raise_passes_through_and_leaves_nothing(
    final: Path, frame: pl.LazyFrame, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def damaged(_: pl.LazyFrame, path: Path, **__: object) -> None:
        path.write_bytes(b"PAR1")
        raise fault("found more fields than defined")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", damaged)
    with pytest.raises(fault, match="more fields"), writing(final) as pending:
        pending.sink(frame)
    assert list(final.parent.iterdir()) == []


def test_a_failed_sync_publishes_nothing_and_asks_for_a_retry(
    final: Path, frame: pl.LazyFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with writing(final) as pending:
        rows = pending.sink(frame)
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(RetryLaterError, match="Input/output error"):
            pending.publish("b1", rows)
    assert list(final.parent.iterdir()) == []
