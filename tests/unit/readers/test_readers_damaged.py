"""Damaged records are set aside with their place and reason; their neighbours are read."""

import codecs

import pytest
from readers_support import Read

_WHOLE = b"id,name,rate\n1,a,1.5\n2,b,2.5\n"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"3,c", "too_few_fields"),
        (b"3,c,3.5,x", "too_many_fields"),
        (b'3,"c,3.5', "unterminated_quote"),
        (b'3,"c"c,3.5', "stray_quote"),
        (b'3,c"c,3.5', "stray_quote"),
        (b"3,\xff,3.5", "invalid_bytes"),
    ],
)
def test_a_damaged_record_is_set_aside_with_its_line(read: Read, line: bytes, kind: str) -> None:
    outcome = read(_WHOLE + b"4,\xc3\xa4,4.5\n" * 30 + line + b"\n5,e,5.5\n" + b'6,"f",6.5\n' * 30)
    (damaged,) = outcome.damaged
    assert (damaged.kind, damaged.row, damaged.line) == (kind, 33, 34)
    assert damaged.byte_offset == len(_WHOLE) + 30 * len(b"4,\xc3\xa4,4.5\n")
    assert damaged.raw == line.decode(errors="backslashreplace")
    assert "line 34" in damaged.reason
    assert len(outcome.rows) == 63
    assert 33 not in outcome.numbers
    assert outcome.rows[32] == ("5", "e", "5.5")


def test_a_quote_that_is_never_closed_costs_its_line_alone(read: Read) -> None:
    outcome = read(b'a,b\n1,"x\n2,y\n3,z\n' + b"4,w\n" * 20)
    assert [record.raw for record in outcome.damaged] == ['1,"x']
    assert outcome.rows[:2] == [("2", "y"), ("3", "z")]


def test_two_stray_quotes_do_not_swallow_the_records_between_them(read: Read) -> None:
    outcome = read(b'a,b,c\n1,"x,y\n2,b,c\n3,"z,w\n' + b"4,u,v\n" * 20)
    assert [record.line for record in outcome.damaged] == [2, 4]
    assert ("2", "b", "c") in outcome.rows


def test_blank_lines_are_no_records(read: Read) -> None:
    outcome = read(b"a,b\n\n1,2\n   \n3,4\n\n\n")
    assert (outcome.rows, outcome.numbers, outcome.damaged) == ([("1", "2"), ("3", "4")], [1, 2], ())


def test_damaged_records_count_in_the_row_numbers(read: Read) -> None:
    outcome = read(b"a,b\n1,2\n3\n5,6\n")
    assert outcome.numbers == [1, 3]


def test_a_file_with_too_much_damage_is_refused_whole(read: Read) -> None:
    outcome = read(b"a,b\n" + b"1,2\n" * 39 + b"3\n" * 10)
    assert outcome.refusal.kind == "too_much_damage"
    assert "10 of 49 records" in outcome.refusal.reason
    assert outcome.damaged == ()
    assert not outcome.delivery.frames


def test_nine_damaged_records_are_borne_in_a_small_file(read: Read) -> None:
    outcome = read(b"a,b\n" + b"1,2\n" * 20 + b"3\n" + b"1,2\n" * 4 + b"3\n" * 8 + b"1,2\n")
    assert (len(outcome.rows), len(outcome.damaged)) == (25, 9)


def test_a_file_without_one_whole_record_is_refused(read: Read) -> None:
    assert read(b'a,b\n1,"x\n2\n').refusal.kind in ("too_much_damage", "unknown_dialect")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file_is_refused_as_empty(read: Read, content: bytes) -> None:
    assert read(content).refusal.kind == "empty"


def test_blanks_past_the_last_column_in_every_row_are_not_damage(read: Read) -> None:
    outcome = read(b"id,name\n1,a,\n2,b,\n3,c,\n")
    assert (outcome.columns, outcome.rows) == (["id", "name"], [("1", "a"), ("2", "b"), ("3", "c")])
    assert outcome.damaged == ()


def test_a_second_table_is_set_aside_and_called_so(read: Read) -> None:
    outcome = read(b"a,b\n" + b"1,2\n" * 12 + b"x,y,z\n" + b"1,2,3\n" * 12)
    assert len(outcome.rows) == 12
    assert {record.kind for record in outcome.damaged} == {"other_table"}
    assert len(outcome.damaged) == 13


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("begins", [b"", codecs.BOM_UTF8])
def test_a_header_that_comes_again_begins_another_table(
    read: Read, begins: bytes, mark: bytes, *, careful: bool
) -> None:
    outcome = read(begins + b"a,b\n1,2\n5,6\n" + mark + b"a,b\n3,4\n", careful=careful)
    assert outcome.rows == [("1", "2"), ("5", "6")]
    assert [record.kind for record in outcome.damaged] == ["other_table", "other_table"]


def test_a_table_below_a_blank_line_is_another_table(read: Read) -> None:
    outcome = read(b"id,name\n1,a\n2,b\n\nyear,total\n2020,7\n")
    assert outcome.rows == [("1", "a"), ("2", "b")]
    assert [record.raw for record in outcome.damaged] == ["year,total", "2020,7"]


