"""The footer of a Parquet file as plain values: read, and written again. Used by lake/relabelling and readers/parquetfiles.

Thrift's compact protocol without a schema: a struct is a dict of field number -> (type, value), a list a pair of element
type and values. What is read and not touched is written as it was.
"""

from pathlib import Path
from struct import pack, unpack
from typing import Any

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_LONG = 15

Struct = dict[int, tuple[int, Any]]


def read_footer(path: Path) -> Struct:
    """The file metadata of a Parquet file. Raises ValueError for one that has none, or that is encrypted or damaged."""
    with path.open("rb") as file:
        before = file.seek(0, 2) - 8
        file.seek(max(0, before))
        end = file.read()
        size, magic = unpack("<I4s", end) if len(end) == 8 else (0, b"")  # noqa: PLR2004 - as both take
        if magic != MAGIC or size > before:
            raise ValueError("it has no Parquet footer")
        file.seek(before - size)
        try:
            return parse(file.read(size))
        except RecursionError as error:
            raise ValueError("a Parquet footer that holds values within values without end") from error


def footer_bytes(footer: Struct) -> bytes:
    """How a file ends that has this metadata."""
    content = unparse(footer)
    return content + pack("<I4s", len(content), MAGIC)


def parse(content: bytes) -> Struct:
    """The struct that these bytes are. Raises ValueError where they are none."""
    return _Reader(content).struct()


def unparse(struct: Struct) -> bytes:
    """The bytes that a struct is."""
    parts = []
    before = 0
    for field, (kind, value) in struct.items():
        delta = field - before
        parts.append(
            bytes([delta << 4 | kind]) if 0 < delta <= _LONG else bytes([kind]) + _varint(field << 1)
        )
        if value is not None:
            parts.append(_written(kind, value))
        before = field
    return b"".join(parts) + b"\0"


class _Reader:
    """A place in the bytes of a footer."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def struct(self) -> Struct:
        found: Struct = {}
        field = 0
        while head := self._take(1)[0]:
            delta, kind = head >> 4, head & 0xF
            field = field + delta if delta else self.value(_INTEGERS[0])
            found[field] = kind, (None if kind in {_TRUE, _FALSE} else self.value(kind))
        return found

    def value(self, kind: int) -> Any:  # noqa: ANN401 - any of Thrift's values
        if kind in _INTEGERS:
            number = self._varint()
            return number >> 1 ^ -(number & 1)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in {_LIST, _SET}:
            return self._list()
        if kind == _DOUBLE:
            return self._take(8)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._take(1)
        raise ValueError(f"a Parquet footer has no values of type {kind}")

    def _take(self, count: int) -> bytes:
        self._at += count
        if self._at > len(self._content):
            raise ValueError("a Parquet footer that ends too soon")
        return self._content[self._at - count : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the last byte
                return number
            shift += 7

    def _list(self) -> tuple[int, list[Any]]:
        head = self._take(1)[0]
        count, kind = head >> 4, head & 0xF
        count = self._varint() if count == _LONG else count
        return kind, [self.value(kind) for _ in range(count)]


def _written(kind: int, value: Any) -> bytes:  # noqa: ANN401 - any of Thrift's values
    if kind in _INTEGERS:
        return _varint(value << 1 ^ value >> 63)
    if kind == _BINARY:
        return _varint(len(value)) + value  # type: ignore[no-any-return]
    if kind == _STRUCT:
        return unparse(value)
    if kind in {_LIST, _SET}:
        of, values = value
        count = len(values)
        head = bytes([count << 4 | of]) if count < _LONG else bytes([_LONG << 4 | of]) + _varint(count)
        return head + b"".join(_written(of, each) for each in values)
    return value  # type: ignore[no-any-return]


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
