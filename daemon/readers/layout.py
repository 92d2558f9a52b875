"""Where the table stands in a delimited file: what comes before it, its header, its width, the shapes of its columns.

`find_layout` is what the fast path and the careful reader know of a file before they read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from daemon.catalog.contract import ReaderOptions
from daemon.readers.dialect import Dialect
from daemon.readers.headers import column_names, numbered_names
from daemon.readers.lines import sample_lines
from daemon.readers.records import Record
from daemon.readers.shapes import EMPTY, TEXT, column_shape, is_year, misnames, shape_of
from daemon.readers.sniff import REMARKS, SampleReading, UnknownLayoutError, read_sample

_SAMPLE_LINES = 300
_SAMPLE_BYTES = 1 << 18
_JUDGED_RECORDS = 100
_MOST_HEADER_ROWS = 4
_FILLED_SHARE = 0.6
_MOST_PREAMBLE = 40


@dataclass(frozen=True)
class Layout:
    """What was found out about a delimited file.

    `skip` counts the physical lines before the first data record. `header` holds the names as they stand in the file
    (empty: there is none), `columns` the names made of them. `shapes` say what the columns' values look like.
    `surplus` blank fields may follow the last column. Lines that begin with `comment` are no records, those that
    begin with `remark` are none unless they have the table's width. `before` holds records of several fields that
    stand before the table and are no part of it. `lost_header` is too damaged to name the columns.
    """

    dialect: Dialect
    header: tuple[str, ...]
    columns: tuple[str, ...]
    skip: int
    shapes: tuple[str, ...] = ()
    surplus: int = 0
    comment: str = ""
    remark: str = ""
    before: tuple[Record, ...] = ()
    lost_header: Record | None = None
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What was found, in one line for people."""
        return "; ".join((str(self.dialect), *self.notes))

    @property
    def original_header(self) -> tuple[str, ...] | None:
        """The header as it stands in the file, when the columns are named otherwise."""
        return self.header if self.header and self.header != self.columns else None

    def breaks_shapes(self, fields: Sequence[str]) -> bool:
        """Whether `fields` look like names above the columns rather than like values in them."""
        return _Verdict(fields, self.shapes).header_like


class _Verdict:
    """Cells held against the shapes of the columns below them."""

    def __init__(self, cells: Sequence[str], shapes: Sequence[str]) -> None:
        self.telling = [
            (cell, shape) for cell, shape in zip(cells, shapes, strict=False) if shape not in (EMPTY, TEXT)
        ]
        found = [shape_of(cell) for cell, _ in self.telling]
        self.conforming = sum(
            look == shape and not (shape == "number" and is_year(cell))
            for look, (cell, shape) in zip(found, self.telling, strict=True)
        )
        self.breaking = sum(
            look != EMPTY and look != shape for look, (_, shape) in zip(found, self.telling, strict=True)
        )

    @property
    def header_like(self) -> bool:
        """More cells break the shape of their column than keep it."""
        return self.breaking > 0 and self.breaking >= self.conforming

    @property
    def value_like(self) -> bool:
        """More cells keep the shape of their column than break it."""
        return self.conforming > self.breaking

    @property
    def another_header_row(self) -> bool:
        """Every telling cell, and there are several, is filled and breaks its column's shape."""
        return len(self.telling) > 1 and self.breaking == len(self.telling)


def find_layout(path: Path, options: ReaderOptions) -> Layout:
    """How the UTF-8 file at `path` is written. Raises UnknownLayoutError when the evidence does not tell."""
    lines, _ = sample_lines(path, _SAMPLE_LINES + options.skip_lines, _SAMPLE_BYTES)
    return locate_table(read_sample(lines[options.skip_lines :], options), options)


def locate_table(reading: SampleReading, options: ReaderOptions) -> Layout:
    """Where the table stands among the records of `reading`. Raises UnknownLayoutError when it cannot be told."""
    return _Table(reading, options).layout()