def test_many_rows_spill_to_scratch_and_come_back_in_order(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.readers.frames._MOST_ROWS", 10)
    body = b"".join(b"%d,x\n" % number for number in range(35))
    outcome = read(b"a,b\n" + body + b"broken\n")
    assert [row[0] for row in outcome.rows] == [str(number) for number in range(35)]
    assert outcome.numbers == list(range(1, 36))


def test_a_sparse_record_below_a_damaged_header_is_no_title_and_the_next_one_no_header(read: Read) -> None:
    lines = [
        '"key","not\0\0\0\0\0\0EDAB1","=1+1"',
        '"KA83434D1B6",""',
        '"K1C3B744D6E","fir"',
        '"KAB31C956AE","semi; colon"',
    ]
    lines += [
        '"K619450A75C","birch"',
        '"K21CB026542","birch"',
        '"KBE2E5ED838","ivy"',
        '"K6290AE43D1","00123"',
    ]
    outcome = read("\n".join([*lines, '"KCF72329280","00123"', '"KCC069']).encode())
    assert outcome.refusal.kind == "header_damaged"


def test_a_record_between_a_lost_header_and_the_table_is_set_aside(read: Read) -> None:
    outcome = read(b"key;note;more\n1;;\nx;y\n" + b"".join(b"%d;a\n" % n for n in range(9)))
    raws = {record.raw for record in outcome.damaged}
    assert outcome.delivery.refused or "1;;" in raws


def test_a_comma_in_every_text_tells_against_a_blank_as_delimiter(read: Read) -> None:
    lines = [b"", b"ecalp,galf,yekK44E2DC1565,false,fir 27", b"KC098C3788A,true,ginkgo 86"]
    lines += [b"K093FC3EE87,true,dogwood 14", b"K1187837572,true,ginkgo 37", b"KEC1BDADC7\0\0\0e,cedar 55"]
    lines += [b"K70A96187D3,false,fir 37", b"KF065E30C90,true,birch 7", b"KE49AD31D54,false,ivy 28"]
    lines += [b"K3755463790,true,hazel 6", b"KA86E0D611D,false,birch 7"]
    outcome = read(b"\r\n".join(lines))
    assert outcome.refusal.kind == "header_damaged"


def test_a_header_longer_than_the_sample_is_the_header_all_the_same(read: Read) -> None:
    names = [f"a_rather_long_name_of_column_{number}" for number in range(12_000)]
    outcome = read("\n".join([",".join(names)] + [",".join(["1"] * 12_000)] * 3).encode())
    assert outcome.columns == names
    assert len(outcome.rows) == 3


def test_more_columns_than_can_be_kept_are_refused(read: Read) -> None:
    line = b",".join([b"1"] * 100_001)
    refusal = read(b"\n".join([line] * 3)).refusal
    assert (refusal.kind, refusal.reason[:31]) == ("too_wide", "it has 100,001 columns; at most")


def test_a_record_written_with_another_delimiter_above_the_table_is_set_aside(read: Read) -> None:
    lines = ["key;flag;day", "K1;false;2021-06-06", "K2;false;2018-11-15"]
    lines += [f"K{number}|true|2013-08-{number:02}" for number in range(3, 20)]
    outcome = read("\n".join(lines).encode())
    assert "K1;false;2021-06-06" in [record.raw for record in outcome.damaged]


def test_a_blank_is_no_delimiter_where_it_tears_most_cells(read: Read) -> None:
    whole = [f'"K{number}"|"{number}.5"|"fir {number}"|"x"' for number in range(4)]
    torn = [f'"K{number}"?"{number}.5"?"fir {number}"?"x"' for number in range(4, 9)]
    outcome = read("\n".join(['"key"|"amount"|"place"|"fl g"', *whole, *torn]).encode())
    assert outcome.delivery.refused or outcome.rows[0] == ("K0", "0.5", "fir 0", "x")


def test_other_quotes_in_the_later_lines_are_no_reason_to_leave_the_usual_ones_on_the_values(
    read: Read,
) -> None:
    usual = [f'"K{number}","2026-06-{number:02}","{number}.5"' for number in range(10, 16)]
    other = [f"'K{number}','2026-06-{number:02}','{number}.5'" for number in range(16, 31)]
    outcome = read("\n".join(['"key","day","amount"', *usual, *other]).encode())
    raws = "\n".join(record.raw for record in outcome.damaged)
    assert all(line in raws for line in usual) or outcome.rows[0] == ("K10", "2026-06-10", "10.5")


@pytest.mark.parametrize(("share", "borne"), [(0.2, False), (0.5, True), (0, False), (1, True)])
def test_the_contract_says_how_much_damage_is_borne(read: Read, share: float, borne: bool) -> None:  # noqa: FBT001 - a case
    lines = "".join(f"{n},a\n" if n % 3 else f"{n}\n" for n in range(1, 43))
    outcome = read(f"id,name\n{lines}".encode(), most_damaged=share)
    assert bool(outcome.delivery.refused) is not borne
    assert len(outcome.damaged) == (14 if borne else 0)
