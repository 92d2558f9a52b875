"""JSON: one object a line, or an array of objects. Numbers keep every digit, nested values stay JSON text.

A line that is no JSON object is set aside; a document that is broken or no table is refused and called what it is.
"""

import json
from pathlib import Path
from typing import Any

from daemon.catalog.contract import ReaderOptions
from daemon.readers.delivery import DamagedRecord, Reading, Refusal, Source
from daemon.readers.damage import too_much_damage
from daemon.readers.frames import RecordWriter
from daemon.readers.headers import column_names
from daemon.readers.lines import printable, read_lines


class _Number(str):
    """A JSON number as its digits stand in the file."""

    __slots__ = ()


class _InvalidJsonError(ValueError):
    """JSON in form, but not to be read: a key twice, NaN."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise _InvalidJsonError(f"the key {twice!r} stands twice in one object")
    return made


def _no_number(word: str) -> Any:
    raise _InvalidJsonError(f"{word} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=_no_number
)
_BLANKS = " \t\r\n"


def _text(value: Any) -> str | None:
    """A value as staged: text and numbers as they are, nested values as JSON text."""
    if value is None:
        return None
    if isinstance(value, _Number):
        return str(value)
    return value if isinstance(value, str) else _json_text(value)


def _json_text(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {_json_text(v)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class _Names:
    """Keys to column names, stable over the whole file."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def row(self, record: dict[str, Any]) -> dict[str, str | None]:
        if not self._names.keys() >= record.keys():
            keys = [*self._names, *(key for key in record if key not in self._names)]
            self._names = dict(zip(keys, column_names(keys), strict=True))
        names = self._names
        return {names[key]: _text(value) for key, value in record.items()}

    @property
    def header(self) -> tuple[str, ...] | None:
        return tuple(self._names) if any(key != name for key, name in self._names.items()) else None


def read_json(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """The records of a JSON file, whichever way it holds them."""
    if options.format == "ndjson" or (options.format is None and _is_lines(source.path)):
        return _read_lines(source, scratch, stem)
    return _read_document(source, options, scratch, stem)


def _is_lines(path: Path) -> bool:
    """Whether the file is one JSON value a line: its first line is a whole one and more follow."""
    first = next((line for line in read_lines(path) if line.text.strip()), None)
    if first is None:
        return False
    try:
        value, end = _DECODER.raw_decode(first.text.lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not first.text.lstrip()[end:].strip()


def _read_lines(source: Source, scratch: Path, stem: str) -> Reading:
    """One JSON object a line; lines that are none are set aside."""
    rows = RecordWriter(source.name, scratch, stem)
    names = _Names()
    damaged: list[DamagedRecord] = []
    number = 0
    for line in read_lines(source.path):
        if not line.text.strip(_BLANKS):
            continue
        number += 1
        try:
            rows.add(number, names.row(_decode_object(line.text)))
        except (ValueError, RecursionError) as error:
            damaged.append(
                DamagedRecord(
                    source.name,
                    number,
                    line.number,
                    line.offset,
                    "invalid_json",
                    printable(line.text),
                    f"line {line.number}: {_why(error)}",
                )
            )
    refusal = too_much_damage(source.name, damaged, number)
    if refusal is not None:
        return Reading(refused=refusal)
    return Reading(rows.frames(), tuple(damaged), note="JSON, one object a line", header=names.header)


def _decode_object(text: str) -> dict[str, Any]:
    if not text.isascii():
        text.encode()  # invalid bytes came through as lone surrogates: raises
    value = _DECODER.decode(text)
    if not isinstance(value, dict):
        raise _InvalidJsonError("a line of this file is a JSON object, this one is not")
    _refuse_lone_surrogates(text)
    return value


def _refuse_lone_surrogates(text: str) -> None:
    if "\\ud" in text or "\\uD" in text:
        json.dumps(_DECODER.decode(text), ensure_ascii=False).encode()


def _read_document(source: Source, options: ReaderOptions, scratch: Path, stem: str) -> Reading:
    """An array of objects, or an object with the array under `options.records_at`."""
    try:
        text = source.path.read_text("utf-8-sig")
        value = _DECODER.decode(text)
        _refuse_lone_surrogates(text)
    except (ValueError, RecursionError) as error:
        return Reading(
            refused=Refusal(source.name, "invalid_json", f"this is not JSON that can be read: {_why(error)}")
        )
    records = _records(value, options)
    if isinstance(records, str):
        return Reading(refused=Refusal(source.name, "not_a_table", records))
    rows = RecordWriter(source.name, scratch, stem)
    names = _Names()
    for number, record in enumerate(records, 1):
        rows.add(number, names.row(record))
    return Reading(rows.frames(), note="JSON, an array of objects", header=names.header)


def _records(value: Any, options: ReaderOptions) -> list[dict[str, Any]] | str:
    """The records of a document, or why it holds none."""
    if options.records_at is not None:
        if not isinstance(value, dict) or options.records_at not in value:
            return f"there is no key {options.records_at!r} (reader.records_at) in this JSON document"
        value = value[options.records_at]
    if not isinstance(value, list):
        return f"this is JSON, but not a table: {_kind(value)} where an array of objects was expected"
    odd = next((place for place, item in enumerate(value, 1) if not isinstance(item, dict)), None)
    if odd is not None:
        return f"this is JSON, but not a table: item {odd} of the array is {_kind(value[odd - 1])}, not an object"
    if not value:
        return "this is JSON, but the array holds no record"
    return value


def _kind(value: Any) -> str:
    kinds: list[tuple[type, str]] = [
        (dict, "an object"),
        (list, "an array"),
        (_Number, "a number"),
        (str, "a text"),
    ]
    return next((name for kind, name in kinds if isinstance(value, kind)), json.dumps(value))


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it holds bytes or escapes that are no characters"
    return str(error)
