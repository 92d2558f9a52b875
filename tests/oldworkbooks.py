"""Workbooks of the binary formats, xls and xlsb, made record by record, for tests: texts, numbers with formats, errors."""

import io
import struct
import zipfile

Cell = str | float | tuple[float, int]
"""Text; an error's number where it begins with `#`; a number; a number under the code's format with style 1."""
_CODE = "00000"
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def xls(rows: list[list[Cell]]) -> bytes:
    """A workbook of one sheet, "Data"."""
    sheet = _record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            sheet += _old_cell(row, column, cell)
    sheet += _record(0x0A, b"")
    styles = _record(0x41E, struct.pack("<HHB", 164, len(_CODE), 0) + _CODE.encode())
    styles += b"".join(_record(0xE0, struct.pack("<HH16x", 0, number)) for number in (0, 164))
    begin = _record(0x809, struct.pack("<HHHHII", 0x600, 0x05, 0, 0, 0, 0)) + styles
    name = b"\0\0" + bytes([4, 0]) + b"Data"
    start = len(begin) + 4 + 4 + len(name) + 4
    stream = begin + _record(0x85, struct.pack("<I", start) + name) + _record(0x0A, b"") + sheet
    return _compound(stream)


def xlsb(rows: list[list[Cell]]) -> bytes:
    """The same as an xlsb file."""
    book = _part(156, struct.pack("<II", 0, 1) + _wide("s1") + _wide("Data"))
    styles = _part(44, struct.pack("<H", 164) + _wide(_CODE)) + _part(617, struct.pack("<I", 2))
    styles += b"".join(_part(47, struct.pack("<HH12x", 0, number)) for number in (0, 164)) + _part(618, b"")
    sheet = _part(129, b"") + _part(148, struct.pack("<IIII", 0, len(rows), 0, 9)) + _part(145, b"")
    for row, cells in enumerate(rows):
        sheet += _part(0, struct.pack("<I21x", row))
        for column, cell in enumerate(cells):
            sheet += _new_cell(column, cell)
    sheet += _part(146, b"") + _part(130, b"")
    links = "".join(
        f'<Relationship Id="{name}" Type="{_LINKS}/{kind}" Target="{target}"/>'
        for name, kind, target in (
            ("s1", "worksheet", "worksheets/sheet1.bin"),
            ("st", "styles", "styles.bin"),
        )
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "xl/workbook.bin", _part(131, b"") + _part(143, b"") + book + _part(144, b"") + _part(132, b"")
        )
        archive.writestr(
            "xl/_rels/workbook.bin.rels",
            f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}</Relationships>',
        )
        archive.writestr("xl/styles.bin", styles)
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    return packed.getvalue()


def _old_cell(row: int, column: int, cell: Cell) -> bytes:
    if isinstance(cell, str) and cell.startswith("#"):
        return _record(0x205, struct.pack("<HHHBB", row, column, 0, int(cell[1:]), 1))
    if isinstance(cell, str):
        return _record(0x204, struct.pack("<HHHHB", row, column, 0, len(cell), 0) + cell.encode("latin-1"))
    number, style = cell if isinstance(cell, tuple) else (cell, 0)
    if number == int(number):
        return _record(0x27E, struct.pack("<HHHI", row, column, style, int(number) << 2 | 2))
    return _record(0x203, struct.pack("<HHHd", row, column, style, number))


def _new_cell(column: int, cell: Cell) -> bytes:
    if isinstance(cell, str) and cell.startswith("#"):
        return _part(3, struct.pack("<IIB", column, 0, int(cell[1:])))
    if isinstance(cell, str):
        return _part(6, struct.pack("<II", column, 0) + _wide(cell))
    number, style = cell if isinstance(cell, tuple) else (cell, 0)
    return _part(5, struct.pack("<IId", column, style, number))


def _record(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def _part(kind: int, body: bytes) -> bytes:
    kinds = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    assert len(body) < 0x80
    return kinds + bytes([len(body)]) + body


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _compound(stream: bytes) -> bytes:
    """A compound file with one stream, in sectors of 512 bytes: the table of sectors, the directory, the stream."""
    stream = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
    count = len(stream) // 512
    table = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 2 + count), 0xFFFFFFFE]
    table += [0xFFFFFFFF] * (128 - len(table))
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, 0)
    header += struct.pack("<108I", *[0xFFFFFFFF] * 108)
    root = _entry("Root Entry", 5, 0xFFFFFFFE, 0, child=1)
    entries = root + _entry("Workbook", 2, 2, len(stream)) + bytes(256)
    return header + struct.pack("<128I", *table) + entries + stream


def _entry(name: str, kind: int, first: int, size: int, child: int = 0xFFFFFFFF) -> bytes:
    none = 0xFFFFFFFF
    label = name.encode("utf-16-le").ljust(64, b"\0")
    length = 2 * len(name) + 2
    return label + struct.pack("<HBBIII36xIII", length, kind, 1, none, none, child, first, size, 0)
