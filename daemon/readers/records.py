"""Lines become records of one dialect; a line that breaks the grammar costs only itself.

Used by the sniffer on a sample and by the careful reader on a whole file.
"""

from collections.abc import Iterator
from typing import NamedTuple

from daemon.readers.dialect import Dialect, Flaw
from daemon.readers.lines import Line, Lines

_MOST_LINES = 1_000
_MOST_CHARACTERS = 1 << 22


class Record(NamedTuple):
    """`fields`, or the `flaw` that kept the line from being a record; `raw` is the text without its last line end.

    `line` and `offset` are where it begins, `last_line` where it ends. A blank line is a record with no fields.
    """

    fields: list[str]
    flaw: Flaw | None
    raw: str
    line: int
    offset: int
    last_line: int


def split_records(lines: Lines, dialect: Dialect, comment: str = "") -> Iterator[Record]:
    """The records in `lines`. Lines that begin with `comment` (when given) are passed over."""
    quote = dialect.quote
    for line in lines:
        if comment and line.text.startswith(comment):
            continue
        if not line.text or (line.text.isspace() and not dialect.delimiter.isspace()):
            yield Record([], None, line.text, line.number, line.offset, line.number)
        elif quote and quote in line.text:
            yield _quoted(line, lines, dialect)
        else:
            fields = line.text.split(dialect.delimiter) if dialect.delimiter else [line.text]
            yield Record(fields, None, line.text, line.number, line.offset, line.number)


def _quoted(first: Line, lines: Lines, dialect: Dialect) -> Record:
    """The record that begins at `first`, over as many lines as its quotes span."""
    parsed = dialect.parse(first.text)
    if parsed is Flaw.STRAY_QUOTE:
        return Record([], parsed, first.text, first.number, first.offset, first.number)
    if not isinstance(parsed, Flaw):
        return Record(parsed, None, first.text, first.number, first.offset, first.number)
    taken: list[Line] = []
    parts = [first.text, first.end]
    size = len(first.text)
    for line in lines:
        taken.append(line)
        parts.append(line.text)
        size += len(line.text)
        if dialect.quote in line.text:
            raw = "".join(parts)
            parsed = dialect.parse(raw)
            if parsed is not Flaw.OPEN_QUOTE:
                break
        if len(taken) >= _MOST_LINES or size > _MOST_CHARACTERS:
            break
        parts.append(line.end)
    if isinstance(parsed, Flaw):
        lines.put_back(taken)
        return Record([], Flaw.OPEN_QUOTE, first.text, first.number, first.offset, first.number)
    return Record(parsed, None, "".join(parts), first.number, first.offset, taken[-1].number)
