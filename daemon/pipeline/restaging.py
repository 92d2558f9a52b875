"""A batch's staged file made anew: rows of some of its files taken back or returned, or its sources read again.

Called by scheduling/tasks.py for rebuilds. What is taken back lies in data/.undone/ until it returns.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from daemon.catalog.promotion import BatchOutcome
from daemon.catalog.rebuild import DeliveredFile, RestageTask
from daemon.catalog.transition import Layer, LayerTransitionLog, SourceFile
from daemon.errors import RejectDataError
from daemon.lake.archive import PRIVATE_FILE, PRIVATE_FOLDER
from daemon.lake.durable import make_directories, remove_tree
from daemon.lake.layout import Layout
from daemon.lake.parquet import writing
from daemon.lake.quarantine import write_quarantine
from daemon.pipeline.provenance import SOURCE_FILE, update_layer_column
from daemon.pipeline.records import Attempt, dropped_sources, shown, transition
from daemon.pipeline.results import Place
from daemon.pipeline.staged import StagedLayer
from daemon.pipeline.writing import columns_of, data_errors, flat, publish, rows_of, scan

Clock = Callable[[], datetime]


def restage(task: RestageTask, clock: Clock) -> BatchOutcome:
    """Make the batch's staged file anew. Raises RejectDataError when a source is refused now, RetryLaterError."""
    return _Restaging(task, clock).run()


class _Restaging:
    def __init__(self, task: RestageTask, clock: Clock) -> None:
        self._task = task
        self._clock = clock
        self._started = clock()
        self._layout = Layout(task.root)
        self._place = Place(
            self._layout,
            task.key,
            Layer.STAGED,
            task.batch_id,
            task.generation,
            task.planned_at,
            f"{task.batch_id}.parquet",
        )

    def run(self) -> BatchOutcome:
        return self._read_again() if self._task.sources else self._move()

    def _read_again(self) -> BatchOutcome:
        task = self._task
        staged = StagedLayer(task.options).promote(task.sources, self._place)
        refused = next((file for file in staged.files if file.fate == "set_aside"), None)
        if refused is not None:
            raise RejectDataError(f"read again it would be refused: {refused.reason}", kind="refused_again")
        attempt = Attempt(task.transition_id, self._started, self._clock(), supersedes=task.supersedes)
        sources = dropped_sources(task.sources, staged.files, staged.notes)
        log = transition(self._place, staged.layer, attempt, sources, files=staged.files)
        result = staged.layer
        quarantine = self._layout.relative(result.quarantine_path) if result.quarantine_path else None
        headers = tuple(staged.headers.items())
        return BatchOutcome(log, result.file, (), quarantine, flat(result.rejected), staged.columns, headers)

    def _move(self) -> BatchOutcome:
        """Put away the rows of files that go, and write what is left with those that return."""
        task, place = self._task, self._place
        folder = self._layout.undone(task.key)
        make_directories(folder, PRIVATE_FOLDER)
        rows, rows_in, retracted = self._moved(self._staged(), folder, "")
        file = None
        with data_errors(place), writing(place.path) as pending:
            written = 0 if rows is None else pending.sink(self._stamped(rows))
            file = publish(pending, place, written)
        quarantine, rules = self._quarantine(folder)
        log = LayerTransitionLog(
            kind="restoration" if task.back else "retraction",
            transition_id=task.transition_id,
            batch_id=task.batch_id,
            domain=task.key.domain,
            table=task.key.real.table,
            source_layer="staged",
            target_layer="staged",
            source_files=tuple(
                SourceFile(path=moved.name, bytes=0, sha256="", rows=0, note=note)
                for moved, note in [
                    *((moved, "its rows were taken back") for moved in task.out),
                    *((moved, "its rows returned") for moved in task.back),
                ]
            ),
            target_file=shown(place, file),
            row_count_in=rows_in,
            row_count_out=file.rows if file else 0,
            rows_retracted=retracted,
            started_at=self._started,
            completed_at=self._clock(),
            status="success",
            supersedes=task.supersedes,
        )
        return BatchOutcome(log, file, (), quarantine, rules, columns_of(place.path) if file else ())

    def _moved(
        self, standing: pl.LazyFrame | None, folder: Path, part: str
    ) -> tuple[pl.LazyFrame | None, int, int]:
        """What is left of the rows `standing` with the rows that return; also the rows before, and those that went."""
        frames, rows_in, retracted = [], 0, 0
        if standing is not None:
            frame = standing
            rows_in = int(frame.select(pl.len()).collect().item())
            for file in self._task.out:
                retracted += _put_away(frame.filter(_is_of(file)), folder / f"{file.file_id}{part}.parquet")
            gone = [_is_of(file) for file in self._task.out]
            frames.append(frame.filter(~pl.any_horizontal(gone)) if gone else frame)
        for file in self._task.back:
            path = folder / f"{file.file_id}{part}.parquet"
            if path.exists():
                frames.append(scan(path))
                rows_in += int(scan(path).select(pl.len()).collect().item())
        if not frames:
            return None, rows_in, retracted
        together = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
        if self._task.back:
            together = together.sort(_order(self._task.files), maintain_order=True)
        return together, rows_in, retracted

    def _quarantine(self, folder: Path) -> tuple[str | None, tuple[tuple[str, str, int], ...]]:
        """The same for the records of those files that could not be read."""
        standing = self._task.quarantine_file
        records, rows, retracted = self._moved(
            None if standing is None else scan(self._task.root / standing), folder, "-quarantine"
        )
        if records is None or rows == retracted:
            return None, ()
        write_quarantine(records, self._place.quarantine_path)
        counts = records.group_by("rule", SOURCE_FILE).len().sort("rule", SOURCE_FILE).collect()
        return self._layout.relative(self._place.quarantine_path), tuple(counts.iter_rows())

    def _staged(self) -> pl.LazyFrame | None:
        task = self._task
        if task.staged is None:
            return None
        return rows_of(self._layout.generation(Layer.STAGED, task.key, task.source_generation), task.staged)

    def _stamped(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return update_layer_column(rows, Layer.STAGED, ingested_at=self._task.planned_at)


def _put_away(rows: pl.LazyFrame, path: Path) -> int:
    with writing(path, PRIVATE_FILE) as pending:
        count = pending.sink(rows)
        if count:
            pending.publish("", count)
        else:
            remove_tree(path)
    return count


def _is_of(file: DeliveredFile) -> pl.Expr:
    """Whether a row is of a dropped file, or of a member of it."""
    source = pl.col(SOURCE_FILE)
    return (source == file.name) | source.str.starts_with(f"{file.name}!")


def _order(names: Sequence[str]) -> pl.Expr:
    """The place of a row's file among the batch's."""
    place = pl.lit(len(names))
    for number, name in enumerate(names):
        source = pl.col(SOURCE_FILE)
        place = pl.when((source == name) | source.str.starts_with(f"{name}!")).then(number).otherwise(place)
    return place
