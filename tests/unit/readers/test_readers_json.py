"""JSON: digits stay, nested values stay JSON, what is no table is called so."""

import pytest
from readers_support import Read


def test_numbers_keep_every_digit_and_nested_values_stay_json(read: Read) -> None:
    outcome = read(
        {
            "a.json": b'[{"n": 12345678901234567890.10, "e": 1E5, "o": {"x": [1.0, "y", null, true]}, "b": false}]'
        }
    )
    assert outcome.rows == [("12345678901234567890.10", "1E5", '{"x":[1.0,"y",null,true]}', "false")]


def test_an_absent_key_and_null_are_null_and_an_empty_text_is_not(read: Read) -> None:
    outcome = read({"a.ndjson": b'{"a": "", "b": null}\n{"a": "x"}\n\n{"c": 1}\n'})
    assert outcome.columns == ["a", "b", "c"]
    assert outcome.rows == [("", None, None), ("x", None, None), (None, None, "1")]
    assert outcome.numbers == [1, 2, 3]


def test_a_broken_line_is_set_aside(read: Read) -> None:
    outcome = read({"a.ndjson": b'{"a": 1}\n{"a": \n{"a": 3}\n"text"\n{"a": 5, "a": 6}\n{"a": NaN}\n'})
    assert outcome.rows == [("1",), ("3",)]
    assert [(record.row, record.line, record.byte_offset) for record in outcome.damaged] == [
        (2, 2, 9),
        (4, 4, 25),
        (5, 5, 32),
        (6, 6, 49),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'[{"a": 1}, {"a": 2}]',
        b'{"a": 1}\n{"a": 2}',
        b'{"a":1}{"a":2}',
        b'[["a"], [1], [2]]',
        b'{"rows": [{"a": 1}, {"a": 2}]}',
        b'[{"a": 1}]\n[{"a": 2}]\n',
    ],
    ids=["array", "lines", "one after another", "arrays", "under a key", "an array a line"],
)
def test_every_way_of_holding_records_is_understood(read: Read, content: bytes) -> None:
    outcome = read({"a.json": content})
    assert (outcome.columns, outcome.rows) == (["a"], [("1",), ("2",)])


def test_one_object_is_one_record(read: Read) -> None:
    assert read({"a.json": b'{\n "a": 1,\n "b": [1, 2]\n}'}).rows == [("1", "[1,2]")]


def test_the_contract_names_the_key_of_the_records(read: Read) -> None:
    content = b'{"x": [{"a": 1}], "y": [{"a": 2}]}'
    assert read({"a.json": content}).refusal.kind == "not_a_table"
    assert read({"a.json": content}, records_at="y").rows == [("2",)]
    assert "no key 'z'" in read({"a.json": content}, records_at="z").refusal.reason


@pytest.mark.parametrize("content", [b"[1, 2]", b"[]", b'"text"', b"5", b'[{"a": 1}, 2]'])
def test_json_that_is_no_table_is_called_so(read: Read, content: bytes) -> None:
    refusal = read({"a.json": content}).refusal
    assert refusal.kind == "not_a_table"
    assert "this is JSON" in refusal.reason


@pytest.mark.parametrize(
    "content",
    [b'[{"a": 1,}]', b"[{'a': 1}]", b'[{"a": "\\ud800"}]', b'[{"a": "\xff"}]', b"[" * 100_000, b"{" * 2],
)
def test_broken_json_is_refused(read: Read, content: bytes) -> None:
    assert read({"a.json": content}).refusal.kind in ("invalid_json", "incomplete")


def test_json_that_is_cut_short_is_incomplete(read: Read) -> None:
    assert read({"a.json": b'[{"a": 1}, {"a": '}).refusal.kind == "incomplete"


def test_the_content_decides_and_not_the_name(read: Read) -> None:
    assert read({"a.csv": b'{"a": 1}\n{"a": 2}\n'}).rows == [("1",), ("2",)]


def test_json_in_utf16_is_read(read: Read) -> None:
    assert read({"a.json": '\ufeff[{"a": "é"}]'.encode("utf-16-le")}).rows == [("é",)]


def test_json_that_is_not_the_utf16_it_seems_is_refused_in_words_for_people(read: Read) -> None:
    content = b"\xff\xfe" + '[{"a": 1}]'.encode("utf-16-le") + b"\x00\xd8\x20"
    assert read({"in.json": content}).refusal.reason == "this text is not the utf-16-le it seems"
