"""An index of keys spares the reading of files, and never hides a key that both have."""

import errno
import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from daemon.catalog.contract import DedupRules
from daemon.catalog.promotion import LayerFile
from daemon.pipeline import key_index
from daemon.pipeline.dedup import Published, losers

RULE = DedupRules(keys=("key",), keep="first")


@pytest.fixture(autouse=True)
def _small_files_are_indexed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_ROWS", range(1, 1000))
    monkeypatch.setattr(key_index, "_PAYS", 0)


def layer_file(folder: Path, batch: str, frame: pl.DataFrame) -> LayerFile:
    path = folder / f"{batch}.parquet"
    frame.with_columns(_batch_id=pl.lit(batch)).write_parquet(path)
    content = path.read_bytes()
    return LayerFile(batch, path.name, len(frame), len(content), hashlib.sha256(content).hexdigest())


def published(folder: Path, *columns: Sequence[object]) -> Published:
    files = [
        layer_file(folder, f"b{number}", pl.DataFrame({"key": values}))
        for number, values in enumerate(columns)
    ]
    return Published(folder, tuple(files), 2, folder / "index/main/t")


def shared(before: Published, keys: Sequence[object] | pl.Series, rule: DedupRules = RULE) -> list[object]:
    """The keys of a batch that published rows have too."""
    lost = losers(pl.LazyFrame({"key": keys, "_batch_id": "new"}), before, rule)
    return [] if lost.ours is None else sorted(lost.ours["key"].to_list(), key=str)


def indexed(before: Published) -> int:
    return len(list(before.index.glob("*.keys")))


def index_all(before: Published, keys: Sequence[object]) -> None:
    """Let one batch after the other find files without an index."""
    for _ in before.files:
        shared(before, keys)
    assert indexed(before) == len(before.files)


@pytest.mark.parametrize(
    ("first", "second", "strange"),
    [
        (range(100), range(100, 200), -1),
        ([None, *range(50)], [2**62, -(2**62)], 77),
        (["a", "", "é", None], ["b", "x" * 300], "ß"),
        ([date(2026, 1, 1)], [date(1999, 1, 1), None], date(2000, 1, 1)),
        (
            [datetime(2026, 1, 1, 12, 30, tzinfo=UTC)],
            [datetime(2026, 1, 1, tzinfo=UTC)],
            datetime(1, 1, 1, tzinfo=UTC),
        ),
        ([Decimal("1.10"), Decimal("-0.01")], [Decimal("1.20")], Decimal("1.30")),
    ],
)
def test_every_key_that_both_have_is_found_with_indexes_as_without(
    tmp_path: Path, first: Sequence[object], second: Sequence[object], strange: object
) -> None:
    before = published(tmp_path, first, second)
    index_all(before, [strange])
    assert shared(before, [strange]) == []
    for key in (*first, *second):
        assert shared(
            before, pl.Series([key, strange], dtype=pl.DataFrame({"key": first}).schema["key"])
        ) == [key]


def test_a_file_that_cannot_hold_a_key_is_not_read(tmp_path: Path) -> None:
    before = published(tmp_path, range(100), range(100, 200))
    index_all(before, [-1])
    (tmp_path / "b1.parquet").unlink()
    assert shared(before, [50, 1000]) == [50]
    with pytest.raises(FileNotFoundError):
        shared(before, [150])


def test_each_batch_makes_one_index_at_most_and_removes_those_of_files_that_are_gone(tmp_path: Path) -> None:
    before = published(tmp_path, range(10), range(10, 20), range(20, 30))
    shared(before, [-1])
    assert indexed(before) == 1
    shared(before, [-1])
    assert indexed(before) == 2
    left = replace(before, files=before.files[1:])
    shared(left, [-1])
    assert {path.name[:64] for path in left.index.iterdir()} == {file.sha256 for file in left.files}


def test_an_index_counts_for_the_content_it_was_made_of_alone(tmp_path: Path) -> None:
    before = published(tmp_path, [1, 2, 3])
    index_all(before, [-1])
    rewritten = replace(before, files=(layer_file(tmp_path, "b0", pl.DataFrame({"key": [1, 2, 4]})),))
    assert shared(rewritten, [4]) == [4]
    assert shared(rewritten, [3]) == []


