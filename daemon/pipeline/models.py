"""Gold models: tables computed over whole silver and gold tables, by DuckDB's SQL or a Python function.

The result is written by Polars as one file that takes the place of the one before. Called by
`promote.refresh_model`.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
from polars.exceptions import PanicException, PolarsError

from daemon.catalog.promotion import BatchOutcome, LayerFile, ModelInput, ModelTask
from daemon.catalog.transition import Layer, LayerTransitionLog, SourceFile
from daemon.errors import ContractError, RetryLaterError, gist, is_machine_fault
from daemon.lake.durable import remove_tree, scratch_beside
from daemon.lake.layout import Layout
from daemon.lake.parquet import writing
from daemon.lake.sql import LayerView, open_views
from daemon.pipeline.provenance import PROVENANCE, add_provenance_columns
from daemon.pipeline.transforms import load_function, where


class GoldModel:
    """Makes one model anew from the files a task pins."""

    def __init__(self, task: ModelTask) -> None:
        self._task = task
        self._layout = Layout(task.root)

    def refresh(self, clock: Callable[[], datetime]) -> BatchOutcome:
        """Compute, write and describe the model. Raises ContractError, RetryLaterError."""
        task = self._task
        started = clock()
        final = self._layout.generation(Layer.GOLD, task.key, task.generation) / f"{task.key.table}.parquet"
        try:
            file = self._write(final)
        except (duckdb.Error, PolarsError, PanicException, OSError) as error:
            if is_machine_fault(error) or isinstance(
                error, OSError | duckdb.IOException | duckdb.OutOfMemoryException
            ):
                raise RetryLaterError(f"{task.contract.origin}: model: {error}") from error
            raise ContractError(f"{task.contract.origin}: model: {gist(error)}") from error
        return BatchOutcome(self._log(file, started, clock()), file)

    def _write(self, final: Path) -> LayerFile | None:
        with writing(final) as pending, scratch_beside(final) as scratch:
            rows = pending.sink(self._computed(scratch)) if self._has_rows_to_read() else 0
            if rows == 0:
                remove_tree(final)
                return None
            return pending.publish(self._task.batch_id, rows)

    def _has_rows_to_read(self) -> bool:
        """Whether there is something to compute.

        A table all of whose deliveries were undone has no columns for SQL to name; a function gets an empty frame for it.
        """
        rules = self._task.contract.model
        return rules is None or rules.sql is None or all(entry.files for entry in self._task.inputs)

    def _computed(self, scratch: Path) -> pl.LazyFrame:
        task = self._task
        rules = task.contract.model
        if rules is None:
            raise ContractError(f"{task.contract.origin}: this contract describes no model")
        table = (
            self._by_sql(rules.sql, scratch)
            if rules.sql is not None
            else self._by_function(rules.function or "")
        )
        own = table.select(pl.exclude(PROVENANCE))
        return add_provenance_columns(
            own, f"model:{task.key}", task.batch_id, Layer.GOLD, ingested_at=task.planned_at
        )

    def _by_sql(self, sql: str, spill: Path) -> pl.LazyFrame:
        views = [
            LayerView(entry.layer, entry.key, self._paths(entry))
            for entry in self._task.inputs
            if entry.files
        ]
        with open_views(self._layout, views, spill) as connection:
            return pl.DataFrame(connection.sql(sql)).lazy()

    def _by_function(self, name: str) -> pl.LazyFrame:
        folder, origin = self._layout.transforms, self._task.contract.origin
        function = load_function(name, folder, origin)
        frames = [
            pl.scan_parquet(self._paths(entry), glob=False, missing_columns="insert", extra_columns="ignore")
            if entry.files
            else pl.LazyFrame()
            for entry in self._task.inputs
        ]
        try:
            made = function(*frames)
        except Exception as error:
            raise ContractError(f"{origin}: model function '{name}': {where(error, folder)}") from error
        if not isinstance(made, pl.LazyFrame):
            raise ContractError(
                f"{origin}: model function '{name}' must return a LazyFrame, not {type(made).__name__}"
            )
        return made

    def _paths(self, entry: ModelInput) -> list[Path]:
        folder = self._layout.generation(entry.layer, entry.key, entry.generation)
        return [folder / file.name for file in entry.files]

    def _log(self, file: LayerFile | None, started: datetime, completed: datetime) -> LayerTransitionLog:
        task = self._task
        sources = [
            SourceFile(
                path=f"data/{entry.layer}/{entry.key.domain}/{entry.key.table}/{source.name}",
                bytes=source.size,
                sha256=source.sha256,
                rows=source.rows,
            )
            for entry in task.inputs
            for source in entry.files
        ]
        rules = task.contract.model
        name = rules.function if rules is not None and rules.function else "sql"
        return LayerTransitionLog(
            kind="model",
            transition_id=task.transition_id,
            batch_id=task.batch_id,
            domain=task.key.domain,
            table=task.key.table,
            source_layer="silver",
            target_layer="gold",
            source_files=tuple(sources),
            target_file=f"data/gold/{task.key.domain}/{task.key.table}/{file.name}" if file else None,
            row_count_in=sum(source.rows for source in sources),
            row_count_out=file.rows if file else 0,
            transforms_applied=(name,),
            contract_version=task.contract.version,
            started_at=started,
            completed_at=completed,
            status="success",
        )
