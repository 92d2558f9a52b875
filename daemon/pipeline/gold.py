"""Silver -> gold: derived columns, batch by batch, by SQL or transforms; without either gold equals silver.

Rows may be filtered (and are counted), never made: what joins or aggregates is a gold model.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from daemon.errors import ContractError
from daemon.lake.parquet import writing
from daemon.pipeline.applying import apply_all, blaming, refuse_made_rows
from daemon.pipeline.provenance import PROVENANCE, labels
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.transforms import Transform
from daemon.pipeline.writing import Source, publish, scan, write

_SELECT = re.compile(r"\s*SELECT\s+(?!DISTINCT\b)", re.IGNORECASE)


class GoldLayer:
    """Derives by `sql`, a SELECT in Polars' dialect over the table `silver`, or by `transforms`, loaded already."""

    def __init__(
        self,
        sql: str | None = None,
        transforms: Sequence[Transform] = (),
        *,
        origin: str = "",
        folder: Path = Path(),
    ) -> None:
        self._sql = sql
        self._transforms = transforms
        self._origin = origin
        self._folder = folder

    def promote(self, source: Source, rows_in: int, place: Place) -> LayerResult:
        """Promote the silver rows of `source`, `rows_in` of them.

        Raises ContractError, RejectDataError, RetryLaterError.
        """
        silver = scan(source)
        what = f"{self._origin}: gold"
        with blaming(silver, self._derived, what, self._folder), writing(place.path) as pending:
            if self._sql or self._transforms:
                rows = write(pending, self._derived(silver), place)
                refuse_made_rows(silver, pending.rows, rows, rows_in, what)
            elif isinstance(source, Path):
                rows = pending.relabel(source, labels(place.layer, ingested_at=place.planned_at))
            else:
                rows = write(pending, source, place)
            file = publish(pending, place, rows)
        return LayerResult(
            batch_id=place.batch_id,
            rows_in=rows_in,
            rows_out=rows,
            path=place.path if file else None,
            file=file,
            content=pending.content if file else None,
            rows_filtered=rows_in - rows,
        )

    def _derived(self, silver: pl.LazyFrame) -> pl.LazyFrame:
        if self._sql is not None:
            return self._selected(silver, self._sql)
        return apply_all(silver, self._transforms, self._origin)

    def _selected(self, silver: pl.LazyFrame, sql: str) -> pl.LazyFrame:
        """Run the SQL; a plain SELECT that names only its own columns is given the provenance columns as well."""
        context = pl.SQLContext(silver=silver)
        selected = context.execute(sql, eager=False)
        if _traced(selected):
            return selected
        missing = ", ".join(name for name in PROVENANCE if name not in selected.collect_schema().names())
        traceable = _SELECT.sub(f"SELECT {missing}, ", sql, count=1)
        try:
            traced = context.execute(traceable, eager=False)
            if _traced(traced):
                return traced
        except PolarsError:  # e.g. GROUP BY: the message below says what to do
            pass
        raise ContractError(
            f"{self._origin}: gold.sql loses the columns {missing}: select them too, so that every row can be traced; "
            "for a GROUP BY or a join write a gold model (`model:`)"
        )


def _traced(lf: pl.LazyFrame) -> bool:
    return set(PROVENANCE) <= set(lf.collect_schema().names())
