"""Rows made in Python become lazy frames of text columns, batch by batch: the last stays in memory, full ones spill.

Used by the careful, JSON and Excel readers. Memory is bounded by one batch, whatever the file's size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from daemon.readers.delivery import SOURCE_FILE, SOURCE_ROW

_MOST_ROWS = 100_000
_MOST_CELLS = 2_000_000


class _Batches:
    """The frames of one source; full batches are written to `scratch` as Arrow files named after `stem`."""

    def __init__(self, source: str, scratch: Path, stem: str) -> None:
        self._source = source
        self._scratch = scratch
        self._stem = stem
        self._frames: list[pl.LazyFrame] = []

    def finish(self, columns: list[pl.Series], numbers: list[int], *, spill: bool) -> None:
        """Take one batch: `columns` of text, `numbers` the record numbers, all of one length."""
        frame = pl.DataFrame(
            [
                *columns,
                pl.repeat(self._source, len(numbers), dtype=pl.String, eager=True).alias(SOURCE_FILE),
                pl.Series(SOURCE_ROW, numbers, pl.Int64),
            ]
        )
        if spill:
            path = self._scratch / f"{self._stem}-{len(self._frames)}.arrow"
            frame.write_ipc(path, compression="lz4")
            self._frames.append(pl.scan_ipc(path, glob=False, hive_partitioning=False))
        else:
            self._frames.append(frame.lazy())

    @property
    def frames(self) -> tuple[pl.LazyFrame, ...]:
        return tuple(self._frames)


class RowWriter:
    """Rows of one source with the same columns: one text value (None: null) per column."""

    def __init__(self, source: str, columns: Sequence[str], scratch: Path, stem: str) -> None:
        self._batches = _Batches(source, scratch, stem)
        self._columns = tuple(columns)
        self._limit = max(1, min(_MOST_ROWS, _MOST_CELLS // max(1, len(self._columns))))
        self._rows: list[Sequence[str | None]] = []
        self._numbers: list[int] = []

    def add(self, number: int, row: Sequence[str | None]) -> None:
        """Take the row that is record `number` of the source."""
        self._rows.append(row)
        self._numbers.append(number)
        if len(self._rows) >= self._limit:
            self._flush(spill=True)

    def _flush(self, *, spill: bool) -> None:
        values = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._columns)
        columns = [
            pl.Series(name, column, pl.String) for name, column in zip(self._columns, values, strict=True)
        ]
        self._batches.finish(columns, self._numbers, spill=spill)
        self._rows, self._numbers = [], []

    def frames(self) -> tuple[pl.LazyFrame, ...]:
        """All rows taken, in order; at least one frame, so that an empty table keeps its columns."""
        if self._rows or not self._batches.frames:
            self._flush(spill=False)
        return self._batches.frames


class RecordWriter:
    """Records of one source whose keys may differ; a key that a record does not have is null there."""

    def __init__(self, source: str, scratch: Path, stem: str) -> None:
        self._batches = _Batches(source, scratch, stem)
        self._records: list[Mapping[str, str | None]] = []
        self._numbers: list[int] = []
        self._keys: dict[str, None] = {}

    def add(self, number: int, record: Mapping[str, str | None]) -> None:
        """Take record `number` of the source."""
        self._records.append(record)
        self._numbers.append(number)
        self._keys.update(dict.fromkeys(record))
        if len(self._records) >= _MOST_ROWS or len(self._records) * len(self._keys) >= _MOST_CELLS:
            self._flush(spill=True)

    def _flush(self, *, spill: bool) -> None:
        columns = [
            pl.Series(key, [record.get(key) for record in self._records], pl.String) for key in self._keys
        ]
        self._batches.finish(columns, self._numbers, spill=spill)
        self._records, self._numbers, self._keys = [], [], {}

    def frames(self) -> tuple[pl.LazyFrame, ...]:
        """All records taken, in order."""
        if self._records:
            self._flush(spill=False)
        return self._batches.frames
