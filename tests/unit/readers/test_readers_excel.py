"""Workbooks: the table below titles, joined headers, dates, codes with zeros, hidden sheets."""

import io
import zipfile
from collections.abc import Callable

import oldworkbooks
import pytest
from readers_support import Read
from workbooks import DAY, MOMENT, ZEROS, Cell, workbook


def test_a_sheet_is_read_as_text(read: Read) -> None:
    outcome = read(workbook({"Data": [["id", "name", "rate"], [1, "Ann", 1.5], [2, "Bob", None]]}))
    assert (outcome.columns, outcome.rows) == (
        ["id", "name", "rate"],
        [("1", "Ann", "1.5"), ("2", "Bob", None)],
    )
    assert outcome.numbers == [1, 2]


def test_a_code_keeps_the_zeros_that_are_seen(read: Read) -> None:
    outcome = read(workbook({"Data": [["code", "n"], [(10, ZEROS), 7], [(12345, ZEROS), 8]]}))
    assert [row[0] for row in outcome.rows] == ["00010", "12345"]


def test_codes_keep_their_zeros_wherever_the_table_stands_in_the_sheet(read: Read) -> None:
    rows: list[list[Cell]] = [[], [], [None, "code", "n"], [None, (10, ZEROS), 7], [None, (5, ZEROS), 10]]
    assert read(workbook({"Data": rows})).rows == [("00010", "7"), ("00005", "10")]


@pytest.mark.parametrize(
    ("number", "code", "seen"),
    [
        (12345678, "00000-0000", "01234-5678"),
        (1234, "[<=99999]00000;00000-0000", "01234"),
        (12345678, "[<=99999]00000;00000-0000", "01234-5678"),
        (10.2, "00000.00", "00010.20"),
        (42, '"INV-"0000', "INV-0042"),
        (7, "000\\-00", "000-07"),
        (7, "[$-409]0000", "0007"),
        (-7, "000", "-007"),
        (12.5, "00000", "12.5"),
        (0.5, "00.0%", "0.5"),
        (1234, "#,##0", "1234"),
        (5, "0.00", "5"),
        (5, "General", "5"),
    ],
)
def test_a_number_that_is_a_code_is_as_it_is_seen_and_loses_nothing(
    read: Read, number: float, code: str, seen: str
) -> None:
    outcome = read(workbook({"Data": [["key", "code"], ["a", (number, code)], ["b", (number, code)]]}))
    assert outcome.rows == [("a", seen), ("b", seen)]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.9032514613925278, "0.9032514613925278"),
        (-7.855762695319247e-08, "-0.00000007855762695319247"),
        (1e15, "1000000000000000"),
        (1e300, "1e+300"),
        (3.0, "3"),
    ],
)
def test_numbers_keep_all_their_digits(read: Read, number: float, text: str) -> None:
    assert read(workbook({"Data": [["key", "x"], ["a", number], ["b", number]]})).rows[0] == ("a", text)


def test_times_and_spans_of_time_are_as_they_are_seen(read: Read) -> None:
    rows: list[list[Cell]] = [
        ["from", "took", "at"],
        [(0.25, "hh:mm"), (1.5, "[h]:mm:ss"), (45293.5, "yyyy-mm-dd hh:mm:ss.000")],
        [(0.75, "hh:mm"), (0.1, "[h]:mm:ss"), (45293.500011, "yyyy-mm-dd hh:mm:ss.000")],
    ]
    assert read(workbook({"Data": rows})).rows == [
        ("06:00:00", "36:00:00", "2024-01-02 12:00:00"),
        ("18:00:00", "2:24:00", "2024-01-02 12:00:00.95"),
    ]


def test_a_formula_whose_result_was_not_saved_is_null_with_a_warning(read: Read) -> None:
    outcome = read(workbook({"Data": [["a", "b"], [1, "=A2*2"], [2, 4]]}))
    assert outcome.rows == [("1", None), ("2", "4")]
    assert "warning: 1 cells hold a formula whose result was not saved and are null: B2" in outcome.note


def test_values_of_merged_cells_below_the_header_are_told_of(read: Read) -> None:
    content = workbook({"Data": [["region", "n"], ["north", 1], [None, 2], ["south", 3]]})
    merged = _with_part(
        content, "</sheetData>", '</sheetData><mergeCells><mergeCell ref="A2:A3"/></mergeCells>'
    )
    outcome = read(merged)
    assert outcome.rows == [("north", "1"), (None, "2"), ("south", "3")]
    assert "warning: cells are merged over rows 2 to 3; only the first of them has the value" in outcome.note


