"""Records that were set aside."""

import stat

import polars as pl
import pytest

from daemon.catalog.promotion import TableKey
from daemon.errors import RetryLaterError
from daemon.lake.layout import Layout
from daemon.lake.quarantine import SCHEMA, write_quarantine

RECORD = {
    "reason": "a field is missing",
    "rule": "short_row",
    "raw": "1;2",
    "_source_file": "a.csv",
    "_source_row": 7,
    "line": 8,
    "byte_offset": None,
    "_batch_id": "b1",
    "_layer": "staged",
}


def test_a_record_keeps_where_it_came_from_and_why_it_was_refused(layout: Layout, key: TableKey) -> None:
    path = layout.quarantine(key) / "b1-staged.parquet"
    write_quarantine(pl.LazyFrame([RECORD]), path)
    found = pl.read_parquet(path)
    assert found.schema == SCHEMA
    assert found.row(0, named=True) == RECORD


def test_quarantine_is_closed_to_others(layout: Layout, key: TableKey) -> None:
    path = layout.quarantine(key) / "b1-staged.parquet"
    write_quarantine(pl.LazyFrame([RECORD]), path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0


def test_a_redo_replaces_the_records_of_the_attempt_before(layout: Layout, key: TableKey) -> None:
    path = layout.quarantine(key) / "b1-staged.parquet"
    write_quarantine(pl.LazyFrame([RECORD, RECORD]), path)
    write_quarantine(pl.LazyFrame([RECORD]), path)
    assert pl.read_parquet(path).height == 1
    assert [file.name for file in path.parent.iterdir()] == ["b1-staged.parquet"]


def test_a_folder_that_cannot_be_made_is_the_machines_fault(layout: Layout, key: TableKey) -> None:
    layout.data.write_text("in the way")
    with pytest.raises(RetryLaterError, match="data"):
        write_quarantine(pl.LazyFrame([RECORD]), layout.quarantine(key) / "b1-staged.parquet")
