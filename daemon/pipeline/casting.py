"""Text to types, with nothing rounded, guessed or nulled in silence: an expression per column and its test for failure.

Used by bronze. A cast gives null where the value is missing (null, blank, or one of the contract's null
values) and where it does not fit; `Cast.fails` tells the two apart. No type has blank text among its values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from daemon.catalog.contract import CastRule

_INTEGERS: dict[str, pl.DataType] = {
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "uint8": pl.UInt8(),
    "uint16": pl.UInt16(),
    "uint32": pl.UInt32(),
    "uint64": pl.UInt64(),
}
_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]
_ISO = {
    "date": ("%Y-%m-%d",),
    "datetime": (
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d",
    ),
    "time": ("%H:%M:%S%.f", "%H:%M"),
}
_ISO_WITH_OFFSET = "%+"
_OFFSETS = ("%z", "%:z", "%#z", _ISO_WITH_OFFSET)


@dataclass(frozen=True, slots=True)
class Cast:
    """A column that bronze casts: the typed expression `value`, and in words what a value must be to be cast (`wanted`).

    `nulls` are the texts that stand for no value, besides blank ones, as they are or without the blanks around them; None
    where only null is no value.
    """

    column: str
    wanted: str
    value: pl.Expr
    nulls: tuple[str, ...] | None = ()

    def fails(self, value: pl.Expr) -> pl.Expr:
        """True where a value does not fit, given the computed `value`: only where that is null the text is looked at."""
        uncast = pl.when(value.is_null()).then(pl.col(self.column))
        if self.nulls is None:
            return uncast.is_not_null()
        stripped = uncast.str.strip_chars()
        fails = stripped != ""
        if self.nulls:
            fails &= ~(uncast.is_in(list(self.nulls)) | stripped.is_in(list(self.nulls)))
        return fails.fill_null(value=False)


def cast_column(column: str, dtype: pl.DataType, rule: CastRule, null_values: Sequence[str]) -> Cast:
    """The cast of `column`, whose staged type is `dtype`, as `rule` says."""
    source = pl.col(column)
    target = target_type(rule)
    if dtype != pl.String:
        value = source if dtype == target else _typed(source, dtype, target)
        return Cast(column, _wanted(rule), value, None)
    if rule.type == "text":
        return Cast(column, _wanted(rule), source, None)
    text = source.str.strip_chars()
    if null_values:
        text = pl.when(~(source.is_in(list(null_values)) | text.is_in(list(null_values)))).then(text)
    return Cast(column, _wanted(rule), _parsed(text, rule, target), tuple(null_values))


@lru_cache(maxsize=1024)  # with every batch the same ones are asked for
def learned_cast(column: str, dtype: pl.DataType, rule: CastRule) -> Cast:
    """The cast of a column whose type was learned: its values are written as that type is, so less must be looked at.

    A value that is not, since its source was read again otherwise, still does not fit.
    """
    if dtype != pl.String or rule.type not in {"int64", "float64", "date"} or rule.decimal != ".":
        return cast_column(column, dtype, rule, ())
    source, target = pl.col(column), target_type(rule)
    form = rule.formats[0] if rule.formats else "%Y-%m-%d"
    value = (
        source.str.to_date(form, strict=False) if rule.type == "date" else source.cast(target, strict=False)
    )
    return Cast(column, _wanted(rule), value)


def target_type(rule: CastRule) -> pl.DataType:
    """The Polars type a rule leads to. A datetime with a zone, or whose formats name an offset, is aware."""
    if rule.type in _INTEGERS:
        return _INTEGERS[rule.type]
    if rule.type == "decimal":
        return pl.Decimal(rule.precision, rule.scale or 0)
    if rule.type == "datetime":
        return pl.Datetime("us", rule.time_zone or ("UTC" if _names_offset(rule.formats) else None))
    plain: dict[str, pl.DataType] = {
        "float32": pl.Float32(),
        "float64": pl.Float64(),
        "bool": pl.Boolean(),
        "text": pl.String(),
        "date": pl.Date(),
        "time": pl.Time(),
    }
    return plain[rule.type]


def _wanted(rule: CastRule) -> str:
    """What a value must be, with the limits that it may have broken."""
    name = f"an {rule.type}" if rule.type[0] in "aeiou" else f"a {rule.type}"
    if rule.type == "decimal":
        return f"{name} with at most {rule.precision} digits, {rule.scale} of them after the '{rule.decimal}'"
    if rule.formats:
        return f"{name} as {' or '.join(rule.formats)}"
    if rule.time_zone:
        return f"{name}, or no unambiguous time in {rule.time_zone}"
    return name


def _typed(source: pl.Expr, dtype: pl.DataType, target: pl.DataType) -> pl.Expr:
    """From a type a Parquet file brought: only values that survive the way back count as cast."""
    value = source.cast(target, strict=False)
    if target == pl.String or dtype.is_nested():
        return value
    return pl.when(value.cast(dtype, strict=False).eq_missing(source)).then(value)


def _parsed(text: pl.Expr, rule: CastRule, target: pl.DataType) -> pl.Expr:
    if rule.type == "bool":
        word = text.str.to_lowercase()
        return pl.when(word.is_in(_TRUE)).then(statement=True).when(word.is_in(_FALSE)).then(statement=False)
    if rule.type in _ISO:
        return _instant(text, rule, target)
    if rule.thousands:
        text = _ungrouped(text, rule)
    if rule.decimal != ".":
        # A point is then no decimal sign: "1.5" under a decimal comma is an error, not 15 and not 1.5.
        text = pl.when(~text.str.contains(".", literal=True)).then(
            text.str.replace(rule.decimal, ".", literal=True)
        )
    if rule.type == "decimal":
        return _decimal(text, rule, target)
    if rule.type in _INTEGERS:
        # Polars casts "1.0" to null, and so do we; "+5" is an integer people write.
        return pl.when(text.str.contains(r"^[+-]?\d+$")).then(
            text.str.strip_prefix("+").cast(target, strict=False)
        )
    value = text.cast(target, strict=False)
    # A number past the type's range becomes infinite in silence: only text that says so may.
    return pl.when(value.is_infinite().not_() | text.str.contains(r"(?i)^[+-]?inf(inity)?$")).then(value)


def _ungrouped(text: pl.Expr, rule: CastRule) -> pl.Expr:
    """Numbers without their thousands signs; null where these do not part whole groups of three before the decimal sign.

    A number without any such sign is as good.
    """
    sign, point = re.escape(rule.thousands or ""), re.escape(rule.decimal)
    fraction = "" if rule.type in _INTEGERS else rf"({point}\d*)?([eE][+-]?\d+)?"
    grouped = rf"^[+-]?(\d+|\d{{1,3}}({sign}\d{{3}})+){fraction}$"
    return pl.when(text.str.contains(grouped)).then(
        text.str.replace_all(rule.thousands or "", "", literal=True)
    )


def _decimal(text: pl.Expr, rule: CastRule, target: pl.DataType) -> pl.Expr:
    """Polars rounds what has too many digits after the point; here it does not fit."""
    scale = rule.scale or 0
    fits = rf"^[+-]?\d{{0,{max(rule.precision - scale, 1)}}}(\.\d{{0,{scale}}}0*)?$"
    return pl.when(text.str.contains(fits) & text.str.contains(r"\d")).then(
        text.str.strip_prefix("+").cast(target, strict=False)
    )


def _instant(text: pl.Expr, rule: CastRule, target: pl.DataType) -> pl.Expr:
    formats = rule.formats or _ISO[rule.type]
    if isinstance(target, pl.Datetime):
        if target.time_zone and not rule.formats:
            formats = (*formats, _ISO_WITH_OFFSET)
        return pl.coalesce([_datetime(text, form, target.time_zone) for form in formats])
    return pl.coalesce([_to_date_or_time(text, form, rule.type) for form in formats])


def _to_date_or_time(text: pl.Expr, form: str, kind: str) -> pl.Expr:
    value = text.str.to_date(form, strict=False) if kind == "date" else text.str.to_time(form, strict=False)
    return pl.when(_is_whole(text)).then(value) if kind == "time" else value


def _is_whole(text: pl.Expr) -> pl.Expr:
    """Neither a second 60, which would roll over, nor more than six digits of a second, which would be cut."""
    return ~text.str.contains(r":60(\D|$)|\.\d{6}0*[1-9]")


def _datetime(text: pl.Expr, form: str, zone: str | None) -> pl.Expr:
    """A local time that a change of clocks made ambiguous, or that never was, is null: it does not fit."""
    text = pl.when(_is_whole(text)).then(text)
    if _names_offset((form,)):
        return text.str.strptime(pl.Datetime("us", "UTC"), form, strict=False).dt.convert_time_zone(
            zone or "UTC"
        )
    local = text.str.strptime(pl.Datetime("us"), form, strict=False)
    return local if zone is None else local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")


def _names_offset(formats: Sequence[str]) -> bool:
    return any(offset in form for form in formats for offset in _OFFSETS)
