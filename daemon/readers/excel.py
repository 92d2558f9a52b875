"""Workbooks (xlsx, xlsm, xlsb, xls, ods) through calamine, a sheet at a time: the first with a table, or the one asked for.

The header is found below titles and notes as in a delimited file. Codes keep the zeros that their format shows.
"""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fastexcel
import polars as pl

from daemon.catalog.contract import ReaderOptions
from daemon.readers.compressed import unsound
from daemon.readers.delivery import Reading, Refusal, Source
from daemon.readers.dialect import Dialect
from daemon.readers.errorcells import error_cells
from daemon.readers.foreign import UnreadableError, unreadable_as
from daemon.readers.frames import RowWriter
from daemon.readers.layout import Layout, locate_table
from daemon.readers.records import Record
from daemon.readers.sniff import SampleReading, UnknownLayoutError
from daemon.readers.zeropadding import padded_cells

Row = tuple[str | None, ...]

_SAMPLE_ROWS = 300
_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[ T]00:00:00")


@dataclass(frozen=True)
class _Sheet:
    """A sheet: its place in the workbook, its rows with their row numbers, empty rows and columns left out."""

    name: str
    place: int
    rows: Sequence[tuple[int, Row]]
    is_visible: bool


def read_excel(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """One sheet as text, empty and error cells null. `_source_row` counts the rows below the header.

    The first sheet with a table, or the one the contract names; the others with a table are named in `parts`.
    """
    refusal = unsound(source) if zipfile.is_zipfile(source.path) else None
    if refusal is not None:
        return Reading(refused=refusal)
    try:
        with unreadable_as("this workbook"):
            sheets = _sheets(source, options)
    except UnreadableError as error:
        kind = "encrypted" if "password" in str(error) else "unreadable"
        return _refused(source, kind, str(error))
    if options.sheet is not None and not sheets:
        return _refused(
            source, "no_such_sheet", f"there is no sheet {options.sheet!r} (reader.sheet) in this workbook"
        )
    wanted = [sheet for sheet in sheets if sheet.rows and (sheet.is_visible or options.sheet)]
    if not wanted:
        return _refused(source, "empty", "no visible sheet of this workbook holds a row")
    tables = [sheet for sheet in wanted if _is_table(sheet, options)]
    main = (tables or wanted)[0]
    try:
        layout = _layout(main.rows, options)
    except UnknownLayoutError as error:
        return _refused(source, error.kind, f"sheet {main.name!r}: {error}")
    notes = [f"sheet {main.name!r}", *layout.notes, *_about_others(main, tables, sheets)]
    errors = error_cells(source.path, main.place)
    writer = RowWriter(source.name, layout.columns, scratch, stem)
    reading = _reading(main.rows, layout, "; ".join([*notes, *([errors] if errors else [])]), writer)
    return replace(reading, parts=tuple(sheet.name for sheet in tables if sheet is not main))


def _sheets(source: Source, options: ReaderOptions) -> list[_Sheet]:
    """All sheets, or the one the contract names."""
    workbook = fastexcel.read_excel(source.path)
    sheets = []
    for place, name in enumerate(workbook.sheet_names):
        if options.sheet in (None, name):
            sheet = workbook.load_sheet(name, header_row=None, dtypes="string")
            rows = _rows(sheet.to_polars(), padded_cells(source.path, place))
            sheets.append(_Sheet(name, place, rows, sheet.visible == "visible"))
    return sheets


def _is_table(sheet: _Sheet, options: ReaderOptions) -> bool:
    """Whether a sheet has a header of more than one column, and a row below it."""
    try:
        layout = _layout(sheet.rows, options)
    except UnknownLayoutError:
        return False
    return len(layout.columns) > 1 and any(number > layout.skip for number, _ in sheet.rows)


def _about_others(main: _Sheet, tables: Sequence[_Sheet], sheets: Sequence[_Sheet]) -> list[str]:
    """What is said of the sheets that are not read here."""
    others = [sheet for sheet in sheets if sheet is not main and sheet.rows]
    hidden = [repr(sheet.name) for sheet in others if not sheet.is_visible]
    prose = [repr(sheet.name) for sheet in others if sheet.is_visible and sheet not in tables]
    notes = []
    if prose:
        notes.append(f"sheets without a table, not read: {', '.join(prose)}")
    if hidden:
        notes.append(f"warning: hidden sheets are not read: {', '.join(hidden)}")
    return notes


def _rows(cells: pl.DataFrame, padded: dict[tuple[int, int], str]) -> list[tuple[int, Row]]:
    columns: list[list[str | None]] = []
    for place, column in enumerate(cells.iter_columns()):
        values: list[str | None] = _days(column.to_list())
        for (row, column_place), text in padded.items():
            if column_place == place and row < len(values) and values[row] is not None:
                values[row] = text
        if any(value is not None and value.strip() for value in values):
            columns.append(values)
    rows = enumerate(zip(*columns, strict=True), 1)
    return [(number, row) for number, row in rows if any(cell is not None and cell.strip() for cell in row)]


def _days(values: list[str | None]) -> list[str | None]:
    """Days as a person sees them: without a midnight that no cell of the column is without."""
    days = [None if value is None else _MIDNIGHT.fullmatch(value) for value in values]
    timed = any(
        value is not None and re.match(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:", value) and not day
        for value, day in zip(values, days, strict=True)
    )
    return values if timed else [day[1] if day else value for value, day in zip(values, days, strict=True)]


def _layout(rows: Sequence[tuple[int, Row]], options: ReaderOptions) -> Layout:
    records = tuple(
        Record([cell or "" for cell in row], None, "\t".join(cell or "" for cell in row), number, 0, number)
        for number, row in rows[:_SAMPLE_ROWS]
        if number > options.skip_lines
    )
    if not records:
        raise UnknownLayoutError("empty", "no row is left below reader.skip_lines")
    return locate_table(SampleReading(Dialect("", ""), records), options)


def _reading(rows: Sequence[tuple[int, Row]], layout: Layout, note: str, writer: RowWriter) -> Reading:
    below = [row for number, row in rows if number > layout.skip]
    for number, row in enumerate(below, 1):
        writer.add(number, row)
    if layout.before:
        note += f"; rows above the table left out: {', '.join(str(record.line) for record in layout.before)}"
    return Reading(writer.frames(), note=note, header=layout.original_header)


def _refused(source: Source, kind: str, reason: str) -> Reading:
    return Reading(refused=Refusal(source.name, kind, reason))
