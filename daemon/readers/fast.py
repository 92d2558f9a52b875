"""The fast path: clean files of one header and dialect share one polars scan, each with a proof to be checked.

`FastScans.offer` takes a file if its bytes can be proved; `FastScans.frames` makes one lazy frame per group.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from daemon.readers.delivery import SOURCE_FILE, SOURCE_ROW, LateProof, Proof, Source
from daemon.readers.glance import delimiters_in, glance
from daemon.readers.layout import Layout
from daemon.readers.structure import measure

_PATH = "__path"
_INDEX = "__index"
_COUNTED_BELOW = 4 << 20
"""Files below this many bytes have their lines counted beforehand and share a scan; a larger one has its own."""


@dataclass
class _Group:
    layout: Layout
    sources: list[Source] = field(default_factory=list)
    records: list[int] = field(default_factory=list)


class FastScans:
    """The fast-read files of one delivery, grouped by what one scan can read together; `size` is their bytes."""

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], _Group] = {}
        self.proofs: dict[str, Proof | LateProof] = {}
        self.size = 0

    def offer(self, source: Source, layout: Layout, size: int) -> bool:
        """Take `source` (of `size` bytes) if its bytes promise a clean table; False sends it to the careful reader."""
        dialect = layout.dialect
        if not dialect.plain or layout.comment or layout.surplus or layout.before or layout.lost_header:
            return False
        shared = size < _COUNTED_BELOW
        proof = _counted(source, layout) if shared else _late(source, layout)
        if proof is None:
            return False
        key: tuple[object, ...] = (layout.columns, dialect, layout.skip, None if shared else source.name)
        group = self._groups.setdefault(key, _Group(layout))
        group.sources.append(source)
        group.records.append(proof.records if isinstance(proof, Proof) else 0)
        self.proofs[source.name] = proof
        self.size += size
        return True

    def frames(self) -> Iterator[pl.LazyFrame]:
        """One lazy frame per group: the columns as text, `_source_file` and `_source_row`."""
        return (_scan(group) for group in self._groups.values())


def _counted(source: Source, layout: Layout) -> Proof | None:
    """The proof of a small file; None for trouble."""
    dialect = layout.dialect
    found = measure(source.path, dialect.delimiter.encode(), dialect.quote.encode(), layout.skip)
    proof = Proof(len(layout.columns), found.lines, found.delimiters)
    return proof if not found.trouble and proof.holds_for(found.lines) else None


def _late(source: Source, layout: Layout) -> LateProof | None:
    """The proof of a large file; None for trouble."""
    delimiter, quote = layout.dialect.delimiter.encode(), layout.dialect.quote.encode()
    seen = glance(source.path, delimiter, quote, layout.skip)
    if seen.trouble:
        return None
    last_header = (layout.original_header or layout.columns)[-1] if layout.header else "\0"
    return LateProof(
        layout.columns,
        layout.dialect.delimiter,
        last_header,
        seen.quoted,
        partial(delimiters_in, source.path, delimiter, layout.skip),
    )


def _scan(group: _Group) -> pl.LazyFrame:
    layout = group.layout
    alone = len(group.sources) == 1
    paths = [str(source.path) for source in group.sources]
    rows = pl.scan_csv(
        paths,
        has_header=False,
        skip_lines=layout.skip,
        schema=dict.fromkeys(layout.columns, pl.String()),
        separator=layout.dialect.delimiter or "\x01",
        quote_char=layout.dialect.quote or None,
        empty_string_is_null=False,
        glob=False,
        row_index_name=_INDEX,
        include_file_paths=None if alone else _PATH,
    )
    number = pl.col(_INDEX).cast(pl.Int64) + 1
    if alone:
        return rows.select(
            *layout.columns, pl.lit(group.sources[0].name).alias(SOURCE_FILE), number.alias(SOURCE_ROW)
        )
    names = pl.lit(pl.Series([source.name for source in group.sources]))
    records = pl.Series(group.records, dtype=pl.Int64)
    place = pl.col(_PATH).cast(pl.Enum(paths)).to_physical()
    before = pl.lit(records.cum_sum() - records).gather(place)
    return rows.select(
        *layout.columns, names.gather(place).alias(SOURCE_FILE), (number - before).alias(SOURCE_ROW)
    )
