"""Workbooks (xlsx, xlsm, xlsb, xls, ods) through calamine: the first sheet with data, or the one the contract names."""

from pathlib import Path

import fastexcel
import polars as pl

from daemon.catalog.contract import ReaderOptions
from daemon.readers.delivery import Reading, Refusal, Source
from daemon.readers.foreign import UnreadableError, unreadable_as
from daemon.readers.frames import RowWriter
from daemon.readers.headers import column_names


def read_excel(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """One sheet as text, empty cells null; the first row with data is the header."""
    try:
        with unreadable_as("this workbook"):
            workbook = fastexcel.read_excel(source.path)
            known = workbook.sheet_names
            if options.sheet is not None and options.sheet not in known:
                reason = f"there is no sheet {options.sheet!r} (reader.sheet); there are: {', '.join(known)}"
                return _refused(source, "no_such_sheet", reason)
            for name in known if options.sheet is None else [options.sheet]:
                cells = workbook.load_sheet(name, header_row=None, dtypes="string").to_polars()
                reading = _table(source, name, cells, scratch, stem)
                if reading is not None:
                    return reading
    except UnreadableError as error:
        return _refused(source, "unreadable", str(error))
    return _refused(source, "empty", "no sheet of this workbook holds a row")


def _table(source: Source, sheet: str, cells: pl.DataFrame, scratch: Path, stem: str) -> Reading | None:
    """The table on a sheet, None when it is empty."""
    rows = [row for row in cells.iter_rows() if any(cell is not None for cell in row)]
    if not rows:
        return None
    used = [place for place in range(cells.width) if any(row[place] is not None for row in rows)]
    header = tuple(rows[0][place] or "" for place in used)
    columns = column_names(header)
    writer = RowWriter(source.name, columns, scratch, stem)
    for number, row in enumerate(rows[1:], 1):
        writer.add(number, [row[place] for place in used])
    return Reading(writer.frames(), note=f"sheet {sheet!r}", header=header if header != columns else None)


def _refused(source: Source, kind: str, reason: str) -> Reading:
    return Reading(refused=Refusal(source.name, kind, reason))
