"""Which published rows are looked at for a batch's keys: by the statistics of their files, and never one too few."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from daemon.catalog.contract import DedupRules
from daemon.catalog.promotion import LayerFile
from daemon.pipeline.dedup import Published, losers


def published(folder: Path, *columns: list[object]) -> Published:
    files = []
    for number, values in enumerate(columns):
        name = f"b{number}.parquet"
        frame = pl.DataFrame({"key": values, "other": range(len(values)), "_batch_id": f"b{number}"})
        frame.write_parquet(folder / name, row_group_size=2)
        files.append(LayerFile(f"b{number}", name, len(values), 1, ""))
    return Published(folder, tuple(files), 2, folder / "index")


@pytest.mark.parametrize(
    ("first", "second", "batch", "found"),
    [
        ([1, 2, 3, 4, 5, 6], [7, 8, 9], [2, 8, 99], [2, 8]),
        ([1, None, 3], [None, 5], [None], [None]),
        ([1, None, 3], [4, 5], [3, None], [3, None]),
        ([1, 2], [3, 4], [2], [2]),
        (["a", "b", "zz"], ["é", "", "x" * 300], ["", "é", "x" * 300, "q"], ["", "é", "x" * 300]),
        ([0.5, float("nan"), 2.0], [3.0], [float("nan"), 3.0], [float("nan"), 3.0]),
        ([date(2026, 1, 1), date(2026, 2, 1)], [date(1999, 1, 1)], [date(1999, 1, 1)], [date(1999, 1, 1)]),
        ([True, False], [None], [False], [False]),
        ([2**62, -(2**62)], [0], [-(2**62)], [-(2**62)]),
    ],
)
def test_every_key_that_both_have_is_found(
    tmp_path: Path, first: list[object], second: list[object], batch: list[object], found: list[object]
) -> None:
    before = published(tmp_path, first, second)
    dtype = pl.Series(first).dtype
    lf = pl.LazyFrame({"key": pl.Series(batch, dtype=dtype), "_batch_id": "new"})
    lost = losers(lf, before, DedupRules(keys=("key",), keep="first"))
    assert lost.ours is not None
    assert sorted(map(str, lost.ours["key"])) == sorted(map(str, found))


def test_keys_of_several_columns_are_found_by_all_of_them(tmp_path: Path) -> None:
    before = published(tmp_path, [1, 2, 3], [1, 2, 3])
    lf = pl.LazyFrame({"key": [3, 1], "other": [2, 2], "_batch_id": "new"})
    lost = losers(lf, before, DedupRules(keys=("key", "other"), keep="last"))
    assert lost.theirs is not None
    assert lost.theirs.rows() == [(3, 2)]
    assert lost.hit == {"b0", "b1"}
