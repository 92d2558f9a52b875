"""What calamine does not tell of a sheet: codes with their zeros, cells that show an error, formulas without result.

Here for xlsx and ods files; oldcells.py and binarycells.py do it for xls and xlsb. Used by sheets.py.
"""

import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from daemon.readers.binarycells import binary_facts
from daemon.readers.compressed import begins_as_zip
from daemon.readers.facts import SheetFacts, place_of
from daemon.readers.numberformats import shows_codes
from daemon.readers.oldcells import OldWorkbook

_CELL = re.compile(r"([A-Z]+)(\d+)")
_UNCOMPUTED = re.compile(
    rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f\b[^<>]*/>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</(?:\w+:)?c>"
)
_ODD = (KeyError, IndexError, StopIteration, ValueError, struct.error, ET.ParseError)
"""What the parts of a workbook raise that are not as they should be."""
_MOST_REPEATS = 1 << 14
"""A cell that is repeated more often in an ods file fills the sheet up to its edge."""


def facts_reader(path: Path) -> Callable[[str], SheetFacts]:
    """What tells the facts of a workbook's sheets by their names; nothing where its parts are not as they should be."""
    find = _finder(path)

    def facts(sheet: str) -> SheetFacts:
        try:
            return find(sheet) if find else SheetFacts()
        except _ODD:
            return SheetFacts()

    return facts


def _finder(path: Path) -> Callable[[str], SheetFacts] | None:
    try:
        if not begins_as_zip(path):
            return OldWorkbook(path).facts
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except _ODD:
        return None
    binary = binary_facts if "xl/workbook.bin" in names else _xlsx_facts
    read = _ods_facts if "content.xml" in names else binary

    def facts(sheet: str) -> SheetFacts:
        with zipfile.ZipFile(path) as archive:
            return read(archive, sheet)

    return facts


def _xlsx_facts(archive: zipfile.ZipFile, sheet: str) -> SheetFacts:
    codes = _code_styles(archive)
    part = _sheet_part(archive, sheet)
    content = archive.read(part)
    facts = SheetFacts()
    if not codes and b't="e"' not in content and not _UNCOMPUTED.search(content):
        return facts
    with archive.open(part) as file:
        for row, column, cell in _xlsx_cells(file):
            kind, value = cell.get("t", "n"), _child(cell, "v")
            if kind == "e":
                facts.add_error(row, column, value or "?")
            elif not value and kind != "str" and _child(cell, "f") is not None:
                facts.uncomputed.append(place_of(row, column))
            elif kind == "n" and value:
                facts.add_number(row, column, value, codes.get(cell.get("s", "0")))
    return facts


def _code_styles(archive: zipfile.ZipFile) -> dict[str, str]:
    """The styles whose number format shows codes, with that format."""
    if "xl/styles.xml" not in archive.namelist():
        return {}
    root = ET.fromstring(archive.read("xl/styles.xml"))  # noqa: S314 - expat refuses entity bombs
    formats = {
        item.get("numFmtId"): code
        for item in root.iter()
        if _tag(item) == "numFmt" and shows_codes(code := item.get("formatCode", ""))
    }
    styles = next((item for item in root if _tag(item) == "cellXfs"), None)
    if styles is None or not formats:
        return {}
    used = ((str(place), formats.get(style.get("numFmtId"))) for place, style in enumerate(styles))
    return {place: code for place, code in used if code}


def _sheet_part(archive: zipfile.ZipFile, sheet: str) -> str:
    """Where a sheet lies. Raises KeyError, StopIteration, ET.ParseError."""
    book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - as above
    item = next(item for item in book.iter() if _tag(item) == "sheet" and item.get("name") == sheet)
    link = next(value for name, value in item.attrib.items() if name.endswith("}id"))
    links = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - as above
    target = next(item.get("Target", "") for item in links if item.get("Id") == link)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _xlsx_cells(file: IO[bytes]) -> Iterator[tuple[int, int, ET.Element]]:
    """Every cell with its row and column from 0; where it does not say, it follows the one before."""
    row = -1
    for event, item in ET.iterparse(file, ("start", "end")):  # noqa: S314 - as above
        tag = _tag(item)
        if event == "start" and tag == "row":
            given = item.get("r", "")
            row, column = (int(given) - 1 if given.isdigit() else row + 1), -1
        elif event == "end" and tag == "c":
            place = _CELL.fullmatch(item.get("r", ""))
            column = _number(place[1]) if place else column + 1
            yield (int(place[2]) - 1 if place else row), column, item
            item.clear()
        elif event == "end" and tag == "row":
            item.clear()


def _ods_facts(archive: zipfile.ZipFile, sheet: str) -> SheetFacts:
    facts = SheetFacts()
    name, row, column = "", 0, 0
    with archive.open("content.xml") as file:
        for event, item in ET.iterparse(file, ("start", "end")):  # noqa: S314 - as above
            tag = _tag(item)
            if event == "start":
                if tag == "table":
                    name, row = _attribute(item, "name") or "", 0
                elif tag == "table-row":
                    column = 0
            elif tag in ("table-cell", "covered-table-cell"):
                times = int(_attribute(item, "number-columns-repeated") or 1)
                if name == sheet and times < _MOST_REPEATS:
                    for place in range(column, column + times):
                        _note_ods_cell(facts, row, place, item)
                column += times
                item.clear()
            elif tag == "table-row":
                row += int(_attribute(item, "number-rows-repeated") or 1)
                item.clear()
    return facts


def _note_ods_cell(facts: SheetFacts, row: int, column: int, cell: ET.Element) -> None:
    """What the cell shows, where that is an error or a code; rows that are repeated count once."""
    seen = "".join(next((item for item in cell if _tag(item) == "p"), ET.Element("p")).itertext()).strip()
    kinds = [value for name, value in cell.attrib.items() if name.endswith("}value-type")]
    if "error" in kinds:
        facts.add_error(row, column, seen)
    elif "float" in kinds and re.fullmatch(r"0\d+(?:\.\d+)?", seen):
        try:
            if Decimal(seen) == Decimal(_attribute(cell, "value") or ""):
                facts.add_text(row, column, seen)
        except InvalidOperation:
            return


def _tag(item: ET.Element) -> str:
    return item.tag.rpartition("}")[2]


def _attribute(item: ET.Element, name: str) -> str | None:
    return next((value for key, value in item.attrib.items() if key.endswith(f"}}{name}")), None)


def _child(cell: ET.Element, tag: str) -> str | None:
    """The text of a cell's child, empty where it has none; None without such a child."""
    return next((item.text or "" for item in cell if _tag(item) == tag), None)


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
