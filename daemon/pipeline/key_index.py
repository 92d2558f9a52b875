"""Which published files may hold a key of a batch, told without reading them: each large one has an index of its keys.

Used by dedup. Derived, never the truth: an index only says where a key certainly is not. A file that it suspects is read,
and so is one without an index, or whose index is not as it should be; it may be deleted at any time and is made again.

An index is a bitmap of the keys' hashes, one bit each, by which most are told apart at one look, then all the hashes,
sorted, for those that are not. Its name says of which content (the layer file's SHA-256), by which columns, types and hash
function it was made: an index is never stale, it is just asked for no more.
"""

import hashlib
import mmap
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

import polars as pl

from daemon.catalog.promotion import LayerFile
from daemon.lake.durable import make_directories, publish, remove_tree, temporary_beside
from daemon.pipeline.key_hash import key_hash
from daemon.pipeline.writing import DATA_ERRORS

_ROWS: Final = range(50_000, 1 << 25)
"""Rows of a file that is worth an index, and whose index is made in seconds and little memory."""
_PAYS: Final = 16
"""Looking one key up takes as long as reading so many rows: of more keys than that pays for, all is read."""
_PART: Final = 1 << 23
"""Hashes that are sorted at once (64 MB): of a larger file those of one range of hashes after the other."""
_SLICE: Final = 1 << 20
_WIDTH: Final = 8
_HASHES: Final = 1 << 64

_Places = Callable[[int], list[tuple[int, int, int]]]
"""Of every key its byte in a bitmap of so many bits, the bit in that, and its hash."""


class KeyIndex:
    """The indexes in `folder` of a table's files by the columns `types`, of these types, whose hash is `number`."""

    def __init__(self, folder: Path, types: Mapping[str, pl.DataType], number: pl.Expr) -> None:
        self._folder = folder
        self._types = {name: types[name] for name in sorted(types)}
        self._number = number
        # another version of Polars may hash otherwise
        known = pl.select(text=pl.lit("medalliond").hash(), number=pl.lit(1).hash()).row(0)
        made_by = ([(name, str(dtype)) for name, dtype in self._types.items()], known, sys.byteorder)
        self._mark = hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]

    @classmethod
    def of(cls, folder: Path, batch: pl.LazyFrame, keys: Sequence[str]) -> Self | None:
        """The indexes by the keys of a batch; None where equal keys of their types may have different hashes."""
        schema = batch.collect_schema()
        number = key_hash(schema, sorted(keys))
        return None if number is None else cls(folder, {name: schema[name] for name in keys}, number)

    def suspects(self, batch: pl.LazyFrame, folder: Path, files: Sequence[LayerFile]) -> list[LayerFile]:
        """Those of the `files` in `folder` that may hold a key of the batch. One that lacks an index is given it.

        One a call, so that the batch which comes after a compaction does not pay for all.
        """
        keys = batch.select(pl.len()).collect().item()
        worth_it = {file.name for file in files if file.rows in _ROWS and file.rows > _PAYS * keys}
        if not worth_it:  # a large batch: its hashes would cost more than they save
            return list(files)
        hashes = self._hashes(batch).to_list()
        places = cache(lambda bits: [(*_place(value, bits), value) for value in hashes])
        found, missing = [], []
        for file in files:
            answer = self._may_hold(file, places) if file.name in worth_it else True
            if answer is None:
                missing.append(file)
            if answer is not False:
                found.append(file)
        with suppress(
            *DATA_ERRORS
        ):  # a full disk, say: without an index it is as it was before there were any
            self._make_one(folder, missing, files)
        return found

    def _may_hold(self, file: LayerFile, places: _Places) -> bool | None:
        """Whether a file may hold one of the keys; None where there is no index to tell."""
        bits = _bits(file.rows)
        size = 1 << bits - 3
        with (
            suppress(OSError, ValueError),  # there is none; or it is empty
            self._path(file).open("rb") as index,
            mmap.mmap(index.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            if len(mapped) == size + file.rows * _WIDTH:
                likely = [value for at, bit, value in places(bits) if mapped[at] & bit]
                with memoryview(mapped) as content, content[size:] as rest, rest.cast("Q") as known:
                    return any(_holds(known, value) for value in likely)
        return None

    def _make_one(self, folder: Path, missing: Sequence[LayerFile], files: Sequence[LayerFile]) -> None:
        """Index the first of the missing files with the batch's key columns; remove what nobody asks for any more."""
        for file in missing:
            schema = pl.read_parquet_schema(folder / file.name)
            if all(schema.get(name) == dtype for name, dtype in self._types.items()):
                self._make(folder / file.name, self._path(file), file.rows)
                wanted = {self._path(standing).name for standing in files}
                for path in self._folder.iterdir():
                    if path.name not in wanted:
                        remove_tree(path)
                return

    def _make(self, path: Path, final: Path, rows: int) -> None:
        """Index a file; durable before it has its name, for a torn one would hide keys."""
        bits = _bits(rows)
        bitmap = bytearray(1 << bits - 3)
        make_directories(final.parent)
        with temporary_beside(final) as temporary:
            with temporary.open("xb") as file:
                file.write(bitmap)
                for hashes in self._ascending(pl.scan_parquet(path, glob=False), rows):
                    array("Q", hashes).tofile(file)
                    for value in hashes:
                        at, bit = _place(value, bits)
                        bitmap[at] |= bit
                file.seek(0)
                file.write(bitmap)
            publish(temporary, final)

    def _ascending(self, lf: pl.LazyFrame, rows: int) -> Iterator[list[int]]:
        """The hashes of a file's keys in order, in handy slices."""
        parts = -(-rows // _PART)
        width = _HASHES // parts + 1
        for part in range(parts):
            ends = (part * width, min((part + 1) * width, _HASHES) - 1)
            hashes = self._hashes(lf, *ends).sort()
            for begin in range(0, len(hashes), _SLICE):
                yield hashes.slice(begin, _SLICE).to_list()

    def _hashes(self, lf: pl.LazyFrame, least: int = 0, greatest: int = _HASHES - 1) -> pl.Series:
        """The hashes of the rows' keys from `least` to `greatest`."""
        low, high = (pl.lit(end, dtype=pl.UInt64) for end in (least, greatest))
        return lf.select(hash=self._number).filter(pl.col("hash").is_between(low, high)).collect().to_series()

    def _path(self, file: LayerFile) -> Path:
        return self._folder / f"{file.sha256}-{self._mark}.keys"


def _bits(rows: int) -> int:
    """How many bits of a hash are its place in the bitmap of so many rows: one of 16 to 32 places is taken."""
    return (16 * rows).bit_length()


def _place(value: int, bits: int) -> tuple[int, int]:
    """The byte of a hash in a bitmap, and the bit in that."""
    place = value >> 64 - bits
    return place >> 3, 1 << (place & 7)


def _holds(known: Sequence[int], value: int) -> bool:
    """Whether ascending hashes have this one."""
    at = bisect_left(known, value)
    return at < len(known) and known[at] == value