@pytest.mark.parametrize("torn", [b"", b"\0", b"\0" * 33])
def test_an_index_that_is_not_whole_is_not_asked_and_made_again(tmp_path: Path, torn: bytes) -> None:
    before = published(tmp_path, [1, 2, 3])
    index_all(before, [-1])
    (path,) = before.index.iterdir()
    whole = path.read_bytes()
    path.write_bytes(torn)
    assert shared(before, [3]) == [3]
    assert path.read_bytes() == whole


def test_without_room_for_an_index_all_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_temporary: Path, final: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(final))

    monkeypatch.setattr(key_index, "publish", full)
    before = published(tmp_path, [1, 2, 3])
    assert shared(before, [3, 9]) == [3]
    assert list(before.index.iterdir()) == []


def test_a_file_of_other_types_has_no_index_and_is_read(tmp_path: Path) -> None:
    files = (
        layer_file(tmp_path, "b0", pl.DataFrame({"key": [1, 2]})),
        layer_file(tmp_path, "b1", pl.DataFrame({"other": [1]})),
    )
    before = Published(tmp_path, files, 2, tmp_path / "index")
    assert shared(before, [None, 2]) == [2, None]
    for _ in range(2):
        assert shared(before, [None, 7]) == [None]
    assert [path.name[:64] for path in before.index.iterdir()] == [files[0].sha256]


def test_floats_have_no_index_since_zero_and_minus_zero_are_one_key(tmp_path: Path) -> None:
    before = published(tmp_path, [0.0, float("nan")])
    assert shared(before, [-0.0]) == [0.0]
    assert not before.index.exists()


def test_keys_of_several_columns_meet_only_as_a_whole(tmp_path: Path) -> None:
    rule = DedupRules(keys=("key", "part"), keep="first")
    frame = pl.DataFrame({"key": ["a", "b", None], "part": [1, None, None]})
    before = Published(tmp_path, (layer_file(tmp_path, "b0", frame),), 2, tmp_path / "index")

    def meet(key: str | None, part: int | None) -> bool:
        batch = pl.LazyFrame({"key": [key], "part": [part]}, schema={"key": pl.String, "part": pl.Int64})
        return losers(batch.with_columns(_batch_id=pl.lit("new")), before, rule).ours is not None

    for _ in range(2):
        assert [meet("a", 1), meet("b", None), meet(None, None)] == [True] * 3
        assert [meet("a", None), meet("b", 1), meet(None, 1)] == [False] * 3
    assert indexed(before) == 1


def test_a_large_file_is_sorted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = published(tmp_path, range(500))
    index_all(before, [-1])
    (whole,) = [path.read_bytes() for path in before.index.iterdir()]
    monkeypatch.setattr(key_index, "_PART", 70)
    monkeypatch.setattr(key_index, "_SLICE", 30)
    next(before.index.iterdir()).unlink()
    index_all(before, [-1])
    assert [path.read_bytes() for path in before.index.iterdir()] == [whole]


def test_whatever_comes_and_goes_no_key_is_overlooked(tmp_path: Path) -> None:
    chance = random.Random(5)
    known: dict[str, set[int]] = {}
    before = Published(tmp_path, (), 2, tmp_path / "index")
    for turn in range(20):
        keys = chance.sample(range(400), 12)
        there = set().union(*known.values()) if known else set()
        assert shared(before, keys) == sorted(there & set(keys), key=str)
        batch = f"b{chance.randrange(9)}"  # new, rewritten with other rows, or merged from several
        known[batch] = set(keys) | (known.pop(f"b{chance.randrange(9)}", set()) if turn % 3 else set())
        file = layer_file(tmp_path, batch, pl.DataFrame({"key": sorted(known[batch])}))
        kept = [old for old in before.files if old.batch_id in known and old.batch_id != batch]
        before = replace(before, files=(*kept, file))
    assert indexed(before) > 1