class _Table:
    """A sample of records, looked at for the table in it."""

    def __init__(self, reading: SampleReading, options: ReaderOptions) -> None:
        self._dialect = reading.dialect
        self._records = reading.records
        self._width = reading.width
        self._options = options
        if not self._width:
            raise UnknownLayoutError("unknown_dialect", "every line has a quote out of place")

    def layout(self) -> Layout:
        """The layout of the file this sample begins."""
        top = self._top()
        base = Layout(
            self._dialect,
            (),
            numbered_names(self._width),
            self._records[top].line - 1,
            shapes=self._shapes,
            comment=self._options.comment or "",
            remark=self._remark(top),
            before=self._before(top),
            notes=(f"{top} lines before the table",) if top else (),
        )
        if "header" in self._options.model_fields_set and not self._options.header:
            return replace(base, skip=self._options.skip_lines, notes=("no header, says the contract",))
        verdict = _Verdict(self._records[top].fields, self._shapes)
        if top and verdict.value_like and self._is_damaged_header(self._records[top - 1]):
            base = replace(base, before=base.before[:-1])
        forced = "header" in self._options.model_fields_set
        if not forced and top and verdict.value_like and self._is_damaged_header(self._records[top - 1]):
            return self._with_damaged_header(base, self._records[top - 1])
        if not forced and self._has_no_header(top, verdict):
            return self._without_header(base)
        return self._with_header(base, top)

    @cached_property
    def _body(self) -> list[list[str]]:
        """The whole records of the table's width, the first few left out if there are enough."""
        whole = [record.fields for record in self._records if len(record.fields) == self._width]
        return whole[min(_MOST_HEADER_ROWS, len(whole) // 2) :][:_JUDGED_RECORDS]

    @cached_property
    def _shapes(self) -> tuple[str, ...]:
        return tuple(column_shape(column) for column in zip(*self._body, strict=True))

    def _top(self) -> int:
        """Where the table begins: the first record of its width that is filled as a header or a data record is."""
        right = [place for place, record in enumerate(self._records) if len(record.fields) == self._width]
        needed = min(self._width, max(2, int(self._width * _FILLED_SHARE)))
        for place in right[:_MOST_PREAMBLE]:
            if sum(bool(cell.strip()) for cell in self._records[place].fields) >= needed:
                first = self._records[right[0]]
                if place != right[0] and _Verdict(self._records[place].fields, self._shapes).value_like:
                    return right[0] if _Verdict(first.fields, self._shapes).breaking else place
                return place
        return right[0]

    def _remark(self, top: int) -> str:
        """How lines above the table begin that are meant for people, "" when there are none such."""
        starts = [record.raw for record in self._records[:top]]
        return next((mark for mark in REMARKS if any(raw.startswith(mark) for raw in starts)), "")

    def _before(self, top: int) -> tuple[Record, ...]:
        """Records above the table that are more than titles and notes: they are set aside, not passed over."""
        return tuple(record for record in self._records[:top] if not self._is_note(record))

    def _is_note(self, record: Record) -> bool:
        """Whether the record is a line of text above the table: nothing stands behind its first field."""
        if self._options.comment is None and record.raw.startswith(REMARKS):
            return True
        return record.flaw is None and not any(cell.strip() for cell in record.fields[1:])

    def _has_no_header(self, top: int, verdict: _Verdict) -> bool:
        """Whether the first record is data: it keeps the columns' shapes, or its texts come again below it."""
        if verdict.telling:
            return verdict.value_like
        first = self._records[top].fields
        again = sum(
            bool(cell) and cell in column
            for cell, column in zip(first, zip(*self._body, strict=True), strict=True)
        )
        return len(self._body) > 1 and again > len(first) / 2

    def _without_header(self, base: Layout) -> Layout:
        """The table begins with its first record of the right width, however sparsely that is filled."""
        first = next(place for place, record in enumerate(self._records) if len(record.fields) == self._width)
        notes = (f"{first} lines before the table",) if first else ()
        return replace(
            base,
            skip=self._records[first].line - 1,
            before=self._before(first),
            notes=(*notes, "no header: the first record looks like the others"),
        )

    def _is_damaged_header(self, record: Record) -> bool:
        if record.flaw is not None:
            return True
        if len(record.fields) == self._width:
            return False
        return len(self._names_in(record)) > 1 and not _Verdict(record.fields, self._shapes).value_like

    def _names_in(self, record: Record) -> list[str]:
        return [cell for cell in record.fields if cell.strip()]

    def _with_header(self, base: Layout, top: int) -> Layout:
        rows = [self._records[top]]
        for record in self._records[top + 1 : top + _MOST_HEADER_ROWS]:
            same_width = len(record.fields) == self._width
            if not same_width or not self._continues_header(rows[-1].fields, record.fields):
                break
            rows.append(record)
        parts = [row.fields if row is rows[-1] else _spread(row.fields, rows[-1].fields) for row in rows]
        if top and self._spans_columns(self._records[top - 1], rows[0]):
            parts.insert(0, _spread(self._records[top - 1].fields, rows[0].fields))
            base = replace(base, before=base.before[:-1])
        header = tuple(" ".join(filter(None, map(str.strip, names))) for names in zip(*parts, strict=True))
        last = rows[-1].last_line
        where = (
            f"header in line {last - len(parts) + 1} to {last}"
            if len(parts) > 1
            else f"header in line {last}"
        )
        return self._named(base, header if len(parts) > 1 else tuple(rows[0].fields), last, where)

    def _continues_header(self, header: Sequence[str], below: Sequence[str]) -> bool:
        """Whether the row `below` a header row is one too: no value in it, or it names what merged cells leave open."""
        if _Verdict(below, self._shapes).another_header_row:
            return True
        open_places = [place for place, name in enumerate(header) if not name.strip()]
        filled = [place for place, cell in enumerate(below) if cell.strip()]
        return (
            bool(open_places)
            and set(open_places) <= set(filled)
            and len(filled) < self._width
            and not any(_Verdict([below[place]], [self._shapes[place]]).conforming for place in filled)
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
        where = f"header in line {record.line}"
        if record.flaw is None and self._is_short_of_blanks(record.fields):
            width = len(record.fields)
            named = self._named(
                base,
                tuple(record.fields),
                record.last_line,
                f"warning: {where} is shorter than the records, which end in blanks",
            )
            return replace(named, surplus=self._width - width, shapes=self._shapes[:width])
        literal = self._dialect.parse_literally(record.raw)
        for repaired, why in self._repairs(record, literal):
            if len(repaired) == self._width:
                return self._named(
                    base, tuple(repaired), record.last_line, f"warning: {where} repaired, {why}"
                )
        if record.flaw is None and len(record.fields) > self._width:
            raise UnknownLayoutError(
                "header_damaged",
                f"the header (line {record.line}) names {len(record.fields)} columns, the records have {self._width}; "
                "correct the header, or the records that lack fields",
            )
        names = self._placed_names(literal if record.flaw else record.fields)
        header = tuple(name or numbered for name, numbered in zip(names, base.columns, strict=True))
        doubt = f"warning: the {where} is damaged and set aside; columns it does not name for certain are numbered"
        return replace(base, columns=column_names(header), lost_header=record, notes=(*base.notes, doubt))

    def _placed_names(self, names: list[str]) -> list[str]:
        """The names of a header that lost one delimiter, each at its column if that is certain, "" where it is not.

        Wherever the delimiter was lost, the names before it count from the left and those after it from the right;
        places where a name would then stand over values it does not speak of are ruled out.
        """
        unknown = [""] * self._width
        if len(names) != self._width - 1:
            return unknown
        torn = [
            place for place, name in enumerate(names) if self._dialect.quote and self._dialect.quote in name
        ]
        readings = [[*names[:lost], "", "", *names[lost + 1 :]] for lost in torn or range(len(names))]
        possible = [reading for reading in readings if not any(map(misnames, reading, self._shapes))]
        return [found[0] if len(set(found)) == 1 else "" for found in zip(*possible, strict=True)] or unknown

    def _repairs(self, record: Record, literal: list[str]) -> list[tuple[list[str], str]]:
        repairs = [(literal, "a quote out of place taken as text")] if record.flaw is not None else []
        repairs.append((self._names_in(record), "empty names left out"))
        repairs += [
            (parsed, f"written with another delimiter ({mark!r})")
            for mark in (",", ";", "\t", "|", " ")
            if isinstance(parsed := replace(self._dialect, delimiter=mark).parse(record.raw), list)
        ]
        return repairs

    def _is_short_of_blanks(self, header: list[str]) -> bool:
        """Whether the header is whole although the records are wider: they go on with nothing but blanks.

        A header that lost a delimiter looks the same, but its names stand over the wrong columns.
        """
        width = len(header)
        if width > self._width or any(
            cell.strip() for record in self._records for cell in record.fields[width:]
        ):
            return False
        quote = self._dialect.quote
        return not any(
            misnames(name, shape) or (quote and quote in name)
            for name, shape in zip(header, self._shapes, strict=False)
        )


def _spread(fields: Sequence[str], below: Sequence[str]) -> list[str]:
    """The fields, an empty one above a name filled with what stands to its left: the names of merged cells."""
    spread: list[str] = []
    left = ""
    for cell, name in zip(fields, below, strict=True):
        left = cell if cell.strip() else left
        spread.append(left if name.strip() else cell)
    return spread


__all__ = ["Layout", "UnknownLayoutError", "find_layout", "locate_table"]
