"""What must be true of a damaged file that was read, whatever the damage was. Used by the campaign `hostile`.

The truth is in the damaged bytes themselves. A record of the seed whose lines stand in them as they were is *untouched*;
whatever else stands there is *touched*. Then:

- the record numbers of a file, in gold or set aside, are 1, 2, 3 … without a gap and without a second;
- each token is in gold or set aside as often as it stands in the bytes (lost, doubled);
- an untouched record is in gold with every value as it was, or set aside, or it stands in quotes that the damage opened,
  and then Python's own parser reads it so as well (silently wrong otherwise);
- there are no more other rows in gold than touched lines.

Some damage leaves bytes that say something else in good order: without its header line a table of texts has its first
record for one; below a title that was a header once, the first record is the header; a quote that is not escaped may join
two records. Then the reader says what it took for what in the notes of the file, which are in its lineage (lines above
the table, where the header is, a warning): that is counted apart, as told.

Where checksums vouch for the content, a file that was not refused has the very rows of its seed.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from torture.seeds import Seed

TOKEN = re.compile(r"K[0-9A-F]{10}")
_WHOLE_TOKEN = re.compile(rb"(?<![\x80-\xff])K[0-9A-F]{10}")
"""A token as the damaged bytes hold it; in some code pages a byte beyond ASCII takes the next one with it."""
_ABOVE = re.compile(r"(\d+) lines? before the table")
_ENCODING = re.compile(r"encoding ([\w-]+)")
_IN_HEADER = re.compile(r"warning: (there is no record in this file|header in lines)")
"""Its first records became names of columns, which a file without rows, or with empty ones, does not show."""
TOLD = "told: "
"""How a fault begins that the file's notes tell of: a record taken for the header, a warning."""
_LINE = re.compile(rb"\r\n|\n|\r")
_MACHINE_TALK = re.compile(
    r"Traceback|panick|Panic|unwrap|RUST_|\.rs\b|\.py\b|Some\(|Err\(|Ok\(|\bNone\b|<class|thread '|0x[0-9a-f]{4}|"
    r"\b[A-Z][A-Za-z]+(?:Error|Exception)\b|::|\bpolars\b|core|assert|index out of bounds|range end|slice|overflow|"
    r"os error|\{\s|\[\d+\.\."
)
_SHORTEST_SENTENCE = 4
_MAGIC = 6


@dataclass(frozen=True)
class Row:
    """A row of gold: its number in its file, and its values by column, those of other files' columns left out."""

    number: int
    values: dict[str, str]


@dataclass(frozen=True)
class Read:
    """What became of one file that was not refused. `aside` are the raw records with their numbers."""

    rows: Sequence[Row]
    aside: Sequence[tuple[int, str]]
    notes: str = ""


def unreadable_reason(reason: str) -> str | None:
    """Why a person would not understand `reason`; None when one would."""
    talk = _MACHINE_TALK.search(reason)
    if talk is not None:
        return f"it speaks of {talk[0]!r}"
    if len(reason.split()) < _SHORTEST_SENTENCE:
        return "it is no sentence"
    return "it holds several lines" if "\n" in reason else None


def faults(seed: Seed, damaged: bytes, read: Read) -> Iterator[str]:
    """Every promise that was broken over a file of this content."""
    yield from _numbering(read)
    if seed.vouched and (damaged[:_MAGIC] != seed.content[:_MAGIC] or damaged.count(seed.content) > 1):
        return  # another kind of file now, or twice the same one
    if seed.vouched:
        rows = [tuple(value for value in row.values.values() if value) for row in read.rows]
        sound = [tuple(value for value in row if value) for row in seed.table.rows]
        if rows != sound and not read.aside:
            yield f"silently wrong: {len(rows)} rows that are not the {len(sound)} of the seed"
    elif seed.kind in ("csv", "json", "ndjson"):
        yield from _tokens(damaged, read)
        if seed.kind == "csv":
            yield from _values(seed, damaged, read)


def _numbering(read: Read) -> Iterator[str]:
    numbers = Counter([row.number for row in read.rows] + [number for number, _ in read.aside if number])
    if sorted(numbers.elements()) != list(range(1, len(numbers) + 1)):
        yield f"records are not numbered once each: {sorted(numbers.elements())[:50]}"


