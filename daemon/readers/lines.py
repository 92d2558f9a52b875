"""Physical lines of a UTF-8 text file with their number and byte offset, with any line ends, even mixed.

Invalid bytes come through as lone surrogates (`surrogateescape`), so that one bad byte costs one record. Used by the
careful reader, the sniffer and the JSON reader.
"""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

BOM = "\ufeff"
_LEAST_LINES = 4
_MOST_SAMPLE = 1 << 26


class Line(NamedTuple):
    """One physical line: `text` without and `end` with its line end; `number` from 1, `offset` in bytes from 0."""

    text: str
    end: str
    number: int
    offset: int


class Lines:
    """A stream of lines in which one can look ahead. `passed` lines of `characters` characters were taken from it."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._ahead: deque[Line] = deque()
        self.passed = 0
        self.characters = 0

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.passed += 1
        self.characters += len(line.text)
        return line

    def ahead(self, place: int) -> Line | None:
        """The line that comes after `place` others, None behind the last one."""
        self._ahead.extend(islice(self._lines, place + 1 - len(self._ahead)))
        return self._ahead[place] if place < len(self._ahead) else None


def read_lines(path: Path, original: str = "utf-8") -> Iterator[Line]:
    """The lines of the UTF-8 file at `path`. Offsets are those of the same text in the encoding `original`."""
    offset = 0
    with path.open("rb") as raw, io.TextIOWrapper(raw, "utf-8", errors="surrogateescape", newline="") as text:
        for number, line in enumerate(text, 1):
            yield _line(line, number, offset)
            offset += len(line) if line.isascii() and original == "utf-8" else size_in(line, original)


def sample_lines(path: Path, most_lines: int, most_bytes: int) -> tuple[list[Line], bool]:
    """The first lines of a file, without a last one that was cut off, and whether they are the whole file.

    Where the first lines are longer than `most_bytes`, there are a few of them all the same.
    """
    with path.open("rb") as file:
        head = file.read(most_bytes)
        while (
            head.count(b"\n") < _LEAST_LINES and len(head) < _MOST_SAMPLE and (more := file.read(len(head)))
        ):
            head += more
        whole = not file.read(1)
    text = io.StringIO(head.decode("utf-8", "surrogateescape"), newline="")
    lines = [_line(line, number, 0) for number, line in enumerate(islice(text, most_lines), 1)]
    whole = whole and not text.read(1)
    return (lines, True) if whole or len(lines) == 1 else (lines[:-1], False)


def _line(line: str, number: int, offset: int) -> Line:
    bare = line[:-2] if line.endswith("\r\n") else line[:-1] if line[-1] in "\r\n" else line
    return Line(bare.removeprefix(BOM) if number == 1 else bare, line[len(bare) :], number, offset)


def size_in(text: str, encoding: str) -> int:
    """How many bytes `text` takes in `encoding`, bytes that were invalid counted as they were."""
    try:
        return len(text.encode(encoding, "surrogateescape"))
    except UnicodeEncodeError:
        return len(text.encode(encoding, "replace"))


def printable(raw: str) -> str:
    r"""`raw` as it can be stored: bytes that were invalid are written as \xNN."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
