"""The kinds of value that contracts and settings are made of: durations, sizes, globs, names.

Each is a type that pydantic checks and that documents itself in the JSON Schema.
Used by contract.py and settings.py.
"""

import codecs
import re
import zoneinfo
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.json_schema import WithJsonSchema

PROVENANCE_COLUMNS: Final = ("_source_file", "_source_row", "_ingested_at", "_batch_id", "_layer")
"""The columns the daemon adds; no contract may make or change them."""

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")


def _seconds(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("wants a duration in seconds, or text such as '500ms', '1s', '5m', '2h'")  # noqa: TRY004 - pydantic reports ValueError
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(
            f"cannot read '{value}' as a duration: write seconds, or text such as '500ms', '1s', '5m', '2h'"
        )
    return float(match.group(1)) * _SECONDS[match.group(2)]


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(
            f"no encoding is called '{name}'; try utf-8, windows-1252, utf-16 or shift_jis"
        ) from None
    return name


def _known_time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone is called '{name}'; use a name such as Europe/Paris or UTC") from None
    return name


def _not_provenance(name: str) -> str:
    if name in PROVENANCE_COLUMNS:
        raise ValueError(f"'{name}' is a provenance column, which only the daemon writes")
    return name


def _without_folders(glob: str) -> str:
    if not glob or "/" in glob:
        raise ValueError(f"'{glob}' must be a glob on a file's name alone, without folders, e.g. sales_*.csv")
    return glob


def _module_and_function(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*:[A-Za-z_]\w*", name) is None:
        raise ValueError(
            f"'{name}' must be module:function, e.g. sales:add_vat for catalog/transforms/sales.py"
        )
    return name


Duration = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    Field(ge=0, allow_inf_nan=False, json_schema_extra={"x-kind": "duration"}),
]
"""Seconds; in files also text: '500ms', '1s', '5m', '2h', '1d'."""

_SIZE_SCHEMA = WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kind": "size"})
Size = Annotated[ByteSize, Field(gt=0), _SIZE_SCHEMA]
"""Bytes; in files also text: '256MB' (10^6), '256MiB' (2^20)."""
SizeOrZero = Annotated[ByteSize, Field(ge=0), _SIZE_SCHEMA]
"""Bytes, where none at all mean something too."""

Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
PositiveCount = Annotated[int, Field(strict=True, ge=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
Sql = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
OneCharacter = Annotated[str, StringConstraints(min_length=1, max_length=1)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
TimeZone = Annotated[str, AfterValidator(_known_time_zone)]

ColumnName = Annotated[str, StringConstraints(min_length=1), AfterValidator(_not_provenance)]
"""A column that a contract makes or changes."""

FileGlob = Annotated[str, AfterValidator(_without_folders)]
"""A glob (`*`, `?`, `[…]`) on a file's name; it has no folders in it."""

TransformName = Annotated[str, AfterValidator(_module_and_function)]
"""`module:function`: the function in `catalog/transforms/<module>.py`."""


class Rules(BaseModel):
    """The base of contracts and settings: unknown keys are refused, nothing changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
