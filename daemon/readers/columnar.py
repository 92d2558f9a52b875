"""Files that bring their own types: Parquet and Arrow IPC (scanned), Avro (read whole). Used by `read_delivery`."""

import polars as pl

from daemon.readers.delivery import SOURCE_FILE, SOURCE_ROW, Reading, Refusal, Source
from daemon.readers.foreign import UnreadableError, unreadable_as
from daemon.readers.formats import Kind
from daemon.readers.headers import column_names


def read_columnar(source: Source, kind: Kind, *, careful: bool) -> Reading:
    """The file as it is, typed. `careful`: every page is read once now, so that a damaged file is refused here."""
    if kind is Kind.PARQUET and not _has_footer(source):
        reason = "this Parquet file is cut short: its footer is missing; send it again"
        return Reading(refused=Refusal(source.name, "incomplete", reason))
    try:
        with unreadable_as(f"this {kind.value.capitalize()} file"):
            scan = _scan(source, kind)
            header = tuple(scan.collect_schema())
            if careful and header:
                scan.select(pl.all().len()).collect()
                scan.select(pl.all().is_null().sum()).collect()
    except UnreadableError as error:
        return Reading(refused=Refusal(source.name, "unreadable", str(error)))
    if not header:
        return Reading(refused=Refusal(source.name, "empty", f"this {kind.value} file has no columns"))
    names = column_names(header)
    return Reading(
        (_with_source(scan, source, header, names),),
        note=kind.value,
        header=header if names != header else None,
    )


def _scan(source: Source, kind: Kind) -> pl.LazyFrame:
    if kind is Kind.PARQUET:
        return pl.scan_parquet(source.path, glob=False, hive_partitioning=False)
    if kind is Kind.ARROW:
        return pl.scan_ipc(source.path, glob=False, hive_partitioning=False)
    return pl.read_avro(source.path).lazy()


def _has_footer(source: Source) -> bool:
    with source.path.open("rb") as file:
        file.seek(-4, 2)
        return file.read() == b"PAR1"


def _with_source(
    scan: pl.LazyFrame, source: Source, header: tuple[str, ...], names: tuple[str, ...]
) -> pl.LazyFrame:
    """`scan` with stable column names, `_source_file` and `_source_row`."""
    renamed = scan.select(pl.col(old).alias(new) for old, new in zip(header, names, strict=True))
    index = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(SOURCE_ROW)
    return renamed.with_columns(pl.lit(source.name).alias(SOURCE_FILE), index)
