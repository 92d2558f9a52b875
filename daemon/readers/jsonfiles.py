"""JSON files: objects one after another (as lines or not), an array of them, or an array of them under a key.

A line that is no JSON is set aside; a document that is broken or no table is refused and called what it is.
Used by `read_delivery`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.catalog.contract import ReaderOptions
from daemon.readers.damage import too_much_damage
from daemon.readers.delivery import DamagedRecord, Reading, Refusal, Source
from daemon.readers.frames import RecordWriter
from daemon.readers.headers import column_names, numbered_names
from daemon.readers.jsontext import JsonValue, decode, decode_all, is_cut_short, spoken, staged, why
from daemon.readers.lines import printable, read_lines

JsonRecord = dict[str, JsonValue]


class _NotATableError(Exception):
    """JSON that is no table; the message says what it is."""


class _Names:
    """Keys to column names, stable over a whole file."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def row(self, record: JsonRecord) -> dict[str, str | None]:
        """The record as it is staged, by column name."""
        if not self._names.keys() >= record.keys():
            keys = [*self._names, *(key for key in record if key not in self._names)]
            self._names = dict(zip(keys, column_names(keys), strict=True))
        names = self._names
        return {names[key]: staged(value) for key, value in record.items()}

    @property
    def header(self) -> tuple[str, ...] | None:
        """The keys as they stand in the file, when the columns are named otherwise."""
        return tuple(self._names) if any(key != name for key, name in self._names.items()) else None


def read_json(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """The records of the UTF-8 file at `source`, whichever way it holds them."""
    if options.format == "ndjson" or (
        options.format is None and options.records_at is None and _is_lines(source.path)
    ):
        return _read_lines(source, options, scratch, stem)
    return _read_document(source, options, scratch, stem)


def _is_lines(path: Path) -> bool:
    """Whether the first line is a whole JSON object or array and more follow: each line is looked at by itself."""
    lines = (line for line in read_lines(path) if line.text.strip())
    first = next(lines, None)
    try:
        value = None if first is None else decode(first.text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and next(lines, None) is not None


def _read_lines(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    rows, names = RecordWriter(source.name, scratch, stem), _Names()
    damaged: list[DamagedRecord] = []
    number = 0
    cut_at = 0
    for line in read_lines(source.path):
        if not line.text.strip():
            continue
        try:
            records = list(_objects_in(decode(line.text)))
            for record in records:
                number += 1
                rows.add(number, names.row(record))
        except (ValueError, RecursionError, _NotATableError) as error:
            number += 1
            if not line.end and is_cut_short(error):
                cut_at = line.number
            reason = str(error) if isinstance(error, _NotATableError) else why(error)
            damaged.append(
                DamagedRecord(
                    source.name,
                    number,
                    line.number,
                    line.offset,
                    "invalid_json",
                    printable(line.text),
                    f"line {line.number}: {reason}",
                )
            )
    if cut_at:
        reason = f"it ends within a record: line {cut_at} stops, and no line end follows it"
        return _refused(source, "incomplete", reason)
    refusal = too_much_damage(source.name, damaged, number, options.most_damaged)
    if refusal is not None:
        return Reading(refused=refusal)
    return Reading(rows.frames(), tuple(damaged), note="JSON, one value a line", header=names.header)


def _objects_in(value: JsonValue) -> Iterator[JsonRecord]:
    """The records of one line: an object is one, an array of objects several, any other array one without names."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value:
            yield from _objects_in(item)
    elif isinstance(value, list) and value:
        yield dict(zip(numbered_names(len(value)), value, strict=True))
    else:
        raise _NotATableError(f"{spoken(value)} is no record")


def _read_document(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    rows, names = RecordWriter(source.name, scratch, stem), _Names()
    try:
        text = source.path.read_text("utf-8-sig", errors="surrogateescape")
        records, note = _records(list(decode_all(text)), options)
        for number, record in enumerate(records, 1):
            rows.add(number, names.row(record))
    except (ValueError, RecursionError) as error:
        kind = "incomplete" if is_cut_short(error) else "invalid_json"
        return _refused(source, kind, f"this is not JSON that can be read: {why(error)}")
    except _NotATableError as error:
        return _refused(source, "not_a_table", f"this is JSON, but not a table: {error}")
    return Reading(rows.frames(), note=note, header=names.header)


def _records(values: list[JsonValue], options: ReaderOptions) -> tuple[Iterable[JsonRecord], str]:
    """The records of a document and how it holds them. Raises _NotATableError."""
    key = options.records_at
    value: JsonValue = values[0] if len(values) == 1 else values
    if key is not None:
        if not isinstance(value, dict) or key not in value:
            raise _NotATableError(f"there is no key {key!r} in it (reader.records_at)")
        return _array(value[key]), f"JSON, the array under {key!r}"
    if not isinstance(value, dict):
        return _array(value), "JSON, an array"
    arrays = [name for name, inside in value.items() if _is_array_of_objects(inside)]
    if len(arrays) > 1:
        raise _NotATableError(
            f"several keys hold records: {', '.join(arrays)}; name one as reader.records_at"
        )
    if arrays:
        beside = ", ".join(name for name in value if name != arrays[0])
        left_out = f"; warning: left out what is beside it: {beside}" if beside else ""
        return _array(value[arrays[0]]), f"JSON, the array under {arrays[0]!r}{left_out}"
    return [value], "JSON, one object"


def _is_array_of_objects(value: JsonValue) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(item, dict) for item in value)


def _array(value: JsonValue) -> list[JsonRecord]:
    """An array of objects, or of arrays: these name their columns in the first one if that alone is all text."""
    if not isinstance(value, list):
        raise _NotATableError(f"{spoken(value)} where an array of objects was expected")
    if not value:
        raise _NotATableError("the array holds no record")
    records = [item for item in value if isinstance(item, dict)]
    if len(records) == len(value):
        return records
    lists = [item for item in value if isinstance(item, list)]
    if len(lists) == len(value) and len({len(item) for item in lists}) == 1 and lists[0]:
        return _named(lists)
    place, odd = next((place, item) for place, item in enumerate(value, 1) if not isinstance(item, dict))
    raise _NotATableError(f"item {place} of the array is {spoken(odd)}, not an object")


def _named(rows: list[list[JsonValue]]) -> list[JsonRecord]:
    def all_text(row: list[JsonValue]) -> bool:
        return all(type(cell) is str for cell in row) and len(set(map(str, row))) == len(row)

    if len(rows) > 1 and all_text(rows[0]) and not all(map(all_text, rows[1:])):
        names, rows = [str(cell) for cell in rows[0]], rows[1:]
    else:
        names = list(numbered_names(len(rows[0])))
    return [dict(zip(names, row, strict=True)) for row in rows]


def _refused(source: Source, kind: str, reason: str) -> Reading:
    return Reading(refused=Refusal(source.name, kind, reason))
