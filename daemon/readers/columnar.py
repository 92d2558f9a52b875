"""Files that bring their own types: Parquet and Arrow IPC files (scanned), Arrow streams and Avro (read whole).

Used by `read_delivery`.
"""

import polars as pl

from daemon.readers.avro import read_avro
from daemon.readers.delivery import SOURCE_FILE, SOURCE_ROW, Reading, Refusal, Source
from daemon.readers.foreign import UnreadableError, unreadable_as
from daemon.readers.formats import Kind
from daemon.readers.headers import column_names
from daemon.readers.instants import in_known_zones
from daemon.readers.parquetfiles import scan_parquet

COLUMNAR = frozenset({Kind.PARQUET, Kind.ARROW, Kind.ARROW_STREAM, Kind.AVRO})
_END = {Kind.PARQUET: b"PAR1", Kind.ARROW: b"ARROW1"}
_ENCRYPTED = b"PARE"


def read_columnar(source: Source, kind: Kind, *, careful: bool) -> Reading:
    """The file as it is, typed. `careful`: every page is read once now, so that a damaged file is refused here."""
    refusal = _unfinished(source, kind)
    if refusal is not None:
        return Reading(refused=refusal)
    try:
        with unreadable_as(f"this {kind.value} file"):
            scan = _scan(source, kind)
            schema = scan.collect_schema()
            scan = scan.cast(
                {name: known for name, kind in schema.items() if (known := in_known_zones(kind)) != kind}
            )
            header = tuple(schema)
            if careful and header:
                scan.select(pl.all().len()).collect()
                scan.select(pl.all().is_null().sum()).collect()
    except UnreadableError as error:
        if isinstance(error.__cause__, EOFError):
            return Reading(refused=_cut_short(source, kind))
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
        return scan_parquet(source.path)
    if kind is Kind.ARROW:
        return pl.scan_ipc(source.path, glob=False, hive_partitioning=False)
    if kind is Kind.ARROW_STREAM:
        return pl.read_ipc_stream(source.path).lazy()
    return read_avro(source.path)


def _unfinished(source: Source, kind: Kind) -> Refusal | None:
    """Why a file cannot be read that does not end as a finished one of its kind does."""
    mark = _END.get(kind, b"")
    with source.path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - len(mark)))
        end = file.read(len(mark))
    if end == _ENCRYPTED:
        return Refusal(source.name, "encrypted", "this Parquet file is encrypted; send it without a key")
    return None if end == mark else _cut_short(source, kind)


def _cut_short(source: Source, kind: Kind) -> Refusal:
    reason = f"this {kind.value} file is cut short: its end is missing; send it again"
    return Refusal(source.name, "incomplete", reason)


def _with_source(
    scan: pl.LazyFrame, source: Source, header: tuple[str, ...], names: tuple[str, ...]
) -> pl.LazyFrame:
    """`scan` with stable column names, `_source_file` and `_source_row`."""
    renamed = scan.select(pl.col(old).alias(new) for old, new in zip(header, names, strict=True))
    index = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(SOURCE_ROW)
    return renamed.with_columns(pl.lit(source.name).alias(SOURCE_FILE), index)
