"""Workbooks (xlsx, xlsm, xlsb, xls, ods) through calamine, a sheet at a time: the first with a table, or the one asked for.

The header is found below titles and notes as in a delimited file. Row numbers are those of the sheet.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from python_calamine import PasswordError

from daemon.catalog.contract import ReaderOptions
from daemon.readers.compressed import begins_as_zip, unsound
from daemon.readers.delivery import Reading, Refusal, Source
from daemon.readers.dialect import Dialect
from daemon.readers.evidence import SampleReading
from daemon.readers.foreign import UnreadableError, unreadable_as
from daemon.readers.frames import RowWriter
from daemon.readers.layout import Layout
from daemon.readers.locating import locate_table
from daemon.readers.records import Record
from daemon.readers.sheets import Row, Sheet, read_sheets
from daemon.readers.sniff import UnknownLayoutError

_SAMPLE_ROWS = 300
_MERGED_SHOWN = 3


def read_excel(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """One sheet as text, empty and error cells null. `_source_row` counts the rows below the header.

    The first sheet with a table, or the one the contract names; the others with a table are named in `parts`.
    """
    sheets = _sheets(source, options)
    if isinstance(sheets, Refusal):
        return Reading(refused=sheets)
    wanted = [sheet for sheet in sheets if sheet.rows and (sheet.is_visible or options.sheet)]
    if not wanted:
        return _nothing(source, sheets)
    tables = [sheet for sheet in wanted if _is_table(sheet, options)]
    main = (tables or wanted)[0]
    try:
        layout = _layout(main.rows, options)
    except UnknownLayoutError as error:
        return _refused(source, error.kind, f"sheet {main.name!r}: {error}")
    notes = [
        f"sheet {main.name!r}",
        *layout.notes,
        *_about_others(main, tables, sheets),
        *main.facts.notes,
        *_about_merged(main, layout),
    ]
    writer = RowWriter(source.name, layout.columns, scratch, stem)
    reading = _reading(main.rows, layout, "; ".join(notes), writer)
    return replace(reading, parts=tuple(sheet.name for sheet in tables if sheet is not main))


def _sheets(source: Source, options: ReaderOptions) -> list[Sheet] | Refusal:
    """All sheets, or the one the contract names; or why there are none."""
    refusal = unsound(source) if begins_as_zip(source.path) else None
    if refusal is not None:
        return refusal
    try:
        with unreadable_as("this workbook"):
            sheets = list(read_sheets(source.path, options.sheet))
    except UnreadableError as error:
        if isinstance(error.__cause__, PasswordError):
            reason = "this workbook is protected by a password; send it without one"
            return Refusal(source.name, "encrypted", reason)
        return Refusal(source.name, "unreadable", str(error))
    if options.sheet is not None and not sheets:
        reason = f"there is no sheet {options.sheet!r} (reader.sheet) in this workbook"
        return Refusal(source.name, "no_such_sheet", reason)
    return sheets


def _nothing(source: Source, sheets: Sequence[Sheet]) -> Reading:
    """The refusal of a workbook without a row to read."""
    flaw = next((sheet for sheet in sheets if sheet.flaw), None)
    if flaw is not None:
        return _refused(source, "unreadable", f"its sheet {flaw.name!r} cannot be read: {flaw.flaw}")
    hidden = [repr(sheet.name) for sheet in sheets if sheet.rows]
    if hidden:
        reason = f"only hidden sheets hold rows: {', '.join(hidden)}; name one in the contract (reader.sheet)"
        return _refused(source, "empty", reason)
    return _refused(source, "empty", "no sheet of this workbook holds a row")


def _is_table(sheet: Sheet, options: ReaderOptions) -> bool:
    """Whether a sheet has a header of more than one column, and a row below it."""
    try:
        layout = _layout(sheet.rows, options)
    except UnknownLayoutError:
        return False
    return len(layout.columns) > 1 and any(number > layout.skip for number, _ in sheet.rows)


def _about_others(main: Sheet, tables: Sequence[Sheet], sheets: Sequence[Sheet]) -> list[str]:
    """What is said of the sheets that are not read here."""
    others = [sheet for sheet in sheets if sheet is not main and sheet.rows]
    hidden = [repr(sheet.name) for sheet in others if not sheet.is_visible]
    prose = [repr(sheet.name) for sheet in others if sheet.is_visible and sheet not in tables]
    notes = []
    notes += [f"warning: sheet {sheet.name!r} is not read: {sheet.flaw}" for sheet in sheets if sheet.flaw]
    if prose:
        notes.append(f"sheets without a table, not read: {', '.join(prose)}")
    if hidden:
        notes.append(f"warning: hidden sheets are not read: {', '.join(hidden)}")
    return notes


def _about_merged(sheet: Sheet, layout: Layout) -> list[str]:
    """What is said of cells that are merged over several records: the value belongs to the first, the others have none."""
    below = [f"{first} to {last}" for first, last in sheet.merged if first > layout.skip]
    if not below:
        return []
    named = ", ".join(below[:_MERGED_SHOWN]) + (" and more" if len(below) > _MERGED_SHOWN else "")
    return [f"warning: cells are merged over rows {named}; only the first of them has the value"]


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
