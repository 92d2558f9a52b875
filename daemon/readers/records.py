"""Lines become records of one dialect; a line that breaks the grammar costs only itself.

Used by the sniffer on a sample and by the careful reader on a whole file.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from daemon.readers.dialect import Dialect, Flaw
from daemon.readers.lines import BOM, Line, Lines

_MOST_LINES = 1_000
LONGEST = 1 << 22
"""The most characters a record may have."""


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

    @property
    def unmarked(self) -> list[str]:
        """The fields without a byte order mark before them, which stands where a file was put behind another one."""
        return [self.fields[0].removeprefix(BOM), *self.fields[1:]] if self.fields else []


def split_records(lines: Lines, dialect: Dialect, comment: str = "") -> Iterator[Record]:
    """The records in `lines`. Lines that begin with `comment` (when given) are passed over."""
    quote = dialect.quote
    quotes = _OpenQuotes(lines, dialect)
    for line in lines:
        if comment and line.text.startswith(comment):
            continue
        if not line.text or (line.text.isspace() and not dialect.delimiter.isspace()):
            yield Record([], None, line.text, line.number, line.offset, line.number)
        elif quote and quote in line.text:
            parsed = dialect.parse(line.text)
            if parsed is Flaw.OPEN_QUOTE:
                yield quotes.record_from(line)
            elif isinstance(parsed, Flaw):
                yield Record([], parsed, line.text, line.number, line.offset, line.number)
            else:
                yield Record(parsed, None, line.text, line.number, line.offset, line.number)
        else:
            yield record_of(line, dialect)


def record_of(line: Line, dialect: Dialect) -> Record:
    """A line without quotes as a record."""
    text = line.text
    fields = text.split(dialect.delimiter) if dialect.delimiter else [text]
    return Record(fields, None, text, line.number, line.offset, line.number)


class _OpenQuotes:
    """Finds where quotes that a line leaves open are closed, and looks at each line ahead only once for it.

    A line within quotes leads to the same end whichever line before it opened them, so what was found out about it for one
    holds for the next. Lines are counted as `Lines` passes them.
    """

    def __init__(self, lines: Lines, dialect: Dialect) -> None:
        self._lines = lines
        self._dialect = dialect
        self._open = 0
        """Quotes that were open at the end of a line before this one are open at its end."""
        self._characters = 0
        """How many characters the lines up to this one have."""
        self._broken = 0
        """Quotes that were open before this line come to a quote out of place in it."""

    def record_from(self, first: Line) -> Record:
        """The record that begins with `first`, which was passed just now and leaves quotes open."""
        lines = self._lines
        if lines.passed > self._open:
            self._open, self._characters = lines.passed, lines.characters
        if lines.passed >= self._broken:
            while (following := self._following()) is not None:
                if self._dialect.quote in following.text:
                    parsed = self._dialect.parse(self._dialect.quote + following.text)
                    if isinstance(parsed, list):
                        return self._closed(first)
                    if parsed is Flaw.STRAY_QUOTE:
                        self._broken = self._open + 1
                        break
                self._open += 1
                self._characters += len(following.text)
        return Record([], Flaw.OPEN_QUOTE, first.text, first.number, first.offset, first.number)

    def _following(self) -> Line | None:
        """The first line that is not known to leave the quotes open; None at the end and where a record is too long."""
        place = self._open - self._lines.passed
        line = self._lines.ahead(place) if place < _MOST_LINES else None
        too_long = line and self._characters - self._lines.characters + len(line.text) > LONGEST
        return None if too_long else line

    def _closed(self, first: Line) -> Record:
        parts = [first.text]
        last = first
        for line in islice(self._lines, self._open + 1 - self._lines.passed):
            parts += (last.end, line.text)
            last = line
        raw = "".join(parts)
        fields = self._dialect.parse(raw)
        assert isinstance(fields, list), fields  # noqa: S101 - each of its lines was parsed on its own
        return Record(fields, None, raw, first.number, first.offset, last.number)
