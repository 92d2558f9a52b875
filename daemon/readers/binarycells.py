"""What calamine does not tell of an xlsb file's cells (codes with their zeros, errors), from its records. Used by cells.py.

Only what is asked for is understood of [MS-XLSB].
"""

import struct
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from daemon.readers.facts import ERRORS, SheetFacts, packed_number
from daemon.readers.numberformats import shows_codes

_SHEET, _FORMAT, _STYLES, _STYLES_END, _STYLE = 156, 44, 617, 618, 47
_ROW, _RK, _ERROR, _REAL, _FORMULA_NUMBER, _FORMULA_ERROR = 0, 2, 3, 5, 9, 11
_MORE = 0x80
_STYLE_BITS = 0xFFFFFF


def binary_facts(archive: zipfile.ZipFile, sheet: str) -> SheetFacts:
    """What is known of a sheet. Raises KeyError, StopIteration, ET.ParseError, struct.error where parts are odd."""
    codes = _codes(archive)
    facts = SheetFacts()
    row = 0
    for kind, body in _records(archive.read(_part(archive, sheet))):
        if kind == _ROW:
            row = struct.unpack_from("<I", body)[0]
        elif kind in (_RK, _ERROR, _REAL, _FORMULA_NUMBER, _FORMULA_ERROR):
            column, style = struct.unpack_from("<II", body)
            code = codes.get(style & _STYLE_BITS)
            if kind in (_ERROR, _FORMULA_ERROR):
                facts.add_error(row, column, ERRORS.get(body[8], "?"))
            elif kind == _RK:
                facts.add_number(row, column, packed_number(struct.unpack_from("<I", body, 8)[0]), code)
            else:
                facts.add_number(row, column, struct.unpack_from("<d", body, 8)[0], code)
    return facts


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(content):
        kind, place = content[place], place + 1
        if kind & _MORE:
            kind, place = (kind & ~_MORE) | content[place] << 7, place + 1
        length = shift = 0
        while True:
            byte, place = content[place], place + 1
            length |= (byte & ~_MORE) << shift
            shift += 7
            if not byte & _MORE:
                break
        yield kind, content[place : place + length]
        place += length


def _part(archive: zipfile.ZipFile, sheet: str) -> str:
    for kind, body in _records(archive.read("xl/workbook.bin")):
        if kind == _SHEET:
            link, rest = _text(body[8:])
            if _text(rest)[0] == sheet:
                links = ET.fromstring(archive.read("xl/_rels/workbook.bin.rels"))  # noqa: S314 - expat refuses entity bombs
                target = next(item.get("Target", "") for item in links if item.get("Id") == link)
                return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
    raise KeyError(sheet)


def _codes(archive: zipfile.ZipFile) -> dict[int, str]:
    """The styles that show codes, with their formats."""
    formats: dict[int, str] = {}
    styles: list[int] = []
    is_inside = False
    for kind, body in _records(archive.read("xl/styles.bin")):
        is_inside = kind == _STYLES or (is_inside and kind != _STYLES_END)
        if kind == _FORMAT:
            formats[struct.unpack_from("<H", body)[0]] = _text(body[2:])[0]
        elif kind == _STYLE and is_inside:
            styles.append(struct.unpack_from("<H", body, 2)[0])
    found = {style: formats.get(number, "") for style, number in enumerate(styles)}
    return {style: code for style, code in found.items() if shows_codes(code)}


def _text(body: bytes) -> tuple[str, bytes]:
    """A text at the beginning, and what stands behind it."""
    end = 4 + 2 * struct.unpack_from("<I", body)[0]
    return body[4:end].decode("utf-16-le", "replace"), body[end:]
