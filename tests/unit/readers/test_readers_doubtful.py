"""Files that can be taken for something else: what the evidence decides, what is refused, what is told with a warning."""

import pytest
from readers_support import Read


def test_single_quotes_around_every_text_are_quotes_though_no_field_needs_them(read: Read) -> None:
    outcome = read(b"id,name,size\n1,'di4.wav',4\n2,'bu3.wav',3\n3,'bu2.wav',2\n")
    assert outcome.rows == [("1", "di4.wav", "4"), ("2", "bu3.wav", "3"), ("3", "bu2.wav", "2")]


def test_apostrophes_are_no_quotes(read: Read) -> None:
    outcome = read(b"id,name\n1,'tis late\n2,'a' or 'b'\n3,the boys'\n")
    assert [row[1] for row in outcome.rows] == ["'tis late", "'a' or 'b'", "the boys'"]


@pytest.mark.parametrize("other", [";", "|", "\t"])
def test_the_width_of_a_single_record_is_no_evidence(read: Read, other: str) -> None:
    outcome = read(f"1,Orange,AB12{other}CD34{other}EF56{other}GH78,x".encode())
    assert outcome.refusal.kind == "ambiguous_dialect"


def test_a_delimiter_that_leaves_nothing_unexplained_is_the_one(read: Read) -> None:
    rows = "".join(f"HC{n:02},Total; Estimate; Households {n}\n" for n in range(20))
    outcome = read(f"GEO.id,Id\nGEO.id2,Id2\nGEO.label,Geography\n{rows}".encode())
    assert outcome.columns == ["GEO.id", "Id"]
    assert outcome.table.height == 22


def test_quotes_in_place_outweigh_quotes_taken_as_text(read: Read) -> None:
    rows = "".join(f'{n}#"s:3:""get"";a:{n};s:4:""post"";b:1"#2024-01-0{n}#ok\n' for n in range(1, 6))
    outcome = read(f"id#job#day#state\n{rows}".encode())
    assert outcome.rows[0] == ("1", 's:3:"get";a:1;s:4:"post";b:1', "2024-01-01", "ok")


def test_columns_aligned_with_blanks_are_refused_and_called_so(read: Read) -> None:
    lines = "".join(f"{n:<6}{n * 7:>9}  {'Ideal':<12}{n / 8:>6.3f}\n" for n in range(1, 30))
    refusal = read(f"id         carat  cut          depth\n{lines}".encode()).refusal
    assert refusal.kind == "unknown_dialect"
    assert "4 columns seem to be aligned with blanks" in refusal.reason


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_first_line_may_declare_the_delimiter(read: Read, first: str) -> None:
    outcome = read(f"{first}\nname;sizes\na;1,2,3\nb;4,5,6\n".encode())
    assert outcome.rows == [("a", "1,2,3"), ("b", "4,5,6")]


@pytest.mark.parametrize("second", ["X,Y,X,Y", "m,s,m,s", ",,,Restated"])
def test_a_second_row_of_names_is_joined_to_the_first(read: Read, second: str) -> None:
    values = "".join(f"{n}.25,{n},{n}.5,{n * 3}\n" for n in range(1, 9))
    outcome = read(f"control,speed,fire,total\n{second}\n{values}".encode())
    assert outcome.table.height == 8
    assert outcome.columns[3] == f"total {second.split(',')[3]}"
    assert "warning: header in lines 1 to 2, joined" in outcome.note


def test_blank_columns_of_a_spreadsheet_do_not_hide_the_header(read: Read) -> None:
    rows = "".join(f"Ann Minister,Oct-{n:02},Tearfund,Discussion,,,,,\n" for n in range(1, 9))
    outcome = read(f"Meetings,,,,,,,,\nMinister,Date,Organisation,Purpose,,,,,\n{rows}".encode())
    assert outcome.columns[:4] == ["Minister", "Date", "Organisation", "Purpose"]
    assert outcome.table.height == 8


_MEETINGS = "Minister,Date,Place\nAnn,Oct-14,Oxfam\nBob,Nov-14,Tearfund\n,,\n"


def test_a_titled_table_below_an_empty_record_is_another_table(read: Read) -> None:
    outcome = read(f"{_MEETINGS}Hospitality,,\n,,\nMinister,Gift,Giver\nAnn,a pen,a firm\n".encode())
    assert outcome.rows == [("Ann", "Oct-14", "Oxfam"), ("Bob", "Nov-14", "Tearfund"), ("", "", "")]
    assert [(record.line, record.kind) for record in outcome.damaged] == [
        (line, "other_table") for line in (5, 6, 7, 8)
    ]
    assert [record.row for record in outcome.damaged] == [4, 5, 6, 7]


def test_a_title_below_an_empty_record_is_kept_with_a_warning(read: Read) -> None:
    outcome = read(f"{_MEETINGS}Part two,,\nEve,Dec-14,Unicef\n".encode())
    assert outcome.rows[2:] == [("", "", ""), ("Part two", "", ""), ("Eve", "Dec-14", "Unicef")]
    assert outcome.numbers == [1, 2, 3, 4, 5]
    assert "warning: line 5, below an empty record, holds a title" in outcome.note


def test_empty_records_at_the_end_are_kept_without_a_word(read: Read) -> None:
    outcome = read(b"a,b\n1,2\n3,4\n,\n,\n")
    assert outcome.rows == [("1", "2"), ("3", "4"), ("", ""), ("", "")]
    assert "warning" not in outcome.note


def test_control_characters_of_text_decoded_wrongly_are_told(read: Read) -> None:
    outcome = read("id,note\n1,x\n2,7 \u0096 8 Feb\n3,y\n".encode())
    assert outcome.rows[1] == ("2", "7 \u0096 8 Feb")
    assert "warning: it holds the control character U+0096 (line 3)" in outcome.note


def test_the_only_record_may_end_in_a_delimiter(read: Read) -> None:
    outcome = read(b"id;name;size;day;state;sum\n1;a;2;2024-01-02;ok;3.5;\n")
    assert outcome.rows == [("1", "a", "2", "2024-01-02", "ok", "3.5")]
