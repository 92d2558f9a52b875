"""Workbooks opened through calamine, every sheet as rows of text as a person sees them. Used by excel.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from daemon.readers.cells import facts_reader
from daemon.readers.facts import SheetFacts
from daemon.readers.foreign import spoken

Value = int | float | str | bool | time | date | datetime | timedelta
Row = tuple[str | None, ...]
_MOST_PLACES = 25
"""Zeros that a number may begin or end with before it is written with an exponent."""


@dataclass(frozen=True)
class Sheet:
    """A sheet: its rows with their numbers in the sheet, empty rows and columns left out, and what is odd about its cells.

    `merged` are the rows, first and last, of cells merged over several of them.
    """

    name: str
    rows: Sequence[tuple[int, Row]] = ()
    is_visible: bool = True
    facts: SheetFacts = field(default_factory=SheetFacts)
    merged: Sequence[tuple[int, int]] = ()
    flaw: str | None = None


def read_sheets(path: Path, only: str | None) -> Iterator[Sheet]:
    """Every worksheet, or the one named `only`; one that cannot be read has a `flaw`. Raises CalamineError."""
    with path.open("rb") as file:  # not by its path: calamine would believe the name's ending
        workbook = CalamineWorkbook.from_filelike(file)
    facts_of = facts_reader(path)
    for about in workbook.sheets_metadata:
        if about.typ in (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet) and only in (None, about.name):
            is_visible = about.visible == SheetVisibleEnum.Visible
            try:
                sheet = workbook.get_sheet_by_name(about.name)
            except CalamineError as error:
                yield Sheet(about.name, is_visible=is_visible, flaw=spoken(error))
                continue
            facts = facts_of(about.name)
            yield Sheet(about.name, _rows(sheet, facts), is_visible, facts, _merged(sheet))


def _merged(sheet: CalamineSheet) -> list[tuple[int, int]]:
    ranges = sheet.merged_cell_ranges or []
    return [(first[0] + 1, last[0] + 1) for first, last in ranges if first[0] != last[0]]


def _rows(sheet: CalamineSheet, facts: SheetFacts) -> list[tuple[int, Row]]:
    """The rows that are not empty, with their numbers from 1."""
    if sheet.start is None:
        return []
    top, left = sheet.start
    columns: list[list[str | None]] = []
    for place, cells in enumerate(zip(*sheet.to_python(skip_empty_area=True), strict=True), left):
        values = _texts(cells)
        for row, text in facts.texts.get(place, {}).items():
            if top <= row < top + len(values) and values[row - top] is not None:
                values[row - top] = text
        if any(value is not None and value.strip() for value in values):
            columns.append(values)
    rows = enumerate(zip(*columns, strict=True), top + 1)
    return [(number, row) for number, row in rows if any(cell is not None and cell.strip() for cell in row)]


def _texts(cells: Sequence[Value]) -> list[str | None]:
    """A column's values as text; days without a midnight that no cell of the column is without."""
    timed = any(isinstance(cell, datetime) and cell.time() != time() for cell in cells)
    return [_text(cell, timed=timed) for cell in cells]


def _text(cell: Value, *, timed: bool) -> str | None:
    if isinstance(cell, str):
        text = _unwidened(cell)
    elif isinstance(cell, bool):
        text = str(cell).lower()
    elif isinstance(cell, float):
        text = _number(cell)
    elif isinstance(cell, date):
        text = _moment(cell) if timed else cell.isoformat()[:10]
    elif isinstance(cell, timedelta):
        text = _duration(cell)
    else:
        text = _trimmed(str(cell))
    return text or None


def _unwidened(text: str) -> str:
    """Text without the zero bytes that calamine leaves in texts of two bytes a character in some old files (xls)."""
    return text[::2] if "\0" in text and not text[1::2].strip("\0") else text


def _moment(cell: date) -> str:
    moment = cell if isinstance(cell, datetime) else datetime.combine(cell, time())
    return _trimmed(moment.isoformat(" "))


def _number(value: float) -> str:
    """All digits of a number, without an exponent where that is not longer than anybody could read."""
    exact = Decimal(int(value) if value.is_integer() and abs(value) < 1 << 53 else repr(value))
    return f"{exact:f}" if abs(exact.adjusted()) <= _MOST_PLACES else repr(value)


def _duration(value: timedelta) -> str:
    seconds = abs(value)
    hours, rest = divmod(seconds, timedelta(hours=1))
    sign = "-" if value < timedelta() else ""
    return f"{sign}{hours}{_trimmed(str(rest)[1:])}"


def _trimmed(moment: str) -> str:
    """A moment without zeros behind its last digit of a second."""
    return moment.rstrip("0") if "." in moment else moment
