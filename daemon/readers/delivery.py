"""The words between the readers and the pipeline: what goes in (sources) and what comes out (a delivery).

Plain data, but for `Delivery.unproved`, which compares what was written with what the fast path counted in the bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

SOURCE_FILE = "_source_file"
SOURCE_ROW = "_source_row"


class Source(NamedTuple):
    """A file to read: `name` becomes `_source_file`, `path` is where its bytes are."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    r"""A record set aside. `row` counts records from 1, `line` physical lines from 1, `byte_offset` bytes from 0.

    `kind` is a stable snake_case word; `raw` the text as it stood in the file (invalid bytes written as \\xNN).
    """

    source: str
    row: int
    line: int | None
    byte_offset: int | None
    kind: str
    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole file set aside: `kind` is a stable snake_case word, `reason` a sentence for the person who sent it."""

    source: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves that a fast-read table of `width` columns lost and padded nothing, its bytes being in order.

    Its `records` and the `delimiters` outside quotes were counted beforehand. A table without a short row has (width - 1)
    delimiters for each record, and polars raises on long rows.
    """

    width: int
    records: int
    delimiters: int

    def holds_for(self, rows: int) -> bool:
        """Whether `rows` written rows are what the bytes promise."""
        return self.records == rows and self.delimiters == rows * (self.width - 1)


@dataclass(frozen=True, slots=True)
class LateProof:
    """What proves the same of a large file, whose records were not counted beforehand: its quotes were found in order.

    No value of the last column may be that column's header, `last_header`, as it would be where the header comes again. Nor
    may one be empty, as in a row that polars padded, unless the `delimiters` tell that there is no such row: they are
    counted when that is asked. Without quotes, none of them is in a value.
    """

    columns: tuple[str, ...]
    delimiter: str
    last_header: str
    quoted: bool
    delimiters: Callable[[], int]

    def holds_for(self, written: pl.LazyFrame) -> bool:
        """Whether the rows of `written`, all that came of the file, are what its bytes promise."""
        last = pl.col(self.columns[-1])
        empty, again, rows = (
            written.select(
                (last == "").any(), (last == self.last_header).any().alias("again"), pl.len().alias("rows")
            )
            .collect()
            .row(0)
        )
        return rows > 0 and not again and (not empty or self._is_even(written, rows))

    def _is_even(self, written: pl.LazyFrame, rows: int) -> bool:
        """Whether none of the `rows` is short: polars raises on long ones, so that none can make up for another."""
        if not self.delimiter:
            return True
        quoted = 0
        if self.quoted:
            within = pl.col(self.columns).str.count_matches(self.delimiter, literal=True)
            quoted = written.select(pl.sum_horizontal(within.cast(pl.Int64).sum())).collect().item()
        return self.delimiters() - quoted == rows * (len(self.columns) - 1)


@dataclass(frozen=True)
class Delivery:
    """What reading some sources gave.

    `frames`: text columns (typed for Parquet, Arrow and Avro) + `_source_file` (String) + `_source_row` (Int64, the
    record's number in its file from 1, damaged records counted); to be concatenated diagonally, in this order.
    `size`: the bytes of text that they are made of, None where that is not known beforehand.
    `notes`: per source, how it was read and why. `headers`: the original header per source, where it differs from the
    column names. `parts`, per source: the other sheets of a workbook that hold a table, to be read by
    `ReaderOptions.sheet`.
    """

    frames: tuple[pl.LazyFrame, ...] = ()
    damaged: tuple[DamagedRecord, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    proofs: Mapping[str, Proof | LateProof] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    size: int | None = None

    def unproved(self, written: pl.LazyFrame, rows: Mapping[str, int]) -> frozenset[str]:
        """The sources whose fast reading is not proved to have lost or padded nothing, given what was written.

        `written` is a scan of what the frames became, with `_source_file`; `rows` counts them by that. Read those sources
        again as `careful`.
        """
        return frozenset(
            name
            for name, proof in self.proofs.items()
            if not (
                proof.holds_for(rows.get(name, 0))
                if isinstance(proof, Proof)
                else proof.holds_for(written.filter(pl.col(SOURCE_FILE) == name))
            )
        )


@dataclass(frozen=True)
class Reading:
    """What reading one source gave; `read_delivery` puts the readings of many together.

    `parts`: sheets of a workbook, besides the one that was read, that hold tables of their own.
    """

    frames: tuple[pl.LazyFrame, ...] = ()
    damaged: tuple[DamagedRecord, ...] = ()
    refused: Refusal | None = None
    note: str = ""
    header: tuple[str, ...] | None = None
    parts: tuple[str, ...] = ()
