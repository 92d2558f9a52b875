"""Small files of a layer merged into larger ones, and batches taken out of merged files: other files, the same rows.

Called by scheduling/tasks.py, and by audit to make a lost merged file again. Only files of the same columns and types are
merged, so that a batch's rows come out as they went in; in a merged file they stand together, in the order of the batches.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from daemon.catalog.compaction import CompactionLimits, Repacked, RepackOutcome, RepackTask, merged_name
from daemon.catalog.promotion import LayerFile
from daemon.errors import RetryLaterError, gist
from daemon.lake.parquet import writing
from daemon.pipeline.provenance import BATCH_ID
from daemon.pipeline.writing import DATA_ERRORS, scan


def repack(task: RepackTask) -> RepackOutcome:
    """Write the new files into the task's folder. Raises RetryLaterError: the files stay as they are."""
    try:
        return _apart(task) if task.apart else _merged(task)
    except DATA_ERRORS as error:
        raise RetryLaterError(f"{task.source}: {gist(error)}") from error


def _merged(task: RepackTask) -> RepackOutcome:
    made, replaced = [], set[str]()
    for run in runs(task.files, [_shape(task.source / file.name) for file in task.files], task.limits):
        rows = merge([task.source / file.name for file in run])
        made.append(_write(task, rows, sum(file.rows for file in run)))
        replaced.update(file.name for file in run)
    return RepackOutcome(tuple(made), frozenset(replaced))


def merge(paths: Sequence[Path]) -> pl.LazyFrame:
    """The rows of files of the same columns, one file after the other."""
    return pl.scan_parquet(list(paths), glob=False)


def write_merged(paths: Sequence[Path], final: Path) -> LayerFile:
    """Merge files of one batch each, in the order of the batches, as they were merged before. Raises what Polars does."""
    with writing(final) as pending:
        return pending.publish("", pending.sink(merge(paths)))


def _apart(task: RepackTask) -> RepackOutcome:
    """Give each of the batches `apart` a file of its own, and the rest of every file another one."""
    made = []
    for file in task.files:
        rows = scan(task.source / file.name)
        counts = _rows_by_batch(task.source / file.name)
        made += [
            _write(task, rows.filter(pl.col(BATCH_ID) == batch_id), counts[batch_id], batch_id)
            for batch_id in sorted(task.apart & counts.keys())
        ]
        left = sum(count for batch_id, count in counts.items() if batch_id not in task.apart)
        if left:
            made.append(_write(task, rows.filter(~pl.col(BATCH_ID).is_in(task.apart)), left))
    return RepackOutcome(tuple(made), frozenset(file.name for file in task.files))


def _write(task: RepackTask, rows: pl.LazyFrame, expected: int, alone: str | None = None) -> Repacked:
    """Write one new file, named after the batches it turns out to hold. Raises RetryLaterError if rows are missing."""
    with writing(task.target / f"{task.mark}.parquet") as pending:
        count = pending.sink(rows)
        if count != expected:
            raise RetryLaterError(f"{task.source}: {expected} rows were to be written, {count} were")
        batches = _rows_by_batch(pending.temporary)
        name = f"{alone}.{task.mark}.parquet" if alone else merged_name(batches, task.mark)
        pending.final = task.target / name
        file = pending.publish("", count)
    return Repacked(file.name, file.size, file.sha256, batches, merged=alone is None)


def _rows_by_batch(path: Path) -> dict[str, int]:
    return dict(scan(path).group_by(BATCH_ID).len().collect().iter_rows())


def _shape(path: Path) -> str:
    """The columns of a file and their types, in order."""
    return str(list(pl.read_parquet_schema(path).items()))


def runs(
    files: Sequence[LayerFile], shapes: Sequence[str], limits: CompactionLimits
) -> Iterator[list[LayerFile]]:
    """Which files to merge: each run is of one shape, and its files are neighbours among those of that shape."""
    alike: dict[str, list[LayerFile]] = {}
    for file, shape in zip(files, shapes, strict=True):
        alike.setdefault(shape, []).append(file)
    for of_shape in alike.values():
        yield from _runs(of_shape, limits)


def _runs(files: Sequence[LayerFile], limits: CompactionLimits) -> list[list[LayerFile]]:
    """The runs of the smallest files: so a row is written anew a few times for each power of `min_files`."""
    bounds = [limits.max_bytes]
    while bounds[-1] > min(file.size for file in files):
        bounds.append(bounds[-1] // limits.min_files)
    for bound in reversed(bounds):
        below = _below(files, bound, limits.max_bytes)
        found = [run for run in below if limits.are_worth_it([file.size for file in run])]
        if found:
            return found
    return []


def _below(files: Sequence[LayerFile], bound: int, full: int) -> Iterator[list[LayerFile]]:
    """Neighbours that are all smaller than `bound`, cut where they make up a full file."""
    run: list[LayerFile] = []
    for file in files:
        if file.size < bound:
            run.append(file)
        if run and (file.size >= bound or sum(found.size for found in run) >= full):
            yield run
            run = []
    if run:
        yield run
