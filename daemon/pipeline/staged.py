"""Landing -> staged: the bytes of dropped files become one Parquet file of text, every value as it was in its file.

May add provenance, may not change a value. Records that cannot be read are set aside with their line, files
with a reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from daemon.catalog.contract import ReaderOptions
from daemon.catalog.names import slug
from daemon.catalog.promotion import ClaimedFile, FileOutcome, TableKey
from daemon.errors import RejectDataError, RetryLaterError, is_machine_fault
from daemon.lake.durable import scratch_beside
from daemon.lake.parquet import PendingParquet, digest_of, writing
from daemon.pipeline.provenance import BATCH_ID, PROVENANCE, SOURCE_FILE
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.writing import DATA_ERRORS, columns_of, publish, set_records_aside, write
from daemon.readers import DamagedRecord, Delivery, Refusal, Source, read_delivery
from daemon.readers.foreign import spoken
from daemon.readers.headers import column_names

_HELD_BYTES = 8_000_000
"""Bytes of text up to which the rows of a batch are held in memory for the hops above."""


@dataclass(frozen=True, slots=True)
class StagedResult:
    """The staged batch, and what became of each file, in the order given.

    `notes`, by file name, say how each was read; `headers` how a column was spelled, where that differs from its name.
    `columns` are those of the records, even where there is none.
    """

    layer: LayerResult
    files: tuple[FileOutcome, ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a table's earlier files.

    A file whose SHA-256 is among `hashes` is a duplicate, one whose name is among `names` is rejected. One that is cut
    short is returned, to wait for its other half, if it was written to after `incomplete_since` (seconds since 1970).
    """

    hashes: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    incomplete_since: float = math.inf


class StagedLayer:
    """Reads dropped files as `options` say."""

    def __init__(self, options: ReaderOptions | None = None) -> None:
        self._options = options or ReaderOptions()

    def promote(
        self,
        files: Sequence[ClaimedFile],
        place: Place,
        known: Known | None = None,
    ) -> StagedResult:
        """Read `files` into one staged file.

        A file whose content is known, or came before, is a duplicate.

        Raises RetryLaterError when a file changes while it is read, or the machine is at fault.
        """
        digests = {file.file_id: _digest(file) for file in files}
        known = known or Known()
        unknown = _fresh(files, digests, known.hashes)
        fresh = [file for file in unknown if file.name not in known.names]
        with writing(place.path, statistics=False) as pending:  # nobody looks for a value among texts
            delivery, counts = self._read(fresh, pending, place)
            rows = sum(counts.values())
            for file in fresh:
                _refuse_changed(file)
            damaged = (*delivery.damaged, *_refused_members(fresh, delivery.refused))
            rejected = _set_aside(place, damaged)
            published = publish(pending, place, rows)
        outcomes = _outcomes(
            place.key.real, files, digests, fresh, delivery, _by_owner(fresh, counts, damaged), known
        )
        result = LayerResult(
            batch_id=place.batch_id,
            rows_in=rows + len(damaged),
            rows_out=rows,
            path=place.path if published else None,
            file=published,
            content=pending.content if published else None,
            rejected=rejected,
            quarantine_path=place.quarantine_path if rejected else None,
            warnings=[f"{refusal.source}: {refusal.reason}" for refusal in delivery.refused],
        )
        notes = {**delivery.notes, **_empty_notes(outcomes, fresh, delivery)}
        columns = columns_of(pending.content) if published else _columns_without_rows(delivery)
        return StagedResult(result, outcomes, notes, _spellings(delivery), columns)

    def _read(
        self, files: Sequence[ClaimedFile], pending: PendingParquet, place: Place
    ) -> tuple[Delivery, dict[str, int]]:
        """Read fast; read again carefully the files whose fast reading is not proved to have lost nothing.

        Returns the rows by file, too.
        """
        careful: frozenset[str] = frozenset()
        everything = frozenset(file.name for file in files)
        while True:
            try:
                with scratch_beside(place.path) as scratch:
                    options = _for_sheet(self._options, files)
                    delivery = read_delivery(_sources(files), options, scratch, careful)
                    if not delivery.frames:
                        return delivery, {}
                    counts = _write(delivery, pending, place)
                    doubtful = delivery.unproved(pending.rows, counts) - careful
            except DATA_ERRORS as error:
                if is_machine_fault(error):
                    raise RetryLaterError(f"{place.path}: {error}") from error
                if careful == everything:
                    raise RejectDataError(f"the file cannot be read: {spoken(error)}") from error
                doubtful = everything
            if not doubtful:
                return delivery, counts
            careful |= doubtful


def _empty_notes(
    outcomes: Sequence[FileOutcome], fresh: Sequence[ClaimedFile], delivery: Delivery
) -> dict[str, str]:
    """A file that is taken and holds no record is what its sender may not have meant: its note says so."""
    empty = {file.file_id for file in outcomes if file.fate == "staged" and not file.rows}
    found = {file.name: delivery.notes.get(file.name, "") for file in fresh if file.file_id in empty}
    return {
        name: f"{note}; warning: there is no record in this file".lstrip("; ") for name, note in found.items()
    }


def _columns_without_rows(delivery: Delivery) -> tuple[tuple[str, str], ...]:
    """The columns of files that have a header and nothing below it."""
    if not delivery.frames:
        return ()
    schema = pl.concat(delivery.frames, how="diagonal_relaxed").collect_schema()
    return tuple((name, str(dtype)) for name, dtype in schema.items() if name not in PROVENANCE)


