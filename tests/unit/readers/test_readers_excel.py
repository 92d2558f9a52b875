"""Workbooks: the table below titles, joined headers, dates, codes with zeros, hidden sheets."""

import io
import zipfile
from xml.sax.saxutils import escape

import pytest
from readers_support import Read

Cell = str | int | float | tuple[float, int] | None
_NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_ZEROS, _DAY, _MOMENT = 1, 2, 3


def _workbook(
    sheets: dict[str, list[list[Cell]]], *, hidden: tuple[str, ...] = (), epoch_1904: bool = False
) -> bytes:
    names = list(sheets)
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r" Type="{_LINKS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {_NAMESPACE} xmlns:r="{_LINKS}"><workbookPr date1904="{int(epoch_1904)}"/><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="s{n}" state="{"hidden" if name in hidden else "visible"}"/>'
            for n, name in enumerate(names, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="s{n}" Type="{_LINKS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(names) + 1)
        )
        + f'<Relationship Id="st" Type="{_LINKS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {_NAMESPACE}><numFmts count="2"><numFmt numFmtId="164" formatCode="00000"/>'
        '<numFmt numFmtId="165" formatCode="yyyy-mm-dd hh:mm"/></numFmts><cellXfs count="4"><xf numFmtId="0"/>'
        '<xf numFmtId="164"/><xf numFmtId="14"/><xf numFmtId="165"/></cellXfs></styleSheet>',
    }
    for n, rows in enumerate(sheets.values(), 1):
        body = "".join(
            f'<row r="{r}">{"".join(_cell(r, c, v) for c, v in enumerate(row))}</row>'
            for r, row in enumerate(rows, 1)
        )
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f"<worksheet {_NAMESPACE}><sheetData>{body}</sheetData></worksheet>"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + content)
    return packed.getvalue()


def _cell(row: int, column: int, value: Cell) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith("#"):
        return f'<c r="{place}" t="e"><v>{value}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    number, style = value if isinstance(value, tuple) else (value, 0)
    return f'<c r="{place}" s="{style}"><v>{number}</v></c>'


def test_a_sheet_is_read_as_text(read: Read) -> None:
    outcome = read(_workbook({"Data": [["id", "name", "rate"], [1, "Ann", 1.5], [2, "Bob", None]]}))
    assert (outcome.columns, outcome.rows) == (
        ["id", "name", "rate"],
        [("1", "Ann", "1.5"), ("2", "Bob", None)],
    )
    assert outcome.numbers == [1, 2]


def test_a_code_keeps_the_zeros_that_are_seen(read: Read) -> None:
    outcome = read(_workbook({"Data": [["code", "n"], [(10, _ZEROS), 7], [(12345, _ZEROS), 8]]}))
    assert [row[0] for row in outcome.rows] == ["00010", "12345"]


@pytest.mark.parametrize(("epoch_1904", "serial"), [(False, 45293), (True, 43831)])
def test_dates_of_both_epochs_are_right(read: Read, epoch_1904: bool, serial: int) -> None:  # noqa: FBT001 - a parameter of the test
    outcome = read(
        _workbook({"D": [["day", "at"], [(serial, _DAY), (serial + 0.5, _MOMENT)]]}, epoch_1904=epoch_1904)
    )
    assert outcome.rows == [("2024-01-02", "2024-01-02 12:00:00")]


def test_the_header_is_found_below_titles_and_notes(read: Read) -> None:
    rows: list[list[Cell]] = [
        ["Report 2024"],
        [],
        ["Source: office"],
        ["id", "name", "rate"],
        [1, "Ann", 1.5],
        [2, "Bob", 2.5],
    ]
    outcome = read(_workbook({"Data": rows}))
    assert outcome.columns == ["id", "name", "rate"]
    assert outcome.numbers == [1, 2]


def test_names_of_merged_cells_are_joined(read: Read) -> None:
    rows: list[list[Cell]] = [
        ["NOC", "Growth", None, "Openings"],
        [None, "2021-2026", "2026-2031", "2021-2031"],
    ]
    rows += [[f"#{n:04}x", n / 10, n / 20, n * 7] for n in range(1, 9)]
    rows = [[cell.removeprefix("#") if isinstance(cell, str) else cell for cell in row] for row in rows]
    outcome = read(_workbook({"Data": rows}))
    assert outcome.columns == ["NOC", "Growth 2021-2026", "Growth 2026-2031", "Openings 2021-2031"]
    assert len(outcome.rows) == 8


def test_empty_rows_and_columns_are_dropped_and_error_cells_are_null(read: Read) -> None:
    outcome = read(
        _workbook(
            {
                "Data": [
                    ["id", None, "rate"],
                    [1, None, "#DIV/0!"],
                    [None, None, None],
                    [2, None, 5],
                    [None, "  "],
                ]
            }
        )
    )
    assert outcome.columns == ["id", "rate"]
    assert outcome.rows == [("1", None), ("2", "5")]


def test_the_first_visible_sheet_with_rows_is_read_and_the_others_named(read: Read) -> None:
    table: list[list[Cell]] = [["a", "b"], [1, 2]]
    outcome = read(_workbook({"Secret": table, "Blank": [], "One": table, "Two": table}, hidden=("Secret",)))
    assert "sheet 'One'" in outcome.note
    assert "warning: other sheets with rows are not read: 'Two'" in outcome.note


def test_the_contract_names_the_sheet(read: Read) -> None:
    sheets: dict[str, list[list[Cell]]] = {"One": [["a"], [1]], "Two": [["b"], [2]]}
    assert read(_workbook(sheets), sheet="Two").columns == ["b"]
    assert read(_workbook(sheets), sheet="Three").refusal.kind == "no_such_sheet"


def test_a_workbook_without_rows_is_empty(read: Read) -> None:
    assert read(_workbook({"Data": []})).refusal.kind == "empty"


def test_a_broken_workbook_is_refused(read: Read) -> None:
    assert read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)).refusal.kind == "unreadable"


def test_a_workbook_whose_checksums_do_not_hold_is_refused(read: Read) -> None:
    rows: list[list[Cell]] = [["key", "note"]]
    rows += [[f"K{n}", "x"] for n in range(50)]
    content = bytearray(_workbook({"Data": rows}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        part = archive.getinfo("xl/worksheets/sheet1.xml")
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(part.filename.encode()))
    content[directory + 16] ^= 1  # its checksum: what was written is not what is there
    refusal = read(bytes(content)).refusal
    assert refusal.kind == "incomplete"
    assert "damaged" in refusal.reason
