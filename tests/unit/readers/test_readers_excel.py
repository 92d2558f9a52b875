"""Workbooks: the table below titles, joined headers, dates, codes with zeros, hidden sheets."""

import io
import zipfile

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
