"""Where a row came from: the five columns that every row of every layer carries.

Used by the layers and by library users.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from daemon.catalog.identity import new_id
from daemon.catalog.transition import Layer

SOURCE_FILE = "_source_file"
SOURCE_ROW = "_source_row"
INGESTED_AT = "_ingested_at"
BATCH_ID = "_batch_id"
LAYER = "_layer"
PROVENANCE = (SOURCE_FILE, SOURCE_ROW, INGESTED_AT, BATCH_ID, LAYER)
"""The provenance columns, in the order in which they close a row.

Text; int64, the record's number in its file from 1; datetime, UTC in microseconds, new at every promotion; text, a
UUIDv7; text.
"""

_INSTANT = pl.Datetime("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def generate_batch_id() -> str:
    """A new batch's name: a UUIDv7 as text, so that names sort by the time the batches were taken."""
    return new_id()


def add_provenance_columns(
    lf: pl.LazyFrame, source_file: str, batch_id: str, layer: Layer | str, *, ingested_at: datetime
) -> pl.LazyFrame:
    """Add the five provenance columns to the records of one file, in their order in the file.

    `lf` has any columns but these; `_source_row` numbers its rows from 1.
    """
    numbered = lf.with_row_index(SOURCE_ROW, offset=1).with_columns(
        pl.lit(source_file).alias(SOURCE_FILE),
        pl.col(SOURCE_ROW).cast(pl.Int64),
        pl.lit(batch_id).alias(BATCH_ID),
    )
    return update_layer_column(numbered, layer, ingested_at=ingested_at)


def update_layer_column(lf: pl.LazyFrame, layer: Layer | str, *, ingested_at: datetime) -> pl.LazyFrame:
    """Say that the rows now stand in `layer`, since `ingested_at` (aware); their other provenance stays."""
    return lf.with_columns(_labels(layer, ingested_at)).select(pl.exclude(PROVENANCE), *PROVENANCE)


def labels(layer: Layer | str, *, ingested_at: datetime) -> pl.DataFrame:
    """What `update_layer_column` writes into every row, as one row."""
    instant = pl.Series(INGESTED_AT, [_micros(ingested_at)], pl.Int64).cast(_INSTANT)
    return pl.DataFrame([instant, pl.Series(LAYER, [str(layer)])])


def labelled(rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Rows that are in memory, with the one row of `labels` in each and their provenance at the end.

    Without a query, which takes ten times as long for few rows.
    """
    columns = {column.name: column for column in rows}
    columns |= {label.name: label.new_from_index(0, rows.height) for label in labels}
    own = [column for name, column in columns.items() if name not in PROVENANCE]
    return pl.DataFrame([*own, *(columns[name] for name in PROVENANCE)])


def _labels(layer: Layer | str, ingested_at: datetime) -> list[pl.Expr]:
    return [
        pl.lit(_micros(ingested_at), pl.Int64).cast(_INSTANT).alias(INGESTED_AT),
        pl.lit(str(layer)).alias(LAYER),
    ]


def _micros(instant: datetime) -> int:
    """An instant as a number, to be cast: of an aware one Polars makes a series by a way as dear as a small file."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
