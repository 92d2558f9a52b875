"""A file that stops within a record is incomplete: it waits for its other half, and no half record becomes a row."""

import pytest
from readers_support import Read

_SOUND = b"id,name,day\n1,a,2024-01-02\n2,b,2024-01-03\n3,c,2024-01-04\n"


@pytest.mark.parametrize("half", [b"4", b"4,d", b'4,"d', b'4,"d,e\nf', b'4,d,"2024'])
def test_a_short_last_record_without_a_line_end_is_the_first_half_of_one(read: Read, half: bytes) -> None:
    refusal = read(_SOUND + half).refusal
    assert refusal.kind == "incomplete"
    assert "ends within a record: line " in refusal.reason


@pytest.mark.parametrize("half", [b"4\n", b"4,d\r\n", b'4,"d\n'])
def test_a_short_record_with_its_line_end_is_damage(read: Read, half: bytes) -> None:
    outcome = read(_SOUND + half)
    assert [record.line for record in outcome.damaged] == [5]
    assert outcome.table.height == 3


def test_a_whole_last_record_needs_no_line_end(read: Read) -> None:
    assert read(_SOUND.removesuffix(b"\n")).table.height == 3


@pytest.mark.parametrize("size", range(19, 37))
def test_json_cut_anywhere_within_a_line_is_incomplete(read: Read, size: int) -> None:
    lines = b'{"a": 1, "b": "x"}\n{"a": -2, "b": true}'
    assert read(lines[: size + 1]).refusal.kind == "incomplete"


@pytest.mark.parametrize("size", range(1, 40))
def test_a_json_document_cut_anywhere_is_incomplete(read: Read, size: int) -> None:
    document = b'[{"a": 1, "b": "x"}, {"a": -2, "b": null}]'
    assert read({"in.json": document[:size]}).refusal.kind == "incomplete"


def test_json_that_goes_on_after_an_error_is_broken(read: Read) -> None:
    assert read(b'[{"a": tru, "b": 2}]').refusal.kind == "invalid_json"
