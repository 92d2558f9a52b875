"""What a layer is told and what it answers: the place of a batch in a layer, and the counts of one promotion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout


@dataclass(frozen=True, slots=True)
class Place:
    """Where one batch goes: the file `name` in a generation of a layer, stamped with `planned_at` as `_ingested_at`."""

    layout: Layout
    key: TableKey
    layer: Layer
    batch_id: str
    generation: int
    planned_at: datetime
    name: str

    @property
    def path(self) -> Path:
        """The Parquet file to publish."""
        return self.layout.generation(self.layer, self.key, self.generation) / self.name

    @property
    def quarantine_path(self) -> Path:
        """The Parquet file for records that do not get there."""
        mark = f".g{self.generation}" if self.key.is_shadow else ""  # beside the published one
        return self.layout.quarantine(self.key) / f"{self.batch_id}-{self.layer}{mark}.parquet"


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One batch in one layer: where it is and what became of its rows, so that nobody counts twice.

    `path` and `file` are None when no row was left to publish. `rejected` counts quarantined rows by rule and
    source file.
    """

    batch_id: str
    rows_in: int
    rows_out: int
    path: Path | None
    file: LayerFile | None
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    quarantine_path: Path | None = None
    rows_deduplicated: int = 0
    rows_filtered: int = 0
    warnings: Sequence[str] = ()

    @property
    def rows_quarantined(self) -> int:
        """Rows set aside, whatever the rule."""
        return sum(self.rejected.values())
