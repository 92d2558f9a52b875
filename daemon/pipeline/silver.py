"""Bronze -> silver: clean, transform, check, deduplicate; in this order, so that only valid rows compete for a key.

May not touch raw sources. Every row that goes is counted: quarantined by a check, filtered by a transform or
a check that drops, deduplicated within the batch or against the batches before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from daemon.catalog.contract import CheckRule, CleanRules, SilverRules
from daemon.catalog.promotion import LayerFile
from daemon.errors import (
    ContractError,
    RejectDataError,
    RetryLaterError,
    SharedFileError,
    gist,
    is_machine_fault_above_staged,
)
from daemon.lake.generations import build_next
from daemon.lake.parquet import PendingParquet, writing
from daemon.pipeline.applying import apply_all, blaming, refuse_made_rows
from daemon.pipeline.dedup import Losers, Published, keep_one_per_key, losers, without
from daemon.pipeline.provenance import PROVENANCE, SOURCE_FILE, SOURCE_ROW
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.transforms import Transform
from daemon.pipeline.writing import (
    DATA_ERRORS,
    OURS,
    Source,
    as_quarantine,
    publish,
    scan,
    set_records_aside,
    write,
)

_FATE = f"{OURS}fate"
_KEPT = "kept"


@dataclass(frozen=True, slots=True)
class SilverResult:
    """The batch in silver.

    Where it beat published rows, `generation` is the next one, complete but not yet shown; `rewritten` are the files that
    lost rows, each with what took its place, None when no row was left.
    """

    layer: LayerResult
    generation: int
    rewritten: tuple[tuple[LayerFile, LayerFile | None], ...] = ()


class SilverLayer:
    """Refines as `rules` say, with `transforms` loaded already.

    `origin` names the contract, `folder` its transforms; `released` are records (source file, number) that a person let
    pass the checks.
    """

    def __init__(
        self,
        rules: SilverRules | None = None,
        transforms: Sequence[Transform] = (),
        *,
        origin: str = "",
        folder: Path = Path(),
        released: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self._rules = rules or SilverRules()
        self._transforms = transforms
        self._origin = origin
        self._folder = folder
        self._released = released

    def promote(
        self, source: Source, rows_in: int, place: Place, published: Published | None = None
    ) -> SilverResult:
        """Promote the bronze rows of `source`, `rows_in` of them; with `published`, keys are unique across batches.

        Raises ContractError, RejectDataError, RetryLaterError.
        """
        bronze = scan(source)
        with writing(place.path) as pending:
            with blaming(bronze, self._kept, f"{self._origin}: silver", self._folder):
                judged = self._refined(bronze)
                rows = self._sink(pending, self._valid(judged), bronze, rows_in, place)
                fates = {_KEPT: rows} if rows == rows_in else self._count_fates(judged)
                self._refuse_failed(judged, fates)
                rejected = self._set_aside(judged, place) if _sum(fates, "quarantine:") else {}
            aside = place.quarantine_path if rejected else None  # `_across` may move on to another generation
            rows, place, rewritten = self._across(pending, place, rows, published)
            file = publish(pending, place, rows)
        result = LayerResult(
            batch_id=place.batch_id,
            rows_in=rows_in,
            rows_out=rows,
            path=place.path if file else None,
            file=file,
            content=pending.content if file else None,
            rejected=rejected,
            quarantine_path=aside,
            rows_deduplicated=fates.get(_KEPT, 0) - rows,
            rows_filtered=rows_in - sum(fates.values()) + _sum(fates, "drop:"),
            warnings=self._warnings(pending.rows) if file else (),
        )
        return SilverResult(result, place.generation, rewritten)

    def _refined(self, bronze: pl.LazyFrame) -> pl.LazyFrame:
        """Clean, transform, and say of every row what the checks make of it, if they may take one away."""
        cleaned = _clean(bronze, self._rules.clean)
        transformed = apply_all(cleaned, self._transforms, self._origin)
        if not self._judges():
            return transformed
        fate = pl.lit(_KEPT)
        for check in reversed(self._rules.checks):
            if check.on_failure != "warn":
                fate = (
                    pl.when(self._fails(check))
                    .then(pl.lit(f"{check.on_failure}:{check.name}"))
                    .otherwise(fate)
                )
        if self._released:
            names = [f"{row} {file}" for file, row in self._released]
            is_released = pl.format("{} {}", SOURCE_ROW, SOURCE_FILE).is_in(names)
            fate = pl.when(is_released).then(pl.lit(_KEPT)).otherwise(fate)
        return transformed.with_columns(fate.alias(_FATE))

    def _fails(self, check: CheckRule) -> pl.Expr:
        """As SQL's CHECK: only a condition that is false fails; one that is null does not."""
        return ~condition(check, self._origin).fill_null(value=True)

    def _judges(self) -> bool:
        """Whether a check may take a row away."""
        return any(check.on_failure != "warn" for check in self._rules.checks)

    def _kept(self, bronze: pl.LazyFrame) -> pl.LazyFrame:
        """The rows that stay, from bronze on."""
        return self._one_per_key(self._valid(self._refined(bronze)))

    def _one_per_key(self, valid: pl.LazyFrame) -> pl.LazyFrame:
        return keep_one_per_key(valid, self._rules.dedup) if self._rules.dedup else valid

    def _valid(self, judged: pl.LazyFrame) -> pl.LazyFrame:
        return judged.filter(pl.col(_FATE) == _KEPT).drop(_FATE) if self._judges() else judged

    def _sink(
        self,
        pending: PendingParquet,
        valid: pl.LazyFrame,
        bronze: pl.LazyFrame,
        rows_in: int,
        place: Place,
    ) -> int:
        """Write the valid rows, one per key; returns how many."""
        if not self._transforms:
            return write(pending, self._one_per_key(valid), place)
        rows = write(pending, valid, place)
        refuse_made_rows(bronze, pending.rows, rows, rows_in, f"{self._origin}: silver.transforms")
        if (
            self._rules.dedup and rows
        ):  # from what was written: what transforms make may come in another order next time
            rows = pending.rewrite(self._one_per_key(pending.rows))
        return rows

    def _count_fates(self, judged: pl.LazyFrame) -> dict[str, int]:
        if not self._judges():
            return {_KEPT: int(judged.select(pl.len()).collect().item())}
        return dict(judged.select(_FATE).group_by(_FATE).len().sort(_FATE).collect().iter_rows())

    def _refuse_failed(self, judged: pl.LazyFrame, fates: Mapping[str, int]) -> None:
        failed = {fate: count for fate, count in fates.items() if fate.startswith("fail:")}
        if failed:
            fate, count = next(iter(failed.items()))
            first = (
                judged.filter(pl.col(_FATE) == fate)
                .select("_source_file", "_source_row")
                .first()
                .collect()
                .row(0)
            )
            raise RejectDataError(
                f"{self._origin}: check '{fate.partition(':')[2]}' failed for {count} rows, first for {first[0]} "
                f"record {first[1]}; it says that the file is refused then",
                kind="check_failed",
            )

    def _across(
        self, pending: PendingParquet, place: Place, rows: int, published: Published | None
    ) -> tuple[int, Place, tuple[tuple[LayerFile, LayerFile | None], ...]]:
        """Settle keys that earlier batches have as well: drop our losers, and rewrite the files that hold theirs.

        Returns the rows that are left of the batch, and where it goes: into the next generation if files were
        rewritten.
        """
        rule = self._rules.dedup
        if rule is None or published is None or rows == 0:
            return rows, place, ()
        try:
            lost = losers(pending.rows, published, rule)
            if lost.ours is not None:
                rows = pending.rewrite(without(pending.rows, lost.ours))
            if lost.theirs is None:
                return rows, place, ()
            rewritten = _rewrite(place, published, lost)
        except DATA_ERRORS as error:
            if is_machine_fault_above_staged(error):
                raise RetryLaterError(f"{place.path}: {error}") from error
            raise ContractError(
                f"{self._origin}: silver.dedup: the keys do not compare with those of earlier batches ({gist(error)}); "
                "was their type changed since?"
            ) from error
        place = replace(place, generation=published.next_generation)
        pending.final = place.path
        return rows, place, rewritten

    def _set_aside(self, judged: pl.LazyFrame, place: Place) -> Mapping[tuple[str, str], int]:
        failing = judged.filter(pl.col(_FATE).str.starts_with("quarantine:"))
        name = pl.col(_FATE).str.strip_prefix("quarantine:")
        conditions = {check.name: check.sql for check in self._rules.checks}
        reason = pl.format("not true: {}", name.replace_strict(conditions, return_dtype=pl.String))
        return set_records_aside(place, as_quarantine(failing, pl.format("check:{}", name), reason))

    def _warnings(self, written: pl.LazyFrame) -> list[str]:
        checks = [check for check in self._rules.checks if check.on_failure == "warn"]
        if not checks:
            return []
        counts = (
            written.select(self._fails(check).sum().alias(check.name) for check in checks).collect().row(0)
        )
        return [
            f"check '{check.name}' is not met by {count} rows: {check.sql}"
            for check, count in zip(checks, counts, strict=True)
            if count
        ]


