"""Quotes over many lines: found where the grammar says, in one look at each line, however many lines leave quotes open."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers_support import Read

from daemon.readers import records
from daemon.readers.dialect import Dialect, Flaw
from daemon.readers.lines import Line, Lines
from daemon.readers.records import Record, split_records

_DIALECTS = [
    Dialect(","),
    Dialect(",", loose=True),
    Dialect(",", naked=True, loose=True),
    Dialect(",", escape="\\"),
    Dialect(", "),
    Dialect("", "'"),
]


def _lines(text: str) -> list[Line]:
    texts = text.splitlines(keepends=True)
    return [
        Line(line.rstrip("\r\n"), line[len(line.rstrip("\r\n")) :], n, 0) for n, line in enumerate(texts, 1)
    ]


def _slowly(lines: list[Line], dialect: Dialect) -> list[tuple[list[str], Flaw | None, int, int]]:
    """Each record tried at every length."""
    found: list[tuple[list[str], Flaw | None, int, int]] = []
    place = 0
    while place < len(lines):
        for end in range(place + 1, len(lines) + 1):
            raw = "".join(line.text + line.end for line in lines[place : end - 1]) + lines[end - 1].text
            parsed = dialect.parse(raw)
            if parsed is not Flaw.OPEN_QUOTE:
                break
        if isinstance(parsed, Flaw):
            alone = dialect.parse(lines[place].text)
            assert isinstance(alone, Flaw)
            found.append(([], alone, place + 1, place + 1))
            place += 1
        else:
            found.append((parsed if raw.strip() else [], None, place + 1, end))
            place = end
    return found


@settings(deadline=None, max_examples=300)
@given(
    text=st.lists(st.sampled_from([*"\"\"'',, a\\\n\n", "\r\n"]), max_size=40).map("".join),
    dialect=st.sampled_from(_DIALECTS),
)
def test_records_are_what_trying_every_length_finds(text: str, dialect: Dialect) -> None:
    lines = _lines(text)
    fast = list(split_records(Lines(lines), dialect))
    assert [(r.fields, r.flaw, r.line, r.last_line) for r in fast] == _slowly(lines, dialect)


def test_lines_that_all_leave_quotes_open_are_each_looked_at_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    parse = Dialect.parse

    def counted(self: Dialect, text: str) -> list[str] | Flaw:
        nonlocal calls
        calls += 1
        return parse(self, text)

    monkeypatch.setattr(Dialect, "parse", counted)
    lines = [Line(f'{n},"x{n}', "\n", n, 0) for n in range(1, 3_001)]
    found: list[Record] = list(split_records(Lines(lines), Dialect(",")))
    assert len(found) == 3_000
    assert all(record.flaw is Flaw.OPEN_QUOTE for record in found)
    assert calls <= 3 * len(lines)


def test_too_long_a_record_is_set_aside_and_its_neighbours_are_read(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.readers.careful.LONGEST", 1_000)
    outcome = read(b"id,name\n1,a\n2," + b"x" * 1_000 + b"\n3,c\n", careful=True)
    assert [row[0] for row in outcome.rows] == ["1", "3"]
    (damaged,) = outcome.damaged
    assert (damaged.kind, damaged.line, len(damaged.raw)) == ("line_too_long", 3, 1_002)


def test_the_fast_path_leaves_too_long_a_record_to_the_careful_one(read: Read) -> None:
    outcome = read(b"id,name\n1,a\n2," + b"x" * (records.LONGEST + (1 << 19)) + b"\n3,c\n")
    assert [record.kind for record in outcome.damaged] == ["line_too_long"]