def _digest(file: ClaimedFile) -> str:
    _refuse_changed(file)
    return digest_of(file.path, file.size)


def _refuse_changed(file: ClaimedFile) -> None:
    found = file.path.stat()
    if (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns):
        raise RetryLaterError(
            f"{file.name}: somebody still writes to it; it is read when it has come to rest"
        )


def _fresh(
    files: Sequence[ClaimedFile], digests: Mapping[int, str], known_hashes: frozenset[str]
) -> list[ClaimedFile]:
    """The files whose content the table has not taken yet; of equal ones the first."""
    seen = set(known_hashes)
    fresh = []
    for file in files:
        if digests[file.file_id] not in seen:
            seen.add(digests[file.file_id])
            fresh.append(file)
    return fresh


def _spellings(delivery: Delivery) -> dict[str, str]:
    return {
        column: spelled
        for header in delivery.headers.values()
        for column, spelled in zip(column_names(header), header, strict=True)
        if column != spelled
    }


def _for_sheet(options: ReaderOptions, files: Sequence[ClaimedFile]) -> ReaderOptions:
    """The options for a batch: a sheet of a workbook is a batch by itself."""
    sheet = next((file.sheet for file in files if file.sheet is not None), None)
    return options if sheet is None else options.model_copy(update={"sheet": sheet})


def _sources(files: Sequence[ClaimedFile]) -> list[Source]:
    return [Source(file.name, file.path) for file in files]


def _together(delivery: Delivery, place: Place) -> pl.LazyFrame:
    frames = delivery.frames
    rows = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")
    return rows.with_columns(pl.lit(place.batch_id).alias(BATCH_ID))


def _write(delivery: Delivery, pending: PendingParquet, place: Place) -> dict[str, int]:
    """Write what was read; returns the rows by file."""
    hold = place.hold and delivery.size is not None and delivery.size <= _HELD_BYTES
    rows = write(pending, _together(delivery, place), replace(place, hold=hold))
    if not rows:
        return {}
    if isinstance(pending.content, pl.DataFrame):
        counts = pending.content.get_column(SOURCE_FILE).value_counts()
    else:
        counts = pending.rows.group_by(SOURCE_FILE).len().collect()
    return dict(counts.iter_rows())


def _set_aside(place: Place, damaged: Sequence[DamagedRecord]) -> Mapping[tuple[str, str], int]:
    if not damaged:
        return {}
    return set_records_aside(
        place,
        pl.LazyFrame(
            {
                "_source_file": [record.source for record in damaged],
                "_source_row": [record.row for record in damaged],
                "raw": [record.raw for record in damaged],
                "rule": [record.kind for record in damaged],
                "reason": [record.reason for record in damaged],
                "line": [record.line for record in damaged],
                "byte_offset": [record.byte_offset for record in damaged],
            },
            schema_overrides={"line": pl.Int64, "byte_offset": pl.Int64},
        ),
    )


def _refused_members(files: Sequence[ClaimedFile], refused: Sequence[Refusal]) -> list[DamagedRecord]:
    """Members of archives that nothing can read, each as one record: its archive is taken all the same."""
    names = {file.name for file in files}
    return [
        DamagedRecord(refusal.source, 0, None, None, refusal.kind, "", refusal.reason)
        for refusal in refused
        if refusal.source not in names
    ]


def _by_owner(
    files: Sequence[ClaimedFile], counts: Mapping[str, int], damaged: Sequence[DamagedRecord]
) -> dict[str, int]:
    """Records by dropped file; those of `archive.zip!member` are the archive's."""
    names = {file.name for file in files}
    rows = dict.fromkeys(names, 0)
    for source, count in (*counts.items(), *((record.source, 1) for record in damaged)):
        owner = source
        while owner not in names:
            owner = owner.rpartition("!")[0]
        rows[owner] += count
    return rows


def _outcomes(  # noqa: PLR0913, PLR0917 - all that decides a file's fate
    key: TableKey,
    files: Sequence[ClaimedFile],
    digests: Mapping[int, str],
    fresh: Sequence[ClaimedFile],
    delivery: Delivery,
    rows: Mapping[str, int],
    known: Known,
) -> tuple[FileOutcome, ...]:
    refused = {refusal.source: refusal for refusal in delivery.refused}
    read = {file.file_id for file in fresh}
    outcomes = []
    for file in files:
        digest = digests[file.file_id]
        refusal = refused.get(file.name)
        if file.file_id not in read and file.name in known.names and digest not in known.hashes:
            reason = (
                f"{file.name}: the table took another file of this name before, and its contract rejects revisions "
                "(landing.revisions)"
            )
            outcomes.append(FileOutcome(file.file_id, digest, 0, "set_aside", "revision", reason))
        elif file.file_id not in read:
            reason = f"{file.name}: the table has this content already"
            outcomes.append(FileOutcome(file.file_id, digest, 0, "duplicate", "duplicate", reason))
        elif refusal:
            reason = f"{file.name}: {refusal.reason}"
            waits = refusal.kind == "incomplete" and file.mtime_ns / 1e9 > known.incomplete_since
            fate: Literal["returned", "set_aside"] = "returned" if waits else "set_aside"
            outcomes.append(FileOutcome(file.file_id, digest, 0, fate, refusal.kind, reason))
        else:
            sheets = delivery.parts.get(file.name, ()) if file.sheet is None else ()
            parts = tuple((sheet, slug(f"{key.table}__{slug(sheet)}")) for sheet in sheets)
            outcomes.append(FileOutcome(file.file_id, digest, rows[file.name], "staged", parts=parts))
    return tuple(outcomes)
