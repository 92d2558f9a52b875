"""One way of writing for all layers: sink a frame, publish the file unless it is empty, set records aside.

Used by the layer classes; wraps what Polars may raise into the errors of daemon/errors.py.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from daemon.catalog.promotion import LayerFile
from daemon.errors import RejectDataError, RetryLaterError, gist, is_machine_fault_above_staged
from daemon.lake.durable import remove_tree
from daemon.lake.parquet import PendingParquet
from daemon.lake.quarantine import write_quarantine
from daemon.pipeline.provenance import (
    BATCH_ID,
    PROVENANCE,
    SOURCE_FILE,
    SOURCE_ROW,
    labelled,
    labels,
    update_layer_column,
)
from daemon.pipeline.results import Place

DATA_ERRORS = (PolarsError, PanicException, ValueError, ArithmeticError, OSError)
"""What data can make Polars raise. PanicException is a BaseException: `except Exception` would miss it."""

Source = Path | pl.LazyFrame | pl.DataFrame
"""The rows of the layer below: a layer file, some of the rows of one, or all of them in memory."""


@contextmanager
def data_errors(place: Place) -> Iterator[None]:
    """Turn what Polars raises while it reads or refines into RetryLaterError or RejectDataError."""
    try:
        yield
    except DATA_ERRORS as error:
        if is_machine_fault_above_staged(error):
            raise RetryLaterError(f"{place.path}: {error}") from error
        raise RejectDataError(
            f"{place.layer} cannot be made: {gist(error)}", kind="refining_failed"
        ) from error


def publish(pending: PendingParquet, place: Place, rows: int) -> LayerFile | None:
    """Publish a finished file; one without rows is not published, and what an earlier attempt left is removed.

    Rows that are held may be published beside the work on the next hop: what is not known of their file before is empty.
    """
    if rows == 0:
        remove_tree(place.path)
        return None
    if place.beside is None:
        return pending.publish(place.batch_id, rows)
    wait = place.beside(lambda: pending.publish(place.batch_id, rows))
    return LayerFile(place.batch_id, pending.final.name, rows, 0, "") if pending.is_held else wait()


def set_records_aside(place: Place, records: pl.LazyFrame) -> Mapping[tuple[str, str], int]:
    """Write records (columns of `lake.quarantine.SCHEMA` but the last two) to quarantine; returns rows by rule and file."""
    stamped = records.with_columns(
        pl.lit(place.batch_id).alias("_batch_id"), pl.lit(str(place.layer)).alias("_layer")
    ).collect()
    write_quarantine(stamped.lazy(), place.quarantine_path)
    counts = stamped.group_by("rule", SOURCE_FILE).len().sort("rule", SOURCE_FILE)
    return {(rule, file): rows for rule, file, rows in counts.iter_rows()}


def flat(rejected: Mapping[tuple[str, str], int]) -> tuple[tuple[str, str, int], ...]:
    """Counts of set-aside records as (rule, source file, rows)."""
    return tuple((rule, file, rows) for (rule, file), rows in rejected.items())


OURS = "\x1f"
"""How the names of columns begin that we add for the time of a hop: no delivered column has a control character there."""


def _for_json(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON can hold it: bytes as hexadecimal digits, what nests bytes as its text."""
    if dtype == pl.Binary:
        return pl.col(name).bin.encode("hex")
    if "Binary" in str(dtype):
        return pl.col(name).map_elements(str, return_dtype=pl.String)
    return pl.col(name)


def as_quarantine(lf: pl.LazyFrame, rule: pl.Expr, reason: pl.Expr) -> pl.LazyFrame:
    """Rows of a layer as quarantine records: `raw` is the whole record, without provenance, as JSON."""
    schema = lf.collect_schema()
    columns = [
        _for_json(name, schema[name])
        for name in schema.names()
        if name not in PROVENANCE and not name.startswith(OURS)
    ]
    raw = pl.struct(columns).struct.json_encode() if columns else pl.lit("{}")
    return lf.select(
        SOURCE_FILE,
        SOURCE_ROW,
        raw.alias("raw"),
        rule.alias("rule"),
        reason.alias("reason"),
        pl.lit(None, pl.Int64).alias("line"),
        pl.lit(None, pl.Int64).alias("byte_offset"),
    )


def columns_of(rows: Source) -> tuple[tuple[str, str], ...]:
    """The columns of a layer's rows and their types as text, provenance left out."""
    schema = rows.schema if isinstance(rows, pl.DataFrame) else scan(rows).collect_schema()
    return tuple((name, str(dtype)) for name, dtype in schema.items() if name not in PROVENANCE)


def rows_of(folder: Path, file: LayerFile) -> pl.LazyFrame:
    """The rows of a batch: all of its file, or those in a merged one that are its."""
    rows = scan(folder / file.name)
    return rows.filter(pl.col(BATCH_ID) == file.batch_id) if file.merged else rows


def scan(source: Source) -> pl.LazyFrame:
    """The rows, lazily; a file's name is never taken for a pattern."""
    return pl.scan_parquet(source, glob=False) if isinstance(source, Path) else source.lazy()


def write(pending: PendingParquet, rows: pl.LazyFrame | pl.DataFrame, place: Place) -> int:
    """Write rows of the layer below under the labels of `place`; returns how many.

    Few ones are made in memory and stay there.
    """
    if place.hold:
        held = rows.collect(engine="in-memory") if isinstance(rows, pl.LazyFrame) else rows
        return pending.sink(labelled(held, labels(place.layer, ingested_at=place.planned_at)))
    return pending.sink(update_layer_column(rows.lazy(), place.layer, ingested_at=place.planned_at))
