"""Numbers in an xlsx file that are shown with leading zeros (format `00000`): calamine gives 123 where 00123 is seen.

Used by excel.py. Costs nothing for workbooks without such a format.
"""

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_ZEROS = re.compile(r"0{2,}")
_CELL = re.compile(r"([A-Z]+)(\d+)")


def padded_cells(path: Path, sheet: int) -> dict[tuple[int, int], str]:
    """The texts of the zero-padded numbers on the `sheet`-th sheet, by row and column from 0; none if not an xlsx."""
    try:
        with zipfile.ZipFile(path) as archive:
            lengths = _padded_styles(archive)
            return dict(_cells(archive, sheet_part(archive, sheet), lengths)) if lengths else {}
    except (zipfile.BadZipFile, KeyError, IndexError, StopIteration, ET.ParseError):
        return {}


def _padded_styles(archive: zipfile.ZipFile) -> dict[str, int]:
    """The styles whose number format is nothing but zeros, with how many zeros."""
    root = ET.fromstring(archive.read("xl/styles.xml"))  # noqa: S314 - expat refuses entity bombs
    formats = {
        item.get("numFmtId"): len(item.get("formatCode", ""))
        for item in root.iter(f"{_MAIN}numFmt")
        if _ZEROS.fullmatch(item.get("formatCode", ""))
    }
    styles = root.find(f"{_MAIN}cellXfs")
    if styles is None or not formats:
        return {}
    used = ((str(place), formats.get(style.get("numFmtId"))) for place, style in enumerate(styles))
    return {place: length for place, length in used if length}


def sheet_part(archive: zipfile.ZipFile, sheet: int) -> str:
    """Where the `sheet`-th sheet lies in an xlsx file. Raises KeyError, IndexError, StopIteration, ET.ParseError."""
    book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - as above
    link = list(book.iter(f"{_MAIN}sheet"))[sheet].get(_LINK)
    links = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - as above
    target = next(item.get("Target", "") for item in links if item.get("Id") == link)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _cells(archive: zipfile.ZipFile, part: str, lengths: dict[str, int]) -> list[tuple[tuple[int, int], str]]:
    found = []
    with archive.open(part) as file:
        for _, cell in ET.iterparse(file):  # noqa: S314 - as above
            if cell.tag == f"{_MAIN}c" and cell.get("s") in lengths and cell.get("t", "n") == "n":
                value = cell.findtext(f"{_MAIN}v") or ""
                place = _CELL.fullmatch(cell.get("r", ""))
                if place and value.isdigit():
                    found.append(
                        ((int(place[2]) - 1, _column(place[1])), value.zfill(lengths[cell.get("s", "")]))
                    )
            if cell.tag == f"{_MAIN}row":
                cell.clear()
    return found


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
