"""What calamine does not tell of a sheet: codes with their zeros, cells that show an error, formulas without a result.

`WorkbookParts` looks into the parts of an xlsx or ods file; of xls and xlsb files it knows nothing. Used by excel.py.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from daemon.readers.compressed import begins_as_zip
from daemon.readers.numberformats import shown, shows_codes

_SHOWN = 3
_CELL = re.compile(r"([A-Z]+)(\d+)")
_UNCOMPUTED = re.compile(
    rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f\b[^<>]*/>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</(?:\w+:)?c>"
)
_MOST_REPEATS = 1 << 14
"""A cell that is repeated more often in an ods file fills the sheet up to its edge."""


@dataclass
class SheetFacts:
    """Of one sheet: `texts` by column and row (from 0), `errors` and `uncomputed` by place (`B2`)."""

    texts: dict[int, dict[int, str]] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    uncomputed: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What a person must know of cells that are null here."""
        notes = []
        if self.errors:
            named = _named([f"{place} ({text})" for place, text in self.errors])
            notes.append(f"warning: {len(self.errors)} cells show an error and are null: {named}")
        if self.uncomputed:
            named = _named(self.uncomputed)
            notes.append(
                f"warning: {len(self.uncomputed)} cells hold a formula whose result was not saved and are null: "
                f"{named}; open the workbook, save it and send it again"
            )
        return notes

    def add_text(self, row: int, column: int, text: str) -> None:
        """A cell, counted from 0, is seen as `text`."""
        self.texts.setdefault(column, {})[row] = text


class WorkbookParts:
    """The parts of a workbook that is a zip archive. Without one, or where its parts are odd, nothing is known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = None
        if begins_as_zip(path):
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                if "content.xml" in names:
                    self._read = _ods_facts
                elif "xl/workbook.xml" in names:
                    self._read = _xlsx_facts

    def facts(self, sheet: str) -> SheetFacts:
        """What is known of a sheet's cells."""
        if self._read is None:
            return SheetFacts()
        try:
            with zipfile.ZipFile(self._path) as archive:
                return self._read(archive, sheet)
        except (KeyError, StopIteration, ET.ParseError):
            return SheetFacts()


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
            place = f"{_letters(column)}{row + 1}"
            if kind == "e":
                facts.errors.append((place, value or "?"))
            elif not value and kind != "str" and _child(cell, "f") is not None:
                facts.uncomputed.append(place)
            elif kind == "n" and value and (code := codes.get(cell.get("s", "0"))):
                text = shown(value, code)
                if text is not None:
                    facts.add_text(row, column, text)
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
        facts.errors.append((f"{_letters(column)}{row + 1}", seen))
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


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _named(places: list[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
