"""The transition record of one promotion, from what its layer answered.

Used by the daemon's promotions and the library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.catalog.promotion import ClaimedFile, FileOutcome, LayerFile
from daemon.catalog.transition import LayerTransitionLog, SourceFile
from daemon.pipeline.results import LayerResult, Place


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a record says of the attempt itself."""

    transition_id: str
    started_at: datetime
    completed_at: datetime
    number: int = 1
    contract_version: str | None = None
    supersedes: str | None = None
    replays: tuple[str, ...] = ()


def transition(
    place: Place,
    result: LayerResult,
    attempt: Attempt,
    sources: Sequence[SourceFile],
    *,
    applied: Sequence[str] = (),
    files: Sequence[FileOutcome] = (),
) -> LayerTransitionLog:
    """The record.

    `partial` if any row or file was set aside. Raises ValidationError when the rows do not add up.
    """
    whole = not result.rejected and all(file.fate != "set_aside" for file in files)
    return LayerTransitionLog.model_validate(
        {
            "transition_id": attempt.transition_id,
            "batch_id": place.batch_id,
            "domain": place.key.domain,
            "table": place.key.real.table,
            "source_layer": place.layer.below,
            "target_layer": place.layer,
            "source_files": tuple(sources),
            "target_file": shown(place, result.file),
            "row_count_in": result.rows_in,
            "row_count_out": result.rows_out,
            "rows_quarantined": result.rows_quarantined,
            "rows_deduplicated": result.rows_deduplicated,
            "rows_filtered": result.rows_filtered,
            "transforms_applied": tuple(applied),
            "contract_version": attempt.contract_version,
            "started_at": attempt.started_at,
            "completed_at": attempt.completed_at,
            "attempt": attempt.number,
            "status": "success" if whole else "partial",
            "errors": tuple(result.warnings),
            "supersedes": attempt.supersedes,
            "replays": attempt.replays,
        }
    )


def shown(place: Place, file: LayerFile | None) -> str | None:
    """A layer file's path as readers see it, relative to the root, through its layer's link."""
    return f"data/{place.layer}/{place.key.domain}/{place.key.real.table}/{file.name}" if file else None


def layer_source(place: Place, source: LayerFile) -> SourceFile:
    """The file of the layer below `place` as a record names it."""
    path = f"data/{place.layer.below}/{place.key.domain}/{place.key.real.table}/{source.name}"
    return SourceFile(path=path, bytes=source.size, sha256=source.sha256, rows=source.rows)


def dropped_sources(
    sources: Sequence[ClaimedFile], files: Sequence[FileOutcome], notes: Mapping[str, str]
) -> tuple[SourceFile, ...]:
    """Dropped files as a record names them: what became of each, and how it was read."""
    return tuple(
        SourceFile(
            path=source.name,
            bytes=source.size,
            sha256=file.sha256,
            rows=file.rows,
            note=file.reason or notes.get(source.name),
        )
        for source, file in zip(sources, files, strict=True)
    )
