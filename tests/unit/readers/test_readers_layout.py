"""Where the table stands: preambles, headers of several rows, no header, damaged headers, remarks."""

import pytest
from readers_support import Read

_BODY = b"1,Ann,2024-01-02\n2,Bob,2024-01-03\n3,Eve,2024-01-04\n4,Joe,2024-01-05\n"


@pytest.mark.parametrize(
    "preamble", [b"A report\n", b"A report\n\n", b"A report,,\n,,\n", b"# made by x\n# today, or so\n"]
)
def test_a_preamble_is_passed_over(read: Read, preamble: bytes) -> None:
    outcome = read(preamble + b"id,name,day\n" + _BODY)
    assert outcome.columns == ["id", "name", "day"]
    assert outcome.numbers == [1, 2, 3, 4]
    assert outcome.damaged == ()


def test_records_of_several_fields_above_the_table_are_set_aside(read: Read) -> None:
    outcome = read(b"from,to\nMay,June\nid,name,day\n" + _BODY)
    assert len(outcome.rows) == 4
    assert {record.kind for record in outcome.damaged} <= {"before_table", "header_damaged"}
    assert [record.raw for record in outcome.damaged] == ["from,to", "May,June"]


def test_lines_skipped_by_the_contract_are_not_looked_at(read: Read) -> None:
    outcome = read(b"x,y,z\n1,2,3\nid,name,day\n" + _BODY, skip_lines=2)
    assert outcome.columns == ["id", "name", "day"]


def test_a_file_without_a_header_gets_numbered_columns(read: Read) -> None:
    outcome = read(_BODY)
    assert outcome.columns == ["column_1", "column_2", "column_3"]
    assert outcome.rows[0] == ("1", "Ann", "2024-01-02")
    assert "no header" in outcome.note


def test_the_contract_says_that_there_is_a_header(read: Read) -> None:
    assert read(b"1,2\n3,4\n", header=True).columns == ["1", "2"]


def test_the_contract_says_that_there_is_no_header(read: Read) -> None:
    outcome = read(b"a,b\nc,d\n", header=False)
    assert outcome.rows == [("a", "b"), ("c", "d")]


def test_years_name_columns(read: Read) -> None:
    assert read(b"country,2019,2020\nFrance,1.5,2.5\nSpain,3.5,4.5\n").columns == ["country", "2019", "2020"]


def test_header_rows_above_one_another_are_joined(read: Read) -> None:
    outcome = read(b"id,name,day\n(no),(text),(iso)\n" + _BODY)
    assert outcome.columns == ["id (no)", "name (text)", "day (iso)"]
    assert len(outcome.rows) == 4


def test_names_over_groups_of_columns_are_joined_to_the_names_below(read: Read) -> None:
    outcome = read(b",2019,,2020,\nregion,low,high,low,high\n" + b"north,1,2,3,4\nsouth,5,6,7,8\n" * 3)
    assert outcome.columns == ["region", "2019 low", "2019 high", "2020 low", "2020 high"]


def test_an_empty_name_too_many_in_the_header_is_left_out_with_a_warning(read: Read) -> None:
    outcome = read(b"id,,name,day\n" + _BODY)
    assert outcome.columns == ["id", "name", "day"]
    assert "warning" in outcome.note


def test_a_stray_quote_in_the_header_is_text_with_a_warning(read: Read) -> None:
    outcome = read(b'id,"name,day\n' + _BODY)
    assert outcome.columns == ["id", '"name', "day"]
    assert "warning" in outcome.note


def test_a_header_with_another_delimiter_is_understood(read: Read) -> None:
    assert read(b"id name day\n" + _BODY).columns == ["id", "name", "day"]


def test_a_header_that_lost_a_delimiter_names_only_what_is_certain(read: Read) -> None:
    outcome = read(b"day,price,urlnote\n2024-01-02,1.5,http://a,x\n2024-01-03,2.5,http://b,y\n")
    assert outcome.columns == ["day", "column_2", "column_3", "column_4"]
    assert [(record.kind, record.row) for record in outcome.damaged] == [("header_damaged", 0)]
    assert len(outcome.rows) == 2


def test_a_header_wider_than_every_record_is_refused(read: Read) -> None:
    refusal = read(b"id,name,day,extra\n" + _BODY).refusal
    assert refusal.kind == "header_damaged"
    assert "names 4 columns" in refusal.reason


def test_remarks_below_the_preamble_are_no_records(read: Read) -> None:
    outcome = read(b"# export\nid,name,day\n" + _BODY + b"# end of data\n")
    assert (len(outcome.rows), outcome.damaged) == (4, ())


def test_lines_that_begin_with_the_contracts_comment_are_no_records(read: Read) -> None:
    outcome = read(b"a,b\n!x,y\n1,2\n", comment="!")
    assert outcome.rows == [("1", "2")]


def test_a_header_of_names_alone_is_a_header_when_nothing_speaks_against_it(read: Read) -> None:
    assert read(b"first,last\nAnn,Lee\nBob,Ray\n").columns == ["first", "last"]


def test_the_contract_names_one_of_several_tables_by_how_its_header_begins(read: Read) -> None:
    rows = ["name,qty", *(f"n{number},{number}" for number in range(6)), "", "city,people,area"]
    rows += [f"c{number},{number},{number}.5" for number in range(6)]
    content = "\n".join(rows).encode()
    outcome = read(content, begins_at="city,")
    assert (outcome.columns, outcome.table.height, outcome.damaged) == (["city", "people", "area"], 6, ())
    first = read(content)
    assert (first.columns, first.table.height) == (["name", "qty"], 6)
    assert {record.kind for record in first.damaged} == {"other_table"}
    assert read(content, begins_at="country,").refusal.kind == "no_such_table"
