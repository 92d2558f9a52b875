"""Staged -> bronze: names and types. May rename, cast and enforce the schema; no business logic.

A value that does not cast takes its record to quarantine; nothing is nulled in silence.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from daemon.catalog.columns import TableColumns
from daemon.catalog.contract import BronzeRules, CastRule
from daemon.errors import ContractError, RejectDataError
from daemon.lake.parquet import writing
from daemon.pipeline.casting import Cast, cast_column, learned_cast, target_type
from daemon.pipeline.provenance import PROVENANCE, labels
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.writing import (
    OURS,
    Source,
    as_quarantine,
    data_errors,
    publish,
    scan,
    set_records_aside,
    write,
)
from daemon.readers.jsontext import decode, staged

RESCUED = "_rescued"
"""Where values of columns that do not belong to a table are kept, as a JSON object, where the contract says so."""


class BronzeLayer:
    """Renames and casts as `rules` say. `origin` names the contract in messages.

    `columns` are those the table is known to have; with `learns` the types that were learned of them are applied where
    `rules.cast` says nothing.
    """

    def __init__(
        self,
        rules: BronzeRules | None = None,
        origin: str = "",
        columns: TableColumns | None = None,
        *,
        learns: bool = False,
    ) -> None:
        self._rules = rules or BronzeRules()
        self._origin = origin
        self._columns = columns or TableColumns()
        self._learns = learns

    def promote(self, source: Source, rows_in: int, place: Place) -> LayerResult:
        """Promote the staged rows of `source`, `rows_in` of them.

        Raises ContractError, RejectDataError, RetryLaterError.
        """
        staged = scan(source)
        with data_errors(place), writing(place.path) as pending:
            renamed = self._renamed(self._unnested(self._fitted(staged)))
            schema = renamed.collect_schema()
            casts, missing = self._casts(schema), self._missing(schema)
            if isinstance(source, Path) and not (place.hold or casts or missing) and renamed is staged:
                rows = pending.relabel(source, labels(place.layer, ingested_at=place.planned_at))
            else:
                typed = _typed_at_once(renamed, casts, missing) if place.hold else None
                rows = write(pending, _typed(renamed, casts, missing) if typed is None else typed, place)
            rejected: Mapping[tuple[str, str], int] = {}
            if rows < rows_in:
                rejected = set_records_aside(place, _failing(renamed, casts))
            published = publish(pending, place, rows)
        return LayerResult(
            batch_id=place.batch_id,
            rows_in=rows_in,
            rows_out=rows,
            path=place.path if published else None,
            file=published,
            content=pending.content if published else None,
            rejected=rejected,
            quarantine_path=place.quarantine_path if rejected else None,
        )

    def _fitted(self, staged: pl.LazyFrame) -> pl.LazyFrame:
        """The delivery's columns by the table's names; those that do not belong to it as the contract says.

        Raises RejectDataError, kind `drift`, where it says that the file fails.
        """
        drift = self._rules.drift
        delivered = [name for name in staged.collect_schema().names() if name not in PROVENANCE]
        spelled = self._columns.spelled(delivered, self._rules)
        own = [spelled.get(name, name) for name in delivered]
        strange = (
            [] if drift.new_columns == "add" else [name for name in own if name in self._columns.kept_out]
        )
        if strange and drift.new_columns == "fail":
            raise RejectDataError(
                f"{self._origin}: the table has no column {_listed(strange)} (bronze.drift.new_columns: fail)",
                kind="drift",
            )
        missing = [name for name in self._columns.accepted if name not in own]
        if missing and drift.missing_columns == "fail":
            raise RejectDataError(
                f"{self._origin}: column {_listed(missing)} is missing (bronze.drift.missing_columns: fail)",
                kind="drift",
            )
        if spelled:
            staged = _unified(staged, delivered, spelled)
        if strange and drift.new_columns == "rescue":
            filled = pl.any_horizontal(pl.col(name).is_not_null() for name in strange)
            staged = staged.with_columns(
                pl.when(filled).then(pl.struct(strange).struct.json_encode()).alias(RESCUED)
            )
        return staged.drop(strange) if strange else staged

    def _unnested(self, staged: pl.LazyFrame) -> pl.LazyFrame:
        """Keys of JSON objects as columns of text beside their object, which stays: what is no object loses nothing."""
        columns = staged.collect_schema().names() if self._rules.unnest else []
        for column, keys in self._rules.unnest.items():
            if column not in columns:
                continue
            taken = [f"{column}_{key}" for key in keys if f"{column}_{key}" in columns]
            if taken:
                raise ContractError(
                    f"{self._origin}: bronze.unnest: '{column}': the file has a column {_listed(taken)} already"
                )
            values = pl.col(column).map_elements(partial(_values, keys), return_dtype=pl.List(pl.String))
            staged = staged.with_columns(
                values.list.get(place).alias(f"{column}_{key}") for place, key in enumerate(keys)
            )
        return staged

    def _renamed(self, staged: pl.LazyFrame) -> pl.LazyFrame:
        columns = staged.collect_schema().names() if self._rules.rename else []
        names = {old: new for old, new in self._rules.rename.items() if old in columns}
        for old, new in names.items():
            if new in columns and new not in names:
                raise ContractError(
                    f"{self._origin}: bronze.rename: '{old}' cannot become '{new}': the file has that column"
                )
        return staged.rename(names) if names else staged

    def _casts(self, schema: pl.Schema) -> list[Cast]:
        learned = self._learned()
        casts = []
        for name, dtype in schema.items():
            rule = None if name in PROVENANCE else self._rules.cast_for(name)
            if rule is not None and not (rule.type == "text" and dtype == pl.String):
                casts.append(cast_column(name, dtype, rule, self._rules.null_values))
            elif (
                rule is None and name in learned and not (learned[name].type == "text" and dtype == pl.String)
            ):
                casts.append(learned_cast(name, dtype, learned[name]))
        return casts

    def _learned(self) -> dict[str, CastRule]:
        """The learned types, by the names that columns have after the rename."""
        if not self._learns:
            return {}
        return {self._rules.rename.get(name, name): rule for name, rule in self._columns.rules.items()}

    def _missing(self, schema: pl.Schema) -> list[pl.Expr]:
        """A column that the contract casts by its own name and the file does not have is there, and null."""
        return [
            pl.lit(None, target_type(rule)).alias(name)
            for name, rule in self._rules.cast.items()
            if name not in schema.names() and not _is_glob(name)
        ]


def _unified(staged: pl.LazyFrame, delivered: Sequence[str], spelled: Mapping[str, str]) -> pl.LazyFrame:
    """Columns that go by several names in the files of a batch, as one."""
    sources: dict[str, list[str]] = {}
    for name in delivered:
        sources.setdefault(spelled.get(name, name), []).append(name)
    return staged.select(
        *(pl.coalesce(names).alias(own) for own, names in sources.items()),
        *(pl.col(name) for name in PROVENANCE),
    )


def _values(keys: Sequence[str], text: str) -> list[str | None]:
    """What a JSON object has under some keys, as it would be staged."""
    try:
        value = decode(text)
    except (ValueError, RecursionError):
        value = None
    return [staged(value.get(key)) for key in keys] if isinstance(value, dict) else [None] * len(keys)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _typed_at_once(
    renamed: pl.LazyFrame, casts: Sequence[Cast], missing: Sequence[pl.Expr]
) -> pl.DataFrame | None:
    """The rows with all values cast, made in memory; None where a cast gave null, which may be a failure.

    For few rows the tests for failure cost more than the casts.
    """
    values = (cast.value.alias(cast.column) for cast in casts)
    typed = renamed.with_columns(*values, *missing).collect(engine="in-memory")
    return None if any(typed.get_column(cast.column).null_count() for cast in casts) else typed


def _typed(renamed: pl.LazyFrame, casts: Sequence[Cast], missing: Sequence[pl.Expr]) -> pl.LazyFrame:
    """The rows that cast, in one pass: cast beside the text, keep what did not fail, drop the text."""
    if not casts:
        return renamed.with_columns(missing) if missing else renamed
    # The cast is named apart, so that the test for failure uses it and it is computed once.
    beside = {cast.column: f"{OURS}cast {cast.column}" for cast in casts}
    failed = pl.any_horizontal(cast.fails(pl.col(beside[cast.column])) for cast in casts)
    return (
        renamed.with_columns(cast.value.alias(beside[cast.column]) for cast in casts)
        .filter(~failed)
        .with_columns(*(pl.col(name).alias(column) for column, name in beside.items()), *missing)
        .drop(beside.values())
    )


def _failing(renamed: pl.LazyFrame, casts: Sequence[Cast]) -> pl.LazyFrame:
    """The records that do not cast: the rule names the first column at fault, the reason all of them."""
    rule = pl.coalesce(
        [pl.when(cast.fails(cast.value)).then(pl.lit(f"cast:{cast.column}")) for cast in casts]
    )
    reasons = [
        pl.when(cast.fails(cast.value)).then(
            pl.format(
                f"{{}}: '{{}}' is not {cast.wanted}",
                pl.lit(cast.column),
                pl.col(cast.column).cast(pl.String),
            )
        )
        for cast in casts
    ]
    failed = pl.any_horizontal(cast.fails(cast.value) for cast in casts)
    return as_quarantine(
        renamed.filter(failed), rule, pl.concat_str(reasons, separator="; ", ignore_nulls=True)
    )


def _is_glob(name: str) -> bool:
    return any(sign in name for sign in "*?[")
