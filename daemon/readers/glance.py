"""The proof of a large file: one pass over its bytes before polars reads it, by its own kernels where there are quotes.

Used by the fast path. It is exact for the quotes of RFC 4180, or refuses; small files are counted by `structure.measure`.
"""

from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from daemon.readers.structure import LONGEST_FAST, bare_return

_BLOCK: Final = LONGEST_FAST // 2
"""Bytes: a record that is too long has such a block to itself."""
_HEAD: Final = 1 << 12
"""Bytes of a block among which the end of a record is looked for first: most blocks need no more."""
_LF, _CR = b"\n"[0], b"\r"[0]


class Glance(NamedTuple):
    """What the bytes of a file show. `trouble` says why its fast reading is not to be trusted, "" for nothing.

    `quoted`: that there are quotes.
    """

    trouble: str
    quoted: bool


def glance(path: Path, delimiter: bytes, quote: bytes, skip: int) -> Glance:
    """Look for trouble in the file at `path` after its first `skip` lines. It ends at the first trouble.

    UTF-8 is left to polars, which raises on what is none.
    """
    looking = _Looking(delimiter, quote)
    with path.open("rb", buffering=0) as file:
        trouble = bare_return(b"".join(file.readline() for _ in range(skip)))
        for window in _windows(file):
            trouble = trouble or looking.at(window)
            if trouble:
                break
    if looking.inside:
        trouble = trouble or "a quote that is not closed"
    return Glance(trouble, looking.quoted)


def delimiters_in(path: Path, delimiter: bytes, skip: int) -> int:
    """How many delimiters the file at `path` has after its first `skip` lines, those within quotes too."""
    with path.open("rb", buffering=0) as file:
        for _ in range(skip):
            file.readline()
        return sum(_count(_numbers(window)[1:-1] == delimiter[0]) for window in _windows(file))


def _windows(file: FileIO) -> Iterator[bytes]:
    """The rest of a file, block by block, each between the byte before and the byte after it.

    What ends a line stands for what is not there: a field may begin where the file does, and end where it does.
    """
    begin = file.tell()
    while True:
        if begin:
            file.seek(begin - 1)
            window = file.read(_BLOCK + 2)
        else:
            window = b"\n" + file.read(_BLOCK + 1)
        if len(window) < _BLOCK + 2:
            if len(window) > 1:
                yield window + b"\r"
            return
        yield window
        begin += _BLOCK


class _Looking:
    def __init__(self, delimiter: bytes, quote: bytes) -> None:
        self.quoted = False
        self.inside = 0
        self._delimiter = delimiter
        self._quote = quote

    def at(self, window: bytes) -> str:
        """Look at all bytes of `window` but the first and the last. Returns the trouble, "" for none."""
        if b"\0" in window:
            return "a NUL byte"
        if len(window) > _BLOCK and not self._ends_a_record(window):
            return "a record that does not end"
        quoted, returns = bool(self._quote) and self._quote in window, b"\r" in window
        if not quoted and not returns and self._delimiter:
            return ""
        values = _numbers(window)
        before, here, after = (values.slice(start, len(window) - 2) for start in range(3))
        if returns and ((here == _CR) & (after != _LF)).any():
            return "a carriage return that ends no line"
        if not self._delimiter and ((before == _LF) & ((here == _LF) | (here == _CR))).any():
            return "a blank line"
        return self._quotes(before, here, after) if quoted else ""

    def _quotes(self, before: pl.Series, here: pl.Series, after: pl.Series) -> str:
        """Every second quote opens and the others close: each must stand at an edge of its field, or be one of a pair."""
        quotes = here == self._quote[0]
        opening = before.filter(quotes).gather_every(2, self.inside)
        closing = after.filter(quotes).gather_every(2, 1 - self.inside)
        self.quoted = True
        self.inside ^= _count(quotes) % 2
        edges = self._quote + self._delimiter + b"\n"
        misplaced = _has_others(opening, edges) or _has_others(closing, edges + b"\r")
        return "a quote that neither opens nor closes a field" if misplaced else ""

    def _ends_a_record(self, window: bytes) -> bool:
        """Whether a line end stands outside quotes in `window`."""
        if not self._quote or self._quote not in window:
            return not self.inside and b"\n" in window
        inside = self.inside ^ window.startswith(self._quote)
        texts = (window[:_HEAD], window)
        return any(b"\n" in outside for text in texts for outside in text.split(self._quote)[inside::2])


def _numbers(window: bytes) -> pl.Series:
    """The bytes as numbers."""
    numbers: pl.Series = pl.Series([window], dtype=pl.Binary).cast(pl.List(pl.UInt8))[0]
    return numbers


def _count(truths: pl.Series) -> int:
    return int(truths.sum())


def _has_others(values: pl.Series, expected: bytes) -> bool:
    """Whether there are other values than the expected ones."""
    other = values != expected[0]
    for value in expected[1:]:
        other &= values != value
    return other.any()