def test_an_open_document_keeps_codes_and_names_errors(read: Read) -> None:
    zeros = (
        '<table:table-cell office:value-type="float" office:value="7"><text:p>007</text:p></table:table-cell>'
    )
    error = (
        '<table:table-cell table:formula="of:=1/0" office:value-type="string" office:string-value="" '
        'calcext:value-type="error"><text:p>#DIV/0!</text:p></table:table-cell>'
    )
    text = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    rows = [text.format("code") + text.format("n"), zeros + error, zeros + text.format("x")]
    outcome = read(_open_document(rows))
    assert outcome.rows == [("007", None), ("007", "x")]
    assert "1 cells show an error and are null: B2 (#DIV/0!)" in outcome.note


@pytest.mark.parametrize("make", [oldworkbooks.xls, oldworkbooks.xlsb])
def test_the_binary_formats_keep_codes_and_name_errors(
    read: Read, make: Callable[[list[list[oldworkbooks.Cell]]], bytes]
) -> None:
    outcome = read(make([["code", "n"], [(7, 1), 7], [(123, 1), 0.5], [(5.5, 1), "#7"]]))
    assert outcome.rows == [("00007", "7"), ("00123", "0.5"), ("5.5", None)]
    assert "warning: 1 cells show an error and are null: B4 (#DIV/0!)" in outcome.note


@pytest.mark.parametrize(("epoch_1904", "serial"), [(False, 45293), (True, 43831)])
def test_dates_of_both_epochs_are_right(read: Read, epoch_1904: bool, serial: int) -> None:  # noqa: FBT001 - a parameter of the test
    outcome = read(
        workbook({"D": [["day", "at"], [(serial, DAY), (serial + 0.5, MOMENT)]]}, epoch_1904=epoch_1904)
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
    outcome = read(workbook({"Data": rows}))
    assert outcome.columns == ["id", "name", "rate"]
    assert outcome.numbers == [1, 2]


def test_names_of_merged_cells_are_joined(read: Read) -> None:
    rows: list[list[Cell]] = [
        ["NOC", "Growth", None, "Openings"],
        [None, "2021-2026", "2026-2031", "2021-2031"],
    ]
    rows += [[f"#{n:04}x", n / 10, n / 20, n * 7] for n in range(1, 9)]
    rows = [[cell.removeprefix("#") if isinstance(cell, str) else cell for cell in row] for row in rows]
    outcome = read(workbook({"Data": rows}))
    assert outcome.columns == ["NOC", "Growth 2021-2026", "Growth 2026-2031", "Openings 2021-2031"]
    assert len(outcome.rows) == 8


def test_empty_rows_and_columns_are_dropped_and_error_cells_are_null(read: Read) -> None:
    outcome = read(
        workbook(
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
    outcome = read(workbook({"Secret": table, "Blank": [], "One": table, "Two": table}, hidden=("Secret",)))
    assert "sheet 'One'" in outcome.note
    assert outcome.delivery.parts == {"in.csv": ("Two",)}
    assert "hidden sheets are not read: 'Secret'" in outcome.note


def test_the_contract_names_the_sheet(read: Read) -> None:
    sheets: dict[str, list[list[Cell]]] = {"One": [["a"], [1]], "Two": [["b"], [2]]}
    assert read(workbook(sheets), sheet="Two").columns == ["b"]
    assert read(workbook(sheets), sheet="Three").refusal.kind == "no_such_sheet"


def test_a_workbook_without_rows_is_empty(read: Read) -> None:
    assert read(workbook({"Data": []})).refusal.kind == "empty"


def test_a_broken_workbook_is_refused(read: Read) -> None:
    assert read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)).refusal.kind == "unreadable"


def test_a_workbook_whose_checksums_do_not_hold_is_refused(read: Read) -> None:
    rows: list[list[Cell]] = [["key", "note"]]
    rows += [[f"K{n}", "x"] for n in range(50)]
    content = bytearray(workbook({"Data": rows}))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        part = archive.getinfo("xl/worksheets/sheet1.xml")
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(part.filename.encode()))
    content[directory + 16] ^= 1  # its checksum: what was written is not what is there
    refusal = read(bytes(content)).refusal
    assert refusal.kind == "incomplete"
    assert "damaged" in refusal.reason


def _with_part(content: bytes, old: str, new: str) -> bytes:
    """A workbook with a piece of its sheets' XML replaced."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(packed, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name).decode().replace(old, new))
    return packed.getvalue()


def _open_document(rows: list[str]) -> bytes:
    names = {"office": "office", "table": "table", "text": "text"}
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{uri}:1.0"' for name, uri in names.items()
    )
    spaces += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    body = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="Data">{body}</table:table></office:spreadsheet></office:body>'
            "</office:document-content>",
        )
    return packed.getvalue()
