"""The type of a bronze column and how its text is read. Part of contract.py, where others import it from."""

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from daemon.catalog.contract_values import OneCharacter, Rules, Text, TimeZone

IntegerType = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
CastType = Literal[IntegerType, "float32", "float64", "decimal", "bool", "text", "date", "datetime", "time"]


class CastRule(Rules):
    """The type of a column and how its text is read. `int64` alone stands for `{type: int64}`."""

    type: CastType = Field(description="the column's type")
    precision: Annotated[int, Field(strict=True, ge=1, le=38)] = Field(
        default=38, description="decimal: digits in all, 1 to 38"
    )
    scale: Annotated[int, Field(strict=True, ge=0, le=38)] | None = Field(
        default=None, description="decimal: digits after the point; must be given"
    )
    decimal: OneCharacter = Field(default=".", description="floats and decimals: the decimal sign")
    thousands: OneCharacter | None = Field(default=None, description="numbers: the sign between thousands")
    formats: tuple[Text, ...] = Field(
        default=(), description="date, datetime, time: strptime formats, tried in order; absent: ISO 8601"
    )
    time_zone: TimeZone | None = Field(
        default=None, description="datetime: the zone of values that do not name theirs, e.g. Europe/Paris"
    )

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        for option in sorted(self.model_fields_set - {"type"}):
            if self.type not in _TYPES_WITH[option]:
                raise ValueError(f"'{option}' means nothing for type {self.type}")
        if self.type == "decimal" and self.scale is None:
            raise ValueError("type decimal needs 'scale', the digits after the point, e.g. scale: 2")
        if self.scale is not None and self.scale > self.precision:
            raise ValueError(f"scale {self.scale} is more than precision {self.precision}")
        if self.type in _FRACTIONS and self.thousands == self.decimal:
            raise ValueError(f"'{self.decimal}' cannot be both the decimal sign and the thousands sign")
        return self


_FRACTIONS = frozenset({"float32", "float64", "decimal"})
_INTEGERS = frozenset(get_args(IntegerType))
_TYPES_WITH: Final = {
    "precision": frozenset({"decimal"}),
    "scale": frozenset({"decimal"}),
    "decimal": _FRACTIONS,
    "thousands": _FRACTIONS | _INTEGERS,
    "formats": frozenset({"date", "datetime", "time"}),
    "time_zone": frozenset({"datetime"}),
}


def _expand_shorthand(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


ShortCastRule = Annotated[
    CastRule, BeforeValidator(_expand_shorthand, json_schema_input_type=CastType | CastRule)
]
