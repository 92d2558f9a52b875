"""What a layer is told and what it answers: the place of a batch in a layer, and the counts of one promotion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout

Publishing = Callable[[], LayerFile]
"""Publishes a file, or waits until it is published; returns what is known of it then."""
Beside = Callable[[Publishing], Publishing]
"""Begins to publish a file, after those before it; returns how to wait for it."""


@dataclass(frozen=True)
class Place:
    """Where one batch goes: the file `name` in a generation of a layer, stamped with `planned_at` as `_ingested_at`.

    `hold`: its rows are few, and are held in memory for the layer above. `beside`: its file is published that way.
    """

    layout: Layout
    key: TableKey
    layer: Layer
    batch_id: str
    generation: int
    planned_at: datetime
    name: str
    hold: bool = False
    beside: Beside | None = None

    @cached_property
    def path(self) -> Path:
        """The Parquet file to publish."""
        return self.layout.generation(self.layer, self.key, self.generation) / self.name

    @property
    def quarantine_path(self) -> Path:
        """The Parquet file for records that do not get there."""
        return self.layout.quarantine_file(self.key, self.layer, self.batch_id, self.generation)


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One batch in one layer: where it is and what became of its rows, so that nobody counts twice.

    `path`, `file` and `content` (the rows where they are held, else the file) are None when no row was left to publish.
    `rejected` counts quarantined rows by rule and source file.
    """

    batch_id: str
    rows_in: int
    rows_out: int
    path: Path | None
    file: LayerFile | None
    content: Path | pl.DataFrame | None = None
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    quarantine_path: Path | None = None
    rows_deduplicated: int = 0
    rows_filtered: int = 0
    warnings: Sequence[str] = ()

    @property
    def rows_quarantined(self) -> int:
        """Rows set aside, whatever the rule."""
        return sum(self.rejected.values())