def _tokens(damaged: bytes, read: Read) -> Iterator[str]:
    there = Counter(token.decode() for token in _WHOLE_TOKEN.findall(damaged))
    most = Counter(TOKEN.findall(damaged.decode("latin-1")))
    came = Counter[str]()
    for row in read.rows:
        came.update(TOKEN.findall("\0".join(row.values.values())))
    for _, raw in read.aside:
        came.update(TOKEN.findall(raw))
    names = {name for row in read.rows for name in row.values}
    header = Counter(TOKEN.findall("\0".join(names)))
    lost = there - came - header
    above = _ABOVE.search(read.notes)
    if lost:
        told = TOLD if _IN_HEADER.search(read.notes) or (above and lost.total() <= int(above[1])) else ""
        yield f"{told}lost: {', '.join(lost.elements())}"
    doubled = came - most
    if doubled:
        yield f"doubled: {', '.join(doubled.elements())}"


def _values(seed: Seed, damaged: bytes, read: Read) -> Iterator[str]:
    lines = [line for line in _LINE.split(damaged.removeprefix(b"\xef\xbb\xbf")) if line.strip()]
    header_stands = lines[:1] == [_written(seed, seed.table.header)]
    untouched, others = _untouched(seed, damaged, lines)
    left = Counter(untouched)
    strange: list[tuple[str, ...]] = []
    for row in read.rows:
        came = _in_order(seed, row)
        sound = next((one for one in (came, *left) if left[one] > 0 and _is(one, came, header_stands)), None)
        if sound is not None:
            left[sound] -= 1
        else:
            strange.append(came)
    amiss = "warning: " in read.notes or "before the table" in read.notes
    told = TOLD if amiss or _written(seed, seed.table.header) not in lines else ""
    aside = Counter(token for _, raw in read.aside for token in TOKEN.findall(raw))
    for record, missing in left.items():
        for _ in range(missing - aside[record[0]]):
            guilty = [came for came in strange if record[0] in "\0".join(came)]
            if not any(came in _as_python_reads(seed, damaged, read.notes) for came in guilty):
                yield f"{told}silently wrong: the untouched record {list(record)} came as {guilty}"
    if len(strange) > others:
        yield f"{told}{len(strange)} rows in gold that are none of the seed, from {others} touched lines: {strange[:3]}"


def _in_order(seed: Seed, row: Row) -> tuple[str, ...]:
    """The values of a row in the order of the seed's columns, other columns last, those with numbers for names in order."""
    known = [row.values[name] for name in seed.table.header if name in row.values]
    others = sorted(row.values.keys() - {*seed.table.header}, key=lambda name: (len(name), name))
    return (*known, *(row.values[name] for name in others))


def _is(record: tuple[str, ...], came: tuple[str, ...], in_order: bool) -> bool:  # noqa: FBT001 - a comparison
    """Whether a row is this record; under a damaged header its values may stand in any order."""
    return record == came or (not in_order and sorted(record) == sorted(came))


def _written(seed: Seed, row: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    quoting: Literal[0, 1] = csv.QUOTE_ALL if seed.quoted else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=seed.delimiter, lineterminator="", quoting=quoting).writerow(row)
    return text.getvalue().encode()


def _untouched(seed: Seed, damaged: bytes, lines: Sequence[bytes]) -> tuple[dict[tuple[str, ...], int], int]:
    """The rows whose lines stand as they were, and how often; and how many lines are of none of them.

    A row of several lines is touched as well when the breaks between them have become others.
    """
    found = {}
    left = len(lines)
    places: dict[bytes, list[int]] = {}
    for place, line in enumerate(lines):
        places.setdefault(line, []).append(place)
    for row in seed.table.rows:
        written = _written(seed, row)
        own = [line for line in _LINE.split(written) if line.strip()]
        at = [place for place in places.get(own[0], ()) if list(lines[place : place + len(own)]) == own]
        if len(own) > 1:
            at = at[: damaged.count(written)]
        if at:
            found[row] = len(at)
            left -= len(own) * len(at)
    return found, left


def _as_python_reads(seed: Seed, damaged: bytes, notes: str) -> set[tuple[str, ...]]:
    """The record that begins with each line, where Python's parser finds one; begun anew, as damage above may stop it."""
    encoding = _ENCODING.search(notes)
    text = damaged.decode(encoding[1] if encoding else "utf-8-sig", "replace")
    lines = list(io.StringIO(text, newline=""))
    rows = set()
    for place in range(len(lines)):
        with suppress(csv.Error, StopIteration):
            rows.add(tuple(next(csv.reader(lines[place:], delimiter=seed.delimiter, strict=True))))
    return rows
