"""Records that were set aside, as Parquet: `data/quarantine/<domain>/<table>/<batch_id>-<layer>.parquet`.

Written by the pipeline, in a worker. One row per record and rule; docs/on-disk-format.md describes the
columns.
"""

from pathlib import Path

import polars as pl

from daemon.lake.archive import PRIVATE_FILE, PRIVATE_FOLDER
from daemon.lake.durable import make_directories
from daemon.lake.parquet import machine_faults, writing

SCHEMA = pl.Schema(
    {
        "_source_file": pl.String,
        "_source_row": pl.Int64,
        "raw": pl.String,
        "rule": pl.String,
        "reason": pl.String,
        "line": pl.Int64,
        "byte_offset": pl.Int64,
        "_batch_id": pl.String,
        "_layer": pl.String,
    }
)
"""`raw` is the record as it stood when it entered the hop: the raw line at staged, JSON above; `line` and
`byte_offset` are known at staged only; `_layer` is the layer the record did not reach."""


def write_quarantine(records: pl.LazyFrame, path: Path) -> None:
    """Write set-aside records (columns of `SCHEMA`, in any order) durably, over an earlier attempt's.

    Raises RetryLaterError when the machine is at fault.
    """
    with machine_faults(path):
        make_directories(path.parent, PRIVATE_FOLDER)
    with writing(path, PRIVATE_FILE) as pending:
        rows = pending.sink(records.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
        pending.publish("", rows)
