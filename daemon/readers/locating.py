"""Where the table stands in a delimited file: what comes before it, and which lines are its header.

`find_layout` is asked by reading.py for a file, `locate_table` by excel.py for the records of a sheet.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, dropwhile, islice, takewhile
from pathlib import Path

from daemon.catalog.contract import ReaderOptions
from daemon.readers.evidence import USUAL, SampleReading
from daemon.readers.headerrepair import DamagedHeader
from daemon.readers.headers import column_names, numbered_names
from daemon.readers.layout import Layout, Verdict
from daemon.readers.lines import read_lines, sample_lines
from daemon.readers.records import Record
from daemon.readers.shapes import TEXT, column_shape, is_year, shape_of
from daemon.readers.sniff import REMARKS, UnknownLayoutError, read_sample

_SAMPLE_LINES = 300
_SAMPLE_BYTES = 1 << 18
_JUDGED_RECORDS = 100
_MOST_HEADER_ROWS = 4
_FILLED_SHARE = 0.6
_MOST_PREAMBLE = 40
_BODY_TO_TELL = 3
_TELLING_WIDTH = 3
"""A line that another delimiter splits into so many fields, as many as the table has, is no title."""
_MOST_COLUMNS = 100_000
"""What Polars does with a column it does for each: of more, a few rows take minutes and gigabytes."""


def find_layout(path: Path, options: ReaderOptions) -> Layout:
    """How the UTF-8 file at `path` is written. Raises UnknownLayoutError when the evidence does not tell."""
    skip = options.skip_lines if options.begins_at is None else _lines_before(path, options.begins_at)
    lines, _ = sample_lines(path, _SAMPLE_LINES + skip, _SAMPLE_BYTES)
    return locate_table(read_sample(lines[skip:], options), options)


def _lines_before(path: Path, beginning: str) -> int:
    """How many lines stand before the first one that begins so. Raises UnknownLayoutError where none does."""
    for line in read_lines(path):
        if line.text.startswith(beginning):
            return line.number - 1
    raise UnknownLayoutError("no_such_table", f"no line begins with {beginning!r} (reader.begins_at)")


def _lines_above(records: Sequence[Record]) -> str:
    lines = sum(record.last_line - record.line + 1 for record in records)
    return f"{lines} {'line' if lines == 1 else 'lines'} before the table"


def locate_table(reading: SampleReading, options: ReaderOptions) -> Layout:
    """Where the table stands among the records of `reading`. Raises UnknownLayoutError when it cannot be told."""
    return _Table(reading, options).layout()


class _Table:
    """A sample of records, looked at for the table in it."""

    def __init__(self, reading: SampleReading, options: ReaderOptions) -> None:
        self._dialect = reading.dialect
        self._records = reading.records
        self._width = reading.width
        self._damaged = reading.damaged
        self._options = options
        if not self._width:
            raise UnknownLayoutError("unknown_dialect", "every line has a quote out of place")
        if self._width > _MOST_COLUMNS:
            raise UnknownLayoutError(
                "too_wide", f"it has {self._width:,} columns; at most {_MOST_COLUMNS:,} make a table here"
            )

    def layout(self) -> Layout:
        """The layout of the file this sample begins."""
        if "header" in self._options.model_fields_set and not self._options.header:
            return self._without_header("no header, says the contract")
        top = self._top()
        first = self._records[top]
        verdict = Verdict(first.fields, self._shapes)
        forced = "header" in self._options.model_fields_set
        if not forced and top and not verdict.header_like and self._is_damaged_header(self._records[top - 1]):
            return self._with_damaged_header(self._base(top - 1, first.line - 1), self._records[top - 1])
        if not forced and self._has_no_header(top, verdict):
            return self._without_header("no header: the first record looks like the others")
        return self._with_header(top)

    def _base(self, top: int, skip: int) -> Layout:
        """The layout of a table that begins at record `top`, without a header yet."""
        above = self._records[:top]
        starts = [record.raw for record in above]
        return Layout(
            self._dialect,
            (),
            numbered_names(self._width),
            skip,
            shapes=self._shapes,
            comment=self._options.comment or "",
            most_damaged=self._options.most_damaged,
            remark=next((mark for mark in REMARKS if any(raw.startswith(mark) for raw in starts)), ""),
            before=tuple(dropwhile(self._is_note, above)),  # below a record nothing is a title any more
            notes=(self._evidence, *((_lines_above(above),) if above else ())),
        )

    @property
    def _evidence(self) -> str:
        """What speaks for the dialect."""
        even = len(self._records) - self._damaged
        return f"{even} of the first {len(self._records)} records have {self._width} fields"

    @cached_property
    def _body(self) -> list[list[str]]:
        """The records that tell what the columns hold: those of the first table, without titles and its first few rows."""
        rows = self._first_rows(without_repeats=True)
        if len(rows) == 1:
            rows = self._first_rows(without_repeats=False)
        first_few = min(_MOST_HEADER_ROWS, len(rows) // 2) or int(len(self._records) > 1)
        return [row.fields for row in rows[first_few:][:_JUDGED_RECORDS]]

    def _first_rows(self, *, without_repeats: bool) -> list[Record]:
        """As many rows of the first table as are looked at; those like its first one are left out `without_repeats`."""
        rows: list[Record] = []
        for record in self._records:
            names = islice(filter(None, map(str.strip, record.fields)), 2)
            if len(record.fields) != self._width or len(list(names)) < min(2, self._width):
                continue
            if without_repeats and rows and record.unmarked == rows[0].fields:
                continue
            ends = len(rows) >= _BODY_TO_TELL and record.line > rows[-1].last_line + 1
            if ends or len(rows) >= _MOST_HEADER_ROWS + _JUDGED_RECORDS:
                break
            rows.append(record)
        return rows

    @cached_property
    def _in_use(self) -> int:
        """How many columns are not blank from top to bottom, as those are that a spreadsheet writes past the last one."""
        rows = [record.fields for record in self._records if len(record.fields) == self._width]
        if any(all(map(str.strip, cells)) for cells in rows):
            return self._width
        return sum(any(map(str.strip, cells)) for cells in zip(*rows, strict=True))

    def _is_filled(self, record: Record) -> bool:
        needed = min(self._in_use, max(2, int(self._in_use * _FILLED_SHARE)))
        return len(record.fields) == self._width and len(self._names_in(record)) >= needed

    @cached_property
    def _shapes(self) -> tuple[str, ...]:
        columns = zip(*self._body, strict=True) if self._body else [()] * self._width
        return tuple(map(column_shape, columns))

    def _top(self) -> int:
        """Where the table begins: the first record of its width that is filled as a header or a data record is."""
        remarks = len(list(takewhile(lambda record: record.raw.startswith(REMARKS), self._records)))
        start = remarks if 1 < remarks < len(self._records) else 0
        right = [place for place, record in enumerate(self._records) if len(record.fields) == self._width]
        right = [place for place in right if place >= start] or right
        upper = right[:_MOST_PREAMBLE]
        named = (place for place in upper if len(self._names_in(self._records[place])) > 1)
        filled = (place for place in upper if self._is_filled(self._records[place]))
        place = next(filled, next(named, right[0]))
        if place == right[-1]:
            return right[
                0
            ]  # a header below which nothing stands is the only record: it must not be passed over
        if place != right[0] and right[0] and not self._is_note(self._records[right[0] - 1]):
            return right[0]  # what stands above it is a header, damaged: the record is sparse, and no title
        if place != right[0] and Verdict(self._records[place].fields, self._shapes).value_like:
            return right[0] if Verdict(self._records[right[0]].fields, self._shapes).breaking else place
        return place

    def _is_note(self, record: Record) -> bool:
        """Whether the record is a line of text above the table: nothing stands behind its first field."""
        if self._options.comment is None and record.raw.startswith(REMARKS):
            return True
        if record.flaw is not None or any(cell.strip() for cell in record.fields[1:]):
            return False
        marks = set(USUAL) - {self._dialect.delimiter}
        others = (replace(self._dialect, delimiter=mark).parse(record.raw) for mark in marks)
        return self._width < _TELLING_WIDTH or not any(
            isinstance(fields, list) and len(fields) == self._width for fields in others
        )

    def _has_no_header(self, top: int, verdict: Verdict) -> bool:
        """Whether the first record is data: it keeps the columns' shapes, or its texts come again below it."""
        if verdict.telling:
            return verdict.value_like
        first, *others = [
            record.fields for record in self._records[top:] if len(record.fields) == self._width
        ]
        again = sum(
            bool(cell) and cell in column
            for cell, column in zip(first, zip(*others, strict=True), strict=False)
        )
        return len(others) > 1 and again > len(first) / 2

    def _without_header(self, why: str) -> Layout:
        """The table begins with its first record of the right width, however sparsely that is filled."""
        first = next(place for place, record in enumerate(self._records) if len(record.fields) == self._width)
        base = self._base(first, self._records[first].line - 1)
        return replace(base, notes=(*base.notes, why))

    def _is_damaged_header(self, record: Record) -> bool:
        if record.flaw is not None:
            return True
        if len(record.fields) == self._width:
            return False
        if Verdict(record.fields, self._shapes).value_like:
            return False
        header = DamagedHeader(record, self._dialect, self._width, self._shapes)
        return len(self._names_in(record)) > 1 or header.repaired() is not None

    def _names_in(self, record: Record) -> list[str]:
        return [cell for cell in record.fields if cell.strip()]

    def _with_header(self, top: int) -> Layout:
        rows = [self._records[top]]
        for record in self._records[top + 1 : top + _MOST_HEADER_ROWS]:
            same_width = len(record.fields) == self._width
            if not same_width or not self._continues_header(rows[-1].fields, record.fields):
                break
            rows.append(record)
        if top and self._spans_columns(self._records[top - 1], rows[0]):
            top -= 1
            rows.insert(0, self._records[top])
        last = rows[-1].last_line
        base = self._base(top, last)
        if len(rows) == 1:
            named = self._named(base, tuple(rows[0].fields), last, f"header in line {last}")
            return replace(named, surplus=self._blanks_past_the_last(last))
        parts = [_spread(row.fields, rows[-1].fields) for row in rows[:-1]] + [rows[-1].fields]
        header = tuple(" ".join(filter(None, map(str.strip, names))) for names in zip(*parts, strict=True))
        return self._named(base, header, last, f"warning: header in lines {rows[0].line} to {last}, joined")

    def _blanks_past_the_last(self, header: int) -> int:
        """How many blank fields every record below line `header` has past the last column."""
        past = [
            record.fields[self._width :]
            for record in self._records
            if record.line > header and record.flaw is None
        ]
        return min(map(len, past), default=0) if not any(map(str.strip, chain(*past))) else 0

    def _continues_header(self, header: Sequence[str], below: Sequence[str]) -> bool:
        """Whether the row `below` a header row is one too: no value in it, or it names what merged cells leave open."""
        if "header" in self._options.model_fields_set:
            return False  # the contract says that there is one
        if len(self._body) >= _BODY_TO_TELL and Verdict(below, self._shapes).another_header_row:
            return True
        open_places = [place for place, name in enumerate(header) if not name.strip()]
        filled = [place for place, cell in enumerate(below) if cell.strip()]
        return (
            bool(open_places)
            and len(self._body) >= _BODY_TO_TELL
            and set(open_places) <= set(filled)
            and len(filled) < self._width
            and not any(Verdict([below[place]], [self._shapes[place]]).conforming for place in filled)
        )

    def _spans_columns(self, above: Record, header: Record) -> bool:
        """Whether `above` holds names over groups of columns: some of its fields are filled, none is a value."""
        filled = self._names_in(above)
        return (
            above.last_line == header.line - 1
            and len(above.fields) == self._width
            and len(filled) > 1
            and all(shape_of(cell) == TEXT or is_year(cell) for cell in filled)
        )

    def _named(self, base: Layout, header: tuple[str, ...], skip: int, where: str) -> Layout:
        return replace(
            base, header=header, columns=column_names(header), skip=skip, notes=(*base.notes, where)
        )

    def _with_damaged_header(self, base: Layout, record: Record) -> Layout:
        """The layout when the line above the data is a header of another width or with a quote out of place."""
        header = DamagedHeader(record, self._dialect, self._width, self._shapes)
        where = f"header in line {record.line}"
        if header.is_short_of_blanks(self._records):
            width = len(record.fields)
            doubt = f"warning: {where} is shorter than the records, which end in blanks"
            named = self._named(base, tuple(record.fields), record.last_line, doubt)
            return replace(named, surplus=self._width - width, shapes=self._shapes[:width])
        if (repaired := header.repaired()) is not None:
            names, how = repaired
            return self._named(base, tuple(names), record.last_line, f"warning: {where} repaired, {how}")
        if record.flaw is None and len(record.fields) > self._width:
            raise UnknownLayoutError(
                "header_damaged",
                f"the header (line {record.line}) names {len(record.fields)} columns, the records have {self._width}; "
                "correct the header, or the records that lack fields",
            )
        placed = zip(header.placed_names(), base.columns, strict=True)
        columns = column_names([name or numbered for name, numbered in placed])
        doubt = f"warning: the {where} is damaged and set aside; columns it does not name for certain are numbered"
        return replace(base, columns=columns, lost_header=record, notes=(*base.notes, doubt))


def _spread(fields: Sequence[str], below: Sequence[str]) -> list[str]:
    """The fields, an empty one above a name filled with what stands to its left: the names of merged cells."""
    spread: list[str] = []
    left = ""
    for cell, name in zip(fields, below, strict=True):
        left = cell if cell.strip() else left
        spread.append(left if name.strip() else cell)
    return spread
