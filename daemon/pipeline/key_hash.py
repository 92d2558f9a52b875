"""One number for the columns of a key, to tell most keys apart by. Used by dedup and its index of keys."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

_FOLD: Final = pl.lit(0x9E3779B97F4A7C15, dtype=pl.UInt64)


def key_hash(schema: Mapping[str, pl.DataType], keys: Sequence[str]) -> pl.Expr | None:
    """An expression of UInt64, the same for equal keys; None where equal values of a type may have different hashes."""
    if not all(_hashes_plainly(schema[name]) for name in keys):
        return None
    combined, *others = (pl.col(name).hash() for name in keys)
    for other in others:
        combined = combined * _FOLD + other
    return combined


def _hashes_plainly(dtype: pl.DataType) -> bool:
    """Whether equal values have equal hashes: not so for floats, of which 0.0 and -0.0 are one key."""
    return dtype.is_integer() or dtype in {pl.String, pl.Date} or isinstance(dtype, pl.Datetime | pl.Decimal)
