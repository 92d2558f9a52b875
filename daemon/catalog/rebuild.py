"""The words of a rebuild: what of a table is made anew, and why. Plain data between ledger, scheduling and pipeline.

A rebuild makes layers of a table anew beside the published ones, under the table's shadow name, and then takes their
place in one ledger transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from daemon.catalog.contract import ReaderOptions
from daemon.catalog.promotion import BatchOutcome, ClaimedFile, LayerFile, TableKey
from daemon.catalog.transition import Layer

RebuildKind = Literal["rebuild", "undo", "redo", "replace", "replay", "widen"]


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What is to be made anew.

    `base` is the highest layer that is kept as it is; landing: the staged layer changes as well, by the rows of
    `files_out` (ids of dropped files) that go and those of `files_back` that return, or, without any, by reading the
    sources of `batches` again. `batches` are those that are made anew, None for all of the table.
    """

    rebuild_id: str
    key: TableKey
    kind: RebuildKind
    base: Layer
    batches: frozenset[str] | None = None
    files_out: tuple[int, ...] = ()
    files_back: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class StandingLayer:
    """A layer as it stands when a rebuild begins. `version` counts its changes; `files` are by batch, in order."""

    generation: int
    version: int
    files: Mapping[str, LayerFile]


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A dropped file of a batch. `path` (relative to the root) is where its bytes lie, None where they were deleted.

    `sheet`: it stands for this sheet of a workbook.
    """

    file_id: int
    batch_id: str
    name: str
    state: str
    path: Path | None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class ShadowLayer:
    """A layer that a rebuild makes anew: the folder's generation, and the batches whose files it takes over."""

    generation: int
    kept: frozenset[str]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a rebuild begins with: layers beside the published ones, staged batches already made, hops to be done.

    `states` are generation and version of the layers it started from: it begins only if they are still the same.
    """

    states: Mapping[Layer, tuple[int, int]]
    layers: Mapping[Layer, ShadowLayer]
    restaged: Sequence[BatchOutcome]
    hops: Sequence[tuple[str, Layer]]


@dataclass(frozen=True, slots=True)
class RestageTask:
    """What a worker needs to make a batch's staged file anew, in the folder of generation `generation`.

    Rows of the files `out` go and are put away, those of the files `back` return; or, where there are `sources`, these
    are read again as `options` say. `files` are the names of all files of the batch, in order. `staged` and
    `quarantine_file` are what stands of the batch now, the first in generation `source_generation`.
    """

    root: Path
    key: TableKey
    batch_id: str
    transition_id: str
    planned_at: datetime
    source_generation: int
    generation: int
    options: ReaderOptions
    files: tuple[str, ...]
    out: tuple[DeliveredFile, ...] = ()
    back: tuple[DeliveredFile, ...] = ()
    sources: tuple[ClaimedFile, ...] = ()
    staged: LayerFile | None = None
    quarantine_file: str | None = None
    supersedes: str | None = None