def _rewrite(
    place: Place, published: Published, lost: Losers
) -> tuple[tuple[LayerFile, LayerFile | None], ...]:
    """Build the next generation: files without losers as they are, the others without their losers, under a new name.

    Raises SharedFileError where a loser stands in a file with other batches.
    """
    assert lost.theirs is not None  # noqa: S101 - the caller asked
    shared = lost.hit - {file.batch_id for file in published.files if not file.merged}
    if shared:
        raise SharedFileError(shared)
    keep = [file.name for file in published.files if file.merged or file.batch_id not in lost.hit]
    folder = build_next(
        place.layout, place.layer, place.key, place.generation, published.next_generation, keep
    )
    rewritten = []
    for old in published.files:
        if not old.merged and old.batch_id in lost.hit:
            path = folder / f"{old.batch_id}.g{published.next_generation}.parquet"
            with writing(path) as pending:
                rows = pending.sink(without(scan(published.folder / old.name), lost.theirs))
                rewritten.append((old, pending.publish(old.batch_id, rows) if rows else None))
    return tuple(rewritten)


def _sum(fates: Mapping[str, int], prefix: str) -> int:
    return sum(count for fate, count in fates.items() if fate.startswith(prefix))


def condition(check: CheckRule, origin: str) -> pl.Expr:
    """A check's SQL as an expression, true for a good row. Raises ContractError, naming `origin`, when it is none."""
    try:
        return pl.sql_expr(check.sql)
    except DATA_ERRORS as error:
        raise ContractError(
            f"{origin}: check '{check.name}': '{check.sql}' is no SQL: {gist(error)}"
        ) from error


