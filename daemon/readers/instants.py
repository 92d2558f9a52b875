"""Types of times as polars can hold them, also within lists and structs. Used for files that bring their own types."""

import os
from collections.abc import Callable
from functools import cache

import polars as pl
from polars._typing import PolarsDataType, TimeUnit
from polars.exceptions import PolarsError

# Polars knows no zones such as +05:30, which pandas writes. By default it panics at them; so it only does not compute.
os.environ["POLARS_IGNORE_TIMEZONE_PARSE_ERROR"] = "1"


def in_unit(kind: PolarsDataType, unit: TimeUnit) -> PolarsDataType:
    """The type `kind`, with all times within it in `unit`."""
    return _changed(kind, lambda time: pl.Datetime(unit, time.time_zone))


def in_known_zones(kind: PolarsDataType) -> PolarsDataType:
    """The type `kind`, with UTC for each zone that polars does not know: a cast keeps the instant."""
    return _changed(
        kind, lambda time: time if _is_known(time.time_zone) else pl.Datetime(time.time_unit, "UTC")
    )


@cache
def _is_known(zone: str | None) -> bool:
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone)).dt.replace_time_zone(None)
    except PolarsError:
        return False
    return True


def _changed(kind: PolarsDataType, change: Callable[[pl.Datetime], pl.Datetime]) -> PolarsDataType:
    if isinstance(kind, pl.Datetime):
        return change(kind)
    if isinstance(kind, pl.List):
        return pl.List(_changed(kind.inner, change))
    if isinstance(kind, pl.Array):
        return pl.Array(_changed(kind.inner, change), kind.size)
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _changed(field.dtype, change) for field in kind.fields})
    return kind
