"""Parquet in and out: every file zstd, written by Polars, atomic and durable.

Used by the pipeline, in a worker.

A file is written under a temporary name, counted from its own footer, hashed, and only then published, so
that the caller can check its row sums in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl

from daemon.catalog.promotion import LayerFile
from daemon.errors import RetryLaterError, is_machine_fault
from daemon.lake.durable import publish, temporary_beside


class PendingParquet:
    """A file on its way to `final`."""

    def __init__(self, final: Path, temporary: Path) -> None:
        self.final = final
        self.temporary = temporary

    def sink(self, lf: pl.LazyFrame) -> int:
        """Stream `lf` into the temporary file; returns the rows its footer tells.

        Raises RetryLaterError when the machine is at fault; what the data makes Polars raise passes through.
        """
        try:
            lf.sink_parquet(self.temporary, compression="zstd", compression_level=1)
            return count_rows(self.temporary)
        except Exception as error:
            if is_machine_fault(error):
                raise RetryLaterError(f"{self.final}: {error}") from error
            raise

    def publish(self, batch_id: str, rows: int) -> LayerFile:
        """Sync, rename and sync the folder; returns what the ledger wants to know of the file."""
        facts = replace(layer_file(self.temporary, batch_id, rows), name=self.final.name)
        publish(self.temporary, self.final)
        return facts


def layer_file(path: Path, batch_id: str, rows: int) -> LayerFile:
    """What the ledger knows of a Parquet file of `rows` rows: its name, bytes and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return LayerFile(batch_id, path.name, rows, path.stat().st_size, digest)


@contextmanager
def writing(final: Path) -> Iterator[PendingParquet]:
    """A file to be written and published within the block; without `publish` nothing is left of it."""
    with temporary_beside(final) as temporary:
        yield PendingParquet(final, temporary)


def count_rows(path: Path) -> int:
    """The number of rows of a Parquet file, read from its footer."""
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
