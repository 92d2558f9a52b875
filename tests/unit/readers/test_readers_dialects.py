"""The dialect is found out by evidence; what the evidence does not decide is refused with the candidates."""

import pytest
from readers_support import Read

from daemon.readers.dialect import Dialect, Flaw

_ROWS = [
    ("id", "name", "day"),
    ("1", "Ann", "2024-01-02"),
    ("2", "Bob", "2024-01-03"),
    ("3", "Eve", "2024-01-04"),
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", ":", "^", "~", "\x1f", ", ", "||"])
def test_the_delimiter_is_found_out(read: Read, delimiter: str) -> None:
    outcome = read("".join(delimiter.join(row) + "\n" for row in _ROWS).encode())
    assert outcome.columns == list(_ROWS[0])
    assert outcome.rows == _ROWS[1:]


def test_decimal_commas_do_not_make_commas_the_delimiter(read: Read) -> None:
    outcome = read(b"name;price;weight\na;1,5;2,75\nb;2,5;3,25\n")
    assert outcome.rows == [("a", "1,5", "2,75"), ("b", "2,5", "3,25")]


def test_dates_and_times_are_not_split(read: Read) -> None:
    outcome = read(b"at\n2024-01-02 10:00:00\n2024-01-03 11:30:00\n2024-01-04 12:00:00\n")
    assert outcome.columns == ["at"]


def test_single_quotes_are_quotes_when_they_stand_around_fields(read: Read) -> None:
    outcome = read(b"id,text\n1,'a,b'\n2,'c,d'\n3,Men's boots\n")
    assert outcome.rows == [("1", "a,b"), ("2", "c,d"), ("3", "Men's boots")]


def test_a_backslash_escapes_quotes_where_it_does_so(read: Read) -> None:
    outcome = read(b'id,text\n1,"say \\"hi\\", twice"\n2,"c:\\dir"\n3,x\n')
    assert outcome.rows == [("1", 'say "hi", twice'), ("2", "c:\\dir"), ("3", "x")]


def test_quotes_that_are_inches_in_many_records_are_text(read: Read) -> None:
    outcome = read(b'id,size\n1,6" pipe\n2,8" pipe\n3,10" pipe\n')
    assert outcome.rows[0] == ("1", '6" pipe')


def test_inner_quotes_that_are_never_escaped_are_text_with_a_warning(read: Read) -> None:
    outcome = read(b'id,text,n\n1,"a "big" one",5\n2,"plain",6\n3,"size 8"",7\n')
    assert [row[1] for row in outcome.rows] == ['a "big" one', "plain", 'size 8"']
    assert "warning" in outcome.note


def test_an_ambiguous_file_is_refused_with_the_candidates(read: Read) -> None:
    refusal = read(b"a,b;c\nx,y;z\nu,v;w\n").refusal
    assert refusal.kind == "ambiguous_dialect"
    assert "comma" in refusal.reason
    assert "semicolon" in refusal.reason


def test_the_contract_decides_an_ambiguous_file(read: Read) -> None:
    assert read(b"a,b;c\nx,y;z\nu,v;w\n", delimiter=";").rows == [("x,y", "z"), ("u,v", "w")]


def test_a_file_that_no_delimiter_makes_a_table_of_is_refused(read: Read) -> None:
    assert read(b"a,b,c\n1\n1,2,3,4,5\n1,2\n9,9,9,9\n").refusal.kind == "unknown_dialect"


def test_quotes_mean_nothing_when_the_contract_says_so(read: Read) -> None:
    assert read(b'a,b\n"1,2\n3,4"\n', quote="").rows == [('"1', "2"), ("3", '4"')]


def test_the_evidence_of_a_dialect_is_told_and_of_what_file_it_is(read: Read) -> None:
    notes = read({"a.csv": b"a;b\n1;2\n3;4\n", "b.csv": b"a;b\n5;6\n"}).delivery.notes
    assert "3 of the first 3 records have 2 fields" in notes["a.csv"]
    assert notes["b.csv"] == f"{notes['a.csv']}; as another file that begins alike"


def test_the_evidence_is_noted(read: Read) -> None:
    evidence = "2 of the first 2 records have 2 fields"
    assert read(b"a;b\n1;2\n").note == f'delimiter semicolon, quote "; {evidence}; header in line 1'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('""', [""]),
        (",", ["", ""]),
        (' "a,b" ,c', ["a,b", "c"]),
        (' a, "b"', [" a", "b"]),
        ('"a', Flaw.OPEN_QUOTE),
        ('a,"b""', Flaw.OPEN_QUOTE),
        ('"a"b', Flaw.STRAY_QUOTE),
        ('a"b', Flaw.STRAY_QUOTE),
        ('""a"', Flaw.STRAY_QUOTE),
    ],
)
def test_a_record_is_parsed_or_its_flaw_named(text: str, expected: list[str] | Flaw) -> None:
    assert Dialect().parse(text) == expected


def test_a_damaged_header_is_read_literally() -> None:
    assert Dialect().parse_literally('a,"b,c') == ["a", '"b', "c"]
    assert Dialect().parse_literally('a,""b",c') == ["a", '"b', "c"]


def test_quotes_in_pairs_inside_a_field_are_text(read: Read) -> None:
    assert read(b"place,at\nModesto,37 36'37.8\"N 121 2'17.9\"W\n").rows == [
        ("Modesto", "37 36'37.8\"N 121 2'17.9\"W")
    ]
