"""Avro files: every codec, every type; nested values, and fields of several types, as JSON text. Used by columnar.py."""

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

import fastavro
import polars as pl

_AT_ONCE = 50_000
_PLAIN: Mapping[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int64(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "string": pl.String(),
}
_LOGICAL: Mapping[str, pl.DataType] = {
    "date": pl.Date(),
    "time-millis": pl.Time(),
    "time-micros": pl.Time(),
    "timestamp-millis": pl.Datetime("us", "UTC"),
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "timestamp-nanos": pl.Datetime("us", "UTC"),
    "local-timestamp-millis": pl.Datetime("us"),
    "local-timestamp-micros": pl.Datetime("us"),
    "uuid": pl.String(),
}
_MOST_DIGITS = 38
_VALUE = "value"
"""What the column of a file is called whose records are no objects."""


def read_avro(path: Path) -> pl.LazyFrame:
    """All records. Raises EOFError where the file is cut short, and whatever fastavro raises on bad ones."""
    with _Bounded(path) as file:
        try:
            records, fields = _opened(file)
            schema = pl.Schema({name: _dtype(kind) for name, kind in fields.items()})
            frames = [schema.to_frame(), *_frames(records, schema)] if fields else []
        except ValueError as error:  # no marker where a block should end: because the file does
            if file.read(1):
                raise
            raise EOFError from error
    return pl.concat(frames).lazy() if frames else pl.LazyFrame()


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it holds: for a length that is damaged, memory would be made first."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._size))


def _opened(file: IO[bytes]) -> tuple[Iterator[Mapping[str, Any]], dict[str, Any]]:
    """The records as objects, and the types of their fields."""
    reader = fastavro.reader(file)
    schema: Any = reader.writer_schema
    if isinstance(schema, dict) and schema.get("type") in ("record", "error"):
        records: Any = reader
        return records, {field["name"]: field["type"] for field in schema["fields"]}
    return ({_VALUE: record} for record in reader), {_VALUE: schema}


def _frames(records: Iterator[Mapping[str, Any]], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    while chunk := list(islice(records, _AT_ONCE)):
        columns = {
            name: pl.Series(name, _values((record[name] for record in chunk), dtype), dtype)
            for name, dtype in schema.items()
        }
        yield pl.DataFrame(columns, height=len(chunk))


def _values(values: Iterable[Any], dtype: pl.DataType) -> list[Any]:
    return [_text(value) for value in values] if dtype == pl.String else list(values)


def _dtype(kind: object) -> pl.DataType:
    """The type of a column for the values of a field; text for all that is nested or of several types."""
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        return _dtype(kinds[0]) if len(kinds) == 1 else pl.String()
    if not isinstance(kind, dict):
        return _PLAIN.get(str(kind), pl.String())
    logical, underlying = kind.get("logicalType"), kind.get("type")
    if logical == "decimal" and kind.get("precision", _MOST_DIGITS + 1) <= _MOST_DIGITS:
        return pl.Decimal(kind["precision"], kind.get("scale", 0))
    if logical == "decimal" or underlying == "record":
        return pl.String()
    if logical in _LOGICAL:
        return _LOGICAL[str(logical)]
    return pl.Binary() if underlying == "fixed" else _dtype(underlying)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return str(_plain(value))


def _plain(value: object) -> object:
    """A value that JSON has no word for, as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
