"""Parquet in and out: zstd, written by Polars, atomic and durable. Used by the pipeline, in a worker.

A file is written under a temporary name, counted from its own footer, hashed, and only then published, so
that the caller can check its row sums in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import polars as pl
from polars.exceptions import PanicException

from daemon.catalog.promotion import LayerFile
from daemon.errors import RetryLaterError, is_machine_fault
from daemon.lake.durable import publish, temporary_beside
from daemon.lake.relabelling import relabel

_LEVEL: Final = 1
"""1 M rows x 12 text columns: level 1 0.44 s and 21.9 MB, Polars' default (3) 0.46-0.55 s and 23.1 MB; on
very repetitive text it is 9 % faster for 3 % more bytes."""

_GROUP: Final = 1 << 17
"""Rows of a row group. Equal ones cost nothing, and make for few kinds of label columns in `relabel`."""

_READ_AT_ONCE: Final = 1 << 18
"""Bytes of a file that is hashed from one reading: for a larger one a buffer of that size is worth its making."""

_FAITHFUL: Final = frozenset(
    {
        pl.String,
        pl.Int8,
        pl.Int16,
        pl.Int32,
        pl.Int64,
        pl.UInt8,
        pl.UInt16,
        pl.UInt32,
        pl.UInt64,
        pl.Float32,
        pl.Float64,
        pl.Boolean,
        pl.Decimal,
        pl.Date,
        pl.Datetime,
        pl.Binary,
    }
)
"""Types that come back from a file as they were written; nested and rare ones are not looked into."""


class PendingParquet:
    """A file on its way to `final`; until `publish`, readers see nothing of it."""

    def __init__(
        self, final: Path, temporary: Path, mode: int | None = None, *, statistics: bool = True
    ) -> None:
        self.final = final
        self.temporary = temporary
        self._mode = mode
        self._statistics = statistics
        self._held: pl.DataFrame | None = None

    def sink(self, rows: pl.LazyFrame | pl.DataFrame) -> int:
        """Let the file hold `rows`, in the place of an earlier sink's; return how many there are.

        Those that are in memory, which are few, stay there, for whoever reads `rows` and until they are published; others
        are streamed into the temporary file. Raises RetryLaterError when the machine is at fault. What the data makes
        Polars raise passes through, such as an OSError without errno for a damaged compressed source.
        """
        if isinstance(rows, pl.DataFrame) and all(kind.base_type() in _FAITHFUL for kind in rows.dtypes):
            self._held = rows
            return rows.height
        self._held = None  # what may not come back from the file as it is here is read from the file, as it would be later
        return self._streamed(rows.lazy(), self.temporary)

    def rewrite(self, left: pl.LazyFrame) -> int:
        """Leave the rows in the file that are `left` of it and are read from it; return how many."""
        if self._held is not None:
            return self.sink(left.collect(engine="in-memory"))
        with temporary_beside(self.final) as again, self._blaming():
            count = self._streamed(left, again)
            again.replace(self.temporary)
        return count

    def relabel(self, source: Path, labels: pl.DataFrame) -> int:
        """Write the rows of the layer file `source` with other labels, as `sink` does; return how many they are.

        `labels`: one row, whose columns replace their namesakes.
        """
        with self._blaming():
            relabel(source, self.temporary, labels, write_parquet)
            return count_rows(self.temporary)

    def _streamed(self, rows: pl.LazyFrame, path: Path) -> int:
        with self._blaming():
            write_parquet(rows, path, statistics=self._statistics)
            return count_rows(path)

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except (Exception, PanicException) as error:
            if is_machine_fault(error):
                raise _retry(self.final, error) from error
            raise

    @property
    def rows(self) -> pl.LazyFrame:
        """What was written: from memory where it was held there, else from the file, wherever that is by now."""
        if self._held is not None:
            return self._held.lazy()
        return pl.scan_parquet(self.temporary if self.temporary.exists() else self.final, glob=False)

    @property
    def content(self) -> Path | pl.DataFrame:
        """What the layer above reads once this is published: the rows where they are held, else the file."""
        return self.final if self._held is None else self._held

    @property
    def is_held(self) -> bool:
        """Whether its rows are in memory, so that it can be published when its block has ended, too."""
        return self._held is not None

    def publish(self, batch_id: str, rows: int) -> LayerFile:
        """Write what is held, sync, rename and sync the folder; return what the ledger wants to know of the file.

        Raises RetryLaterError; the file is then not, or not surely, published, and a redo replaces it.
        """
        if self._held is None:
            return self._published(self.temporary, batch_id, rows)
        with temporary_beside(self.final) as temporary:
            with self._blaming():
                write_parquet(self._held.lazy(), temporary, statistics=self._statistics, engine="in-memory")
            return self._published(temporary, batch_id, rows)

    def _published(self, temporary: Path, batch_id: str, rows: int) -> LayerFile:
        with machine_faults(self.final):
            facts = replace(layer_file(temporary, batch_id, rows), name=self.final.name)
            if self._mode is not None:
                temporary.chmod(self._mode & temporary.stat().st_mode)
            publish(temporary, self.final)
        return facts


def write_parquet(
    lf: pl.LazyFrame, path: Path, *, statistics: bool = True, engine: Literal["auto", "in-memory"] = "auto"
) -> None:
    """Write `lf` as every layer file is written. `statistics`: with the least and the greatest value of a row group.

    `engine` is `in-memory` for few rows that are there: the streaming one costs half as much again to start.
    """
    # not synced here: `sync_on_close` costs the same as our own fsync, which `publish` needs anyway
    lf.sink_parquet(
        path,
        compression="zstd",
        compression_level=_LEVEL,
        row_group_size=_GROUP,
        statistics=statistics,
        engine=engine,
    )


def layer_file(path: Path, batch_id: str, rows: int) -> LayerFile:
    """Return what the ledger knows of a Parquet file of `rows` rows: its name, bytes and SHA-256."""
    size = path.stat().st_size
    return LayerFile(batch_id, path.name, rows, size, digest_of(path, size))


def digest_of(path: Path, size: int) -> str:
    """Return the SHA-256 of a file of `size` bytes."""
    if size <= _READ_AT_ONCE:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(final: Path, mode: int | None = None, *, statistics: bool = True) -> Iterator[PendingParquet]:
    """Offer a file to be written and published within the block; without `publish` nothing is left of it.

    `mode` limits the permission bits that the umask would grant. `statistics`, the least and greatest values of each row
    group, are a tenth of the cost.
    """
    with temporary_beside(final) as temporary:
        yield PendingParquet(final, temporary, mode, statistics=statistics)


@contextmanager
def machine_faults(final: Path) -> Iterator[None]:
    """Turn any OSError of work on `final` that touches no source data into RetryLaterError."""
    try:
        yield
    except OSError as error:
        raise _retry(final, error) from error


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file, read from its footer (0.6 ms, whatever the size)."""
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def _retry(final: Path, error: BaseException) -> RetryLaterError:
    return RetryLaterError(f"{final}: {error}; the machine is at fault, not the data: it will be tried again")
