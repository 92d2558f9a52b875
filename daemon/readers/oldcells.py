"""What calamine does not tell of an xls file's cells (codes with their zeros, errors), from its records. Used by cells.py.

Only what is asked for is understood of the formats: [MS-CFB] for the streams of the file, [MS-XLS] for the records.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daemon.readers.facts import ERRORS, SheetFacts, packed_number
from daemon.readers.numberformats import shows_codes

_FREE = 0xFFFFFFFA
"""Sector numbers from here on are marks, not sectors."""
_STREAM, _ROOT = 2, 5
_BOUNDSHEET, _FORMAT, _OLD_FORMAT, _XF, _BOF, _EOF = 0x85, 0x41E, 0x1E, 0xE0, 0x809, 0x0A
_NUMBER, _RK, _MULRK, _BOOLERR, _FORMULA = 0x203, 0x27E, 0xBD, 0x205, 0x06
_BIFF8 = 0x600
_WIDE = 1


class OldWorkbook:
    """An xls file. Raises ValueError, IndexError, struct.error where it is not as it should be."""

    def __init__(self, path: Path) -> None:
        self._stream = _Streams(path.read_bytes()).named("Workbook", "Book")
        self._book = _Book()
        for kind, body in _records(self._stream, 0):
            self._book.take(kind, body)
        self._codes = self._book.codes

    def facts(self, sheet: str) -> SheetFacts:
        """What is known of a sheet. Raises KeyError where there is none, struct.error where a record is cut short."""
        facts = SheetFacts()
        for kind, body in _records(self._stream, self._book.sheets[sheet]):
            _take_cell(facts, self._codes, kind, body)
        return facts


class _Streams:
    """The streams in a compound file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._size = 1 << struct.unpack_from("<H", content, 30)[0]
        self._small_size = 1 << struct.unpack_from("<H", content, 32)[0]
        directory, self._cutoff, first_small, _, more, _ = struct.unpack_from("<I4xIIIII", content, 48)
        places = list(struct.unpack_from("<109I", content, 76))
        while more < _FREE:
            *further, more = struct.unpack(f"<{self._size // 4}I", self._sector(more))
            places += further
        self._next = self._table(b"".join(self._sector(place) for place in places if place < _FREE))
        self._small_next = self._table(self._chain(first_small))
        self._entries: dict[str, tuple[int, int]] = {}
        listing = self._chain(directory)
        for start in range(0, len(listing) - 127, 128):
            length, kind, first, size = struct.unpack_from("<HB49xII", listing, start + 64)
            name = listing[start : start + max(0, length - 2)].decode("utf-16-le")
            if kind == _ROOT:
                self._small = self._chain(first)
            elif kind == _STREAM:
                self._entries[name.lower()] = (first, size)

    def named(self, *names: str) -> bytes:
        """The first stream of these names. Raises ValueError without one."""
        for name in names:
            if name.lower() in self._entries:
                first, size = self._entries[name.lower()]
                if size >= self._cutoff:
                    return self._chain(first)[:size]
                return self._small_chain(first)[:size]
        raise ValueError(f"there is no stream {names[0]}")

    def _sector(self, place: int) -> bytes:
        start = (place + 1) * self._size
        return self._content[start : start + self._size]

    def _table(self, content: bytes) -> tuple[int, ...]:
        return struct.unpack(f"<{len(content) // 4}I", content[: len(content) // 4 * 4])

    def _chain(self, place: int) -> bytes:
        return b"".join(self._sector(one) for one in _linked(place, self._next))

    def _small_chain(self, place: int) -> bytes:
        size = self._small_size
        return b"".join(
            self._small[one * size : (one + 1) * size] for one in _linked(place, self._small_next)
        )


def _linked(place: int, following: tuple[int, ...]) -> Iterator[int]:
    """The places of a chain. Raises ValueError where it bites its tail."""
    for _ in range(len(following) + 1):
        if place >= _FREE:
            return
        yield place
        place = following[place]
    raise ValueError("a chain of sectors has no end")


def _records(stream: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The records of the part of the stream that begins at `start`; of parts in it (charts), none."""
    depth = 0
    while start + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, start)
        depth += (kind == _BOF) - (kind == _EOF)
        if depth == 0:
            return
        if depth == 1:
            yield kind, stream[start + 4 : start + 4 + length]
        start += 4 + length


@dataclass
class _Book:
    """What stands before the sheets: where they begin, number formats, and the formats of styles."""

    sheets: dict[str, int] = field(default_factory=dict)
    _is_new: bool = True
    _formats: dict[int, str] = field(default_factory=dict)
    _styles: list[int] = field(default_factory=list)

    def take(self, kind: int, body: bytes) -> None:
        """Note what a record says."""
        if kind == _BOF:
            self._is_new = struct.unpack_from("<H", body)[0] >= _BIFF8
        elif kind == _BOUNDSHEET:
            self.sheets[self._text(body[6:], 1)] = struct.unpack_from("<I", body)[0]
        elif kind in (_FORMAT, _OLD_FORMAT):
            number = struct.unpack_from("<H", body)[0]
            self._formats[number] = self._text(body[2:], 2 if self._is_new else 1)
        elif kind == _XF:
            self._styles.append(struct.unpack_from("<H", body, 2)[0])

    @property
    def codes(self) -> Mapping[int, str]:
        """The styles that show codes, with their formats."""
        found = {style: self._formats.get(number, "") for style, number in enumerate(self._styles)}
        return {style: code for style, code in found.items() if shows_codes(code)}

    def _text(self, body: bytes, length_bytes: int) -> str:
        length = int.from_bytes(body[:length_bytes], "little")
        rest = body[length_bytes:]
        if not self._is_new:
            return rest[:length].decode("cp1252", "replace")
        if rest[0] & _WIDE:
            return rest[1 : 1 + 2 * length].decode("utf-16-le", "replace")
        return rest[1 : 1 + length].decode("latin-1")


def _take_cell(facts: SheetFacts, codes: Mapping[int, str], kind: int, body: bytes) -> None:
    """Note what a record says of cells."""
    if kind == _BOOLERR:
        row, column, _, value, is_error = struct.unpack_from("<HHHBB", body)
        if is_error:
            facts.add_error(row, column, ERRORS.get(value, "?"))
    elif kind == _FORMULA:
        row, column, style, result = struct.unpack_from("<HHH8s", body)
        if result[6:] != b"\xff\xff":
            facts.add_number(row, column, struct.unpack("<d", result)[0], codes.get(style))
        elif result[0] == 2:  # noqa: PLR2004 - the mark of an error
            facts.add_error(row, column, ERRORS.get(result[2], "?"))
    elif kind == _NUMBER:
        row, column, style, value = struct.unpack_from("<HHHd", body)
        facts.add_number(row, column, value, codes.get(style))
    elif kind == _RK:
        row, column, style, packed = struct.unpack_from("<HHHI", body)
        facts.add_number(row, column, packed_number(packed), codes.get(style))
    elif kind == _MULRK:
        row, first = struct.unpack_from("<HH", body)
        for place, (style, packed) in enumerate(struct.iter_unpack("<HI", body[4:-2])):
            facts.add_number(row, first + place, packed_number(packed), codes.get(style))