def _clean(lf: pl.LazyFrame, rules: CleanRules) -> pl.LazyFrame:
    """The contract's small repairs, in the order of its keys.

    A column that is not there is nothing to repair.
    """
    schema = lf.collect_schema()
    columns = [name for name in schema.names() if name not in PROVENANCE]
    own = {*rules.collapse_blanks, *rules.lower, *rules.upper, *rules.fill_null}
    alike = [name for name in columns if schema[name] == pl.String and name not in own]
    steps = [_repaired(pl.col(alike), rules)] if alike else []
    for name in columns:
        if name not in own:
            continue
        value = pl.col(name)
        if schema[name] == pl.String:
            value = _repaired(value, rules, name)
        if name in rules.fill_null:
            value = value.fill_null(rules.fill_null[name])
        steps.append(value.alias(name))
    return lf.with_columns(steps)


def _repaired(value: pl.Expr, rules: CleanRules, name: str = "") -> pl.Expr:
    """Text, of the column `name` or of several for which nothing special is said."""
    if rules.strip:
        value = value.str.strip_chars()
    if name in rules.collapse_blanks:
        value = value.str.replace_all(r"\s+", " ")
    if name in rules.lower:
        value = value.str.to_lowercase()
    if name in rules.upper:
        value = value.str.to_uppercase()
    return pl.when(value != "").then(value) if rules.empty_as_null else value
