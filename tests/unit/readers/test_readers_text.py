"""Encodings, line ends, NUL bytes."""

import codecs

import pytest
from readers_support import Read

from daemon.readers.text import wide_encoding

_TABLE = "id,name,note\n1,José,déjà vu\n2,Zoë,naïve café\n3,Åse,smörgås\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1252", "mac_roman"]
)
def test_the_encoding_is_found_out(read: Read, encoding: str) -> None:
    outcome = read(_TABLE.encode(encoding))
    assert outcome.rows == [("1", "José", "déjà vu"), ("2", "Zoë", "naïve café"), ("3", "Åse", "smörgås")]


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_name(read: Read, bom: bytes, encoding: str) -> None:
    assert read(bom + _TABLE.encode(encoding)).columns == ["id", "name", "note"]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp932", ["東京", "カタカナ"]),
        ("gb18030", ["北京市", "上海"]),
        ("euc_kr", ["서울", "부산"]),
        ("cp1251", ["Москва", "Киев"]),
    ],
)
def test_other_scripts_are_found_out(read: Read, encoding: str, names: list[str]) -> None:
    content = "id,name\n" + "".join(f"{number},{name}\n" for number in range(9) for name in names)
    outcome = read(content.encode(encoding))
    assert {row[1] for row in outcome.rows} == set(names)


def test_the_contract_names_the_encoding(read: Read) -> None:
    assert read("a,b\n1,é\n".encode("cp850"), encoding="cp850").rows == [("1", "é")]


@pytest.mark.parametrize("became", [b"\xff", b"\xc3"])
def test_quotes_that_became_other_bytes_do_not_make_a_utf8_file_another_encoding(
    read: Read, became: bytes
) -> None:
    sound = '"1","né à Köln","x"\n'.encode()
    lines = [f'"{number}","cedar","x"\n'.encode() for number in range(2, 300)]
    damaged = b"".join(line.replace(b'"', became) for line in lines[:14])
    outcome = read(b"id,place,note\n" + damaged + sound + b"".join(lines[14:]))
    assert ("1", "né à Köln", "x") in outcome.rows
    assert "encoding" not in outcome.note


def test_one_damaged_line_does_not_make_a_utf8_file_another_encoding(read: Read) -> None:
    outcome = read(_TABLE.encode() + b"4,\xff\xfe\xff,x\n")
    assert len(outcome.rows) == 3
    (damaged,) = outcome.damaged
    assert (damaged.kind, damaged.raw) == ("invalid_bytes", "4,\\xff\\xfe\\xff,x")


def test_places_are_those_of_the_file_as_it_was(read: Read) -> None:
    outcome = read(("é,b\n" + "ü,1\n" * 9 + "ö\n" + "ä,2\n").encode("utf-16-le"))
    (damaged,) = outcome.damaged
    assert (damaged.line, damaged.byte_offset) == (11, 80)


def test_utf16_that_ends_in_half_a_character_is_refused(read: Read) -> None:
    assert read(_TABLE.encode("utf-16-le") + b"\x00").refusal.kind == "unreadable"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_any_line_end_ends_a_line(read: Read, end: str) -> None:
    assert read(f"a,b{end}1,2{end}3,4{end}".encode()).rows == [("1", "2"), ("3", "4")]


def test_line_ends_may_be_mixed(read: Read) -> None:
    assert read(b"a,b\r\n1,2\n3,4\r5,6\r\n").rows == [("1", "2"), ("3", "4"), ("5", "6")]


@pytest.mark.parametrize(
    "text", ["名前,年\n田中,3\n鈴木,4\n", "имя,день\nЮлия,3\nФилипп,4\n", "ชื่อ,ปี\nสมชาย,3\n"]
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_found_out_whatever_its_script(text: str, encoding: str) -> None:
    assert wide_encoding(text.encode(encoding)) == encoding


def test_text_with_some_nuls_in_it_is_not_read_by_twos(read: Read) -> None:
    outcome = read(b"key;day\n" + b"K1;2016-09-02\nK\0;2016-09\0\n" * 2)
    assert outcome.columns == ["key", "day"]
    assert ("K1", "2016-09-02") in outcome.rows


def test_a_nul_is_a_character_like_others(read: Read) -> None:
    assert read(b"a,b\n1,x\0y\n2,z\n").rows == [("1", "x\0y"), ("2", "z")]


@pytest.mark.parametrize("head", [b"", b"a", b"a,b\n1,2\n", b"a\0b", "é,b\n".encode()])
def test_plain_text_is_not_taken_for_utf16(head: bytes) -> None:
    assert wide_encoding(head) == ""


def test_what_is_no_text_is_refused_as_unknown(read: Read) -> None:
    assert read({"photo.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256))}).refusal.kind == "unknown_format"


def test_a_byte_order_mark_says_utf8_whatever_is_damaged_below_it(read: Read) -> None:
    outcome = read(b"\xef\xbb\xbfkey,note\n1,a\n2,b\n3,\xe9t\xe9\n4,d\xe9j\xe0\n5,e\n")
    assert outcome.columns == ["key", "note"]
    assert [record.kind for record in outcome.damaged] == ["invalid_bytes"] * 2


def test_a_single_line_in_utf8_outweighs_a_damaged_one(read: Read) -> None:
    outcome = read("key,note\n1,né à Köln\n2,b\n3,c\n".encode() + b"4,\xe9t\xe9\n5,d\xe9j\xe0\n")
    assert outcome.rows[0] == ("1", "né à Köln")
    assert [record.row for record in outcome.damaged] == [4, 5]
