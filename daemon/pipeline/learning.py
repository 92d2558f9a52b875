"""Finds the types that every value of a staged column allows, by trying the way there and back on all of them.

Used by the staged hop of tables whose types are learned. A value allows a type only if its text comes back unchanged:
`00123`, `1e5`, `+33`, ` 1` and numbers of 16 digits and more stay text. What a sample rules out is not looked for in the
rest, so that most columns of text cost nothing.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import polars as pl

from daemon.catalog.columns import (
    COMMA,
    COMMA_DECIMAL,
    COMMA_FLOAT,
    COMMA_GROUPS,
    DATE,
    DATE_FORMATS,
    DECIMAL,
    FLOAT,
    INT,
    TYPED,
    Candidates,
)
from daemon.pipeline.provenance import PROVENANCE

Engine = Literal["auto", "in-memory"]
_SAMPLE = 100
_INT = r"^(0|-?[1-9]\d{0,14})$"
_FLOAT = r"^-?(0|[1-9]\d*)\.(0|\d*[1-9])$"
_GROUPS = r"^-?[1-9]\d{0,2}(,\d{3})+$"
_SHORT = 16
"""Characters of a number whose fifteen digits at most survive as a float, whatever they are. No `_INT` is longer."""
_SCALES = range(1, 19)
"""Digits after the point of the decimals that are learned."""
_EXACT = 10**15
"""Whole numbers below are exact as floats, too."""
_WORDS = {"bool:true": ("true", "false"), "bool:True": ("True", "False"), "bool:TRUE": ("TRUE", "FALSE")}
_DAY = r"\d{4}-\d\d-\d\d"
_SECOND = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_MOMENTS = {
    "datetime:T": f"^{_DAY}(T{_SECOND})?$",
    "datetime: ": f"^{_DAY}( {_SECOND})?$",
    "datetime:Z": f"^{_DAY}[T ]{_SECOND}(Z|\\+00:?00)$",
}
_ISO = f"{DATE}%Y-%m-%d"
_IMPLIES = {INT: (FLOAT, COMMA_FLOAT, COMMA_GROUPS), _ISO: ("datetime:T", "datetime: ")}
"""Candidates that hold where another does, and need no test of their own then."""


def _decimal(scale: int) -> str:
    return rf"^-?(0|[1-9]\d{{0,{37 - scale}}})\.\d{{{scale}}}$"


def _with_comma(pattern: str) -> str:
    return pattern.replace(r"\.", ",")


def _day(form: str) -> str:
    parts = {"%Y": r"\d{4}", "%m": r"\d\d", "%d": r"\d\d", ".": r"\."}
    return "^" + re.sub(r"%[Ymd]|\.", lambda found: parts[found.group()], form) + "$"


_LOOKS = {
    INT: re.compile(_INT),
    FLOAT: re.compile(f"{_INT}|{_FLOAT}"),
    **{name: re.compile(f"(?i:{'|'.join(words)})") for name, words in _WORDS.items()},
    **{name: re.compile(pattern) for name, pattern in _MOMENTS.items()},
    **{f"{DECIMAL}{scale}": re.compile(_decimal(scale)) for scale in _SCALES},
    COMMA_FLOAT: re.compile(f"{_INT}|{_with_comma(_FLOAT)}"),
    COMMA_GROUPS: re.compile(f"{_INT}|{_GROUPS}"),
    **{f"{COMMA_DECIMAL}{scale}": re.compile(_with_comma(_decimal(scale))) for scale in _SCALES},
    **{f"{DATE}{form}": re.compile(_day(form)) for form in DATE_FORMATS},
}
"""How a value must look to allow a candidate at all: all candidates of a column of text, before one is tested."""


def learn(rows: pl.LazyFrame | pl.DataFrame, known: Mapping[str, Candidates]) -> dict[str, Candidates]:
    """The candidates of every column of staged rows but provenance, in its order.

    `known` are those of earlier deliveries: what they rule out is not looked for again, and what they leave is no surprise,
    so that no sample is looked at first. None: no value yet.
    """
    frame = rows.lazy()
    # of rows that are there: to start the streaming engine costs more than the looks
    engine: Engine = "in-memory" if isinstance(rows, pl.DataFrame) else "auto"
    schema = rows.schema if isinstance(rows, pl.DataFrame) else frame.collect_schema()
    columns = [name for name in schema.names() if name not in PROVENANCE]
    texts = [name for name in columns if schema[name] == pl.String]
    sample = (
        rows.head(_SAMPLE) if isinstance(rows, pl.DataFrame) else frame.select(texts).head(_SAMPLE).collect()
    )
    plausible = {name: _plausible(sample.get_column(name), known.get(name)) for name in texts}
    unseen = [
        name for name in columns if name not in texts or not any(map(_is_value, sample.get_column(name)))
    ]
    first = _answers(frame, {name: _strongest(candidates) for name, candidates in plausible.items()}, engine)
    second = _answers(frame, {name: plausible[name] - _settled(first[name]) for name in texts}, engine)
    known_facts: dict[str, bool] = {}
    if unseen:
        facts = frame.select(
            *(_has_value(name, schema[name]).alias(f"value {name}") for name in unseen),
            *(_is_plain(name, schema[name]).alias(f"plain {name}") for name in columns if name not in texts),
        )
        known_facts = facts.collect(engine=engine).row(0, named=True)
    found: dict[str, Candidates] = {}
    for name in columns:
        if name in unseen and not known_facts[f"value {name}"]:
            found[name] = None
        elif name in texts:
            found[name] = plausible[name] & (_holding(first[name]) | _holding(second[name]))
        else:
            found[name] = _of_type(schema[name], plain=known_facts[f"plain {name}"])
    return found


def _answers(
    frame: pl.LazyFrame, wanted: Mapping[str, frozenset[str]], engine: Engine
) -> dict[str, dict[str, bool]]:
    """Test candidates on all values of their columns, in one pass: column -> candidate -> whether it holds."""
    tests = [(name, candidate) for name, candidates in wanted.items() for candidate in sorted(candidates)]
    found: dict[str, dict[str, bool]] = {name: {} for name in wanted}
    if tests:
        answers = frame.select(
            _holds(name, candidate).alias(str(place)) for place, (name, candidate) in enumerate(tests)
        )
        for (name, candidate), holds in zip(tests, answers.collect(engine=engine).row(0), strict=True):
            found[name][candidate] = holds
    return found


def _strongest(candidates: frozenset[str]) -> frozenset[str]:
    """Candidates that no other one of them implies."""
    implied = {weaker for candidate in candidates for weaker in _IMPLIES.get(candidate, ())}
    return candidates - implied


def _settled(answers: Mapping[str, bool]) -> frozenset[str]:
    """The candidates that need no further test."""
    return frozenset(answers) | _holding(answers)


def _holding(answers: Mapping[str, bool]) -> frozenset[str]:
    """The candidates that hold, and those they imply."""
    held = {candidate for candidate, holds in answers.items() if holds}
    return frozenset(held | {weaker for candidate in held for weaker in _IMPLIES.get(candidate, ())})


def _plausible(values: pl.Series, known: Candidates) -> frozenset[str]:
    """The candidates that what is known does not rule out, nor, where nothing is, the look of some values."""
    if known is not None:
        return known & _LOOKS.keys()
    found = set(_LOOKS)
    for value in values:
        if not found:
            break
        if _is_value(value):
            found = {candidate for candidate in found if _LOOKS[candidate].fullmatch(value)}
    return frozenset(found)


def _is_value(value: str | None) -> bool:
    """Whether text is a value: what is blank is none, to a cast as well."""
    return value is not None and bool(value.strip())


def _of_type(dtype: pl.DataType, *, plain: bool) -> frozenset[str]:
    """The candidates of a column that its file brought with a type; `plain`: its numbers are exact as text and float."""
    numbers = {INT, FLOAT} if dtype.is_integer() else {FLOAT} if dtype.is_float() else set()
    return frozenset({f"{TYPED}{dtype}", *(numbers if plain else ())})


def _is_plain(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_integer():
        return pl.col(name).abs().max().fill_null(0) < _EXACT
    return pl.col(name).is_finite().all() if dtype == pl.Float64 else pl.lit(value=False)


def _has_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """Whether a column has any value: blank text is none, to a cast as well."""
    value = pl.col(name)
    return ((value.str.strip_chars() != "") if dtype == pl.String else value.is_not_null()).any()


@lru_cache(maxsize=1024)  # to put an expression together takes as long as to try it on a thousand values
def _holds(name: str, candidate: str) -> pl.Expr:
    """Whether every value of a column of text allows a candidate. What does not is a value only if it is not blank."""
    text = pl.col(name)
    unlike = pl.when(~_test(text, candidate).fill_null(value=False)).then(text)
    return ~unlike.str.contains(r"\S").any()


def _test(text: pl.Expr, candidate: str) -> pl.Expr:
    if candidate == FLOAT:
        long = pl.when(text.str.len_bytes() > _SHORT).then(text)  # the way back is dear: for these alone
        back = long.cast(pl.Float64, strict=False).cast(pl.String)
        return text.str.contains(f"{_INT}|{_FLOAT}") & back.eq_missing(long)
    if candidate.startswith(DECIMAL):
        return text.str.contains(_decimal(int(candidate.removeprefix(DECIMAL)))) & ~text.str.contains(
            r"^-0\.0*$"
        )
    if candidate == COMMA_FLOAT or candidate.startswith(COMMA_DECIMAL):
        pointed = text.str.replace(",", ".", literal=True)
        return ~text.str.contains(".", literal=True) & _test(pointed, candidate.removeprefix(COMMA))
    looks_so = text.str.contains(_LOOKS[candidate].pattern)
    if candidate.startswith(DATE):
        return looks_so & text.str.to_date(candidate.removeprefix(DATE), strict=False).is_not_null()
    if candidate in _MOMENTS:
        return looks_so & text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
    return looks_so
