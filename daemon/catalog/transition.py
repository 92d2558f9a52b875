"""The transition log: the persisted record of one hop of one batch.

Written by pipeline and scheduling, read by cli.

On disk: `catalog/lineage/<transition_id>.json`, one object, described in docs/on-disk-format.md.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

TRANSITION_SCHEMA_VERSION: Final = 1


class Layer(StrEnum):
    """Where rows stand, in the order they climb."""

    LANDING = "landing"
    STAGED = "staged"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"

    @property
    def above(self) -> "Layer | None":
        """The next layer up, None for gold."""
        order = list(Layer)
        place = order.index(self) + 1
        return order[place] if place < len(order) else None

    @property
    def all_above(self) -> "tuple[Layer, ...]":
        """The layers above, from below to above."""
        order = list(Layer)
        return tuple(order[order.index(self) + 1 :])

    @property
    def below(self) -> "Layer":
        """The layer this one is made from. Raises ValueError for landing."""
        order = list(Layer)
        place = order.index(self)
        if place == 0:
            raise ValueError("nothing lies below landing")
        return order[place - 1]


LAYERS: Final = Layer.LANDING.all_above
"""The layers that hold tables, from below to above."""


class SourceFile(BaseModel):
    """One file that a transition read: a dropped file for landing -> staged, a layer's Parquet file above.

    `path` is relative to landing for a dropped file, to the root for a layer file. `bytes` and `sha256` (hex)
    are of the file as read; `rows` counts its records, damaged ones included. `note` says what was found out
    on the way (dialect, duplicate of, set aside because).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: NonNegativeInt
    sha256: str
    rows: NonNegativeInt
    note: str | None = None


class LayerTransitionLog(BaseModel):
    """What one hop of one batch did. Frozen; the row sum is checked when it is made.

    Counts are rows: `row_count_in = row_count_out + rows_quarantined + rows_deduplicated + rows_filtered +
    rows_retracted`. A gold model (`kind="model"`) joins and aggregates, so its sum is not asserted. A retraction takes
    the rows of files out of a batch's staged file, a restoration puts them back. Raises ValidationError on a broken sum.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = TRANSITION_SCHEMA_VERSION
    kind: Literal["promotion", "model", "retraction", "restoration"] = "promotion"
    transition_id: str
    batch_id: str
    domain: str
    table: str
    source_layer: Literal["landing", "staged", "bronze", "silver"]
    target_layer: Literal["staged", "bronze", "silver", "gold"]
    source_files: tuple[SourceFile, ...] = ()
    target_file: str | None = None
    row_count_in: NonNegativeInt = 0
    row_count_out: NonNegativeInt = 0
    rows_quarantined: NonNegativeInt = 0
    rows_deduplicated: NonNegativeInt = 0
    rows_filtered: NonNegativeInt = 0
    rows_retracted: NonNegativeInt = Field(default=0, description="rows of deliveries that were taken back")
    transforms_applied: tuple[str, ...] = ()
    contract_version: str | None = None
    started_at: AwareDatetime
    completed_at: AwareDatetime
    attempt: PositiveInt = 1
    status: Literal["success", "partial", "failed"]
    errors: tuple[str, ...] = ()
    replays: tuple[str, ...] = Field(
        default=(), description="the transitions that had set aside what was replayed into this one"
    )
    supersedes: str | None = Field(
        default=None, description="the transition whose target file this one replaced"
    )

    @model_validator(mode="after")
    def _the_rows_add_up(self) -> Self:
        gone = self.rows_quarantined + self.rows_deduplicated + self.rows_filtered + self.rows_retracted
        accounted = self.row_count_out + gone
        if self.kind != "model" and self.row_count_in != accounted:
            raise ValueError(
                f"{self.source_layer} -> {self.target_layer} of batch {self.batch_id}: {self.row_count_in} rows in, but "
                f"{self.row_count_out} out + {self.rows_quarantined} quarantined + {self.rows_deduplicated} "
                f"deduplicated + {self.rows_filtered} filtered + {self.rows_retracted} retracted = {accounted}"
            )
        return self

    @property
    def seconds(self) -> float:
        """Wall time of the attempt that succeeded or gave up."""
        return duration(self.started_at, self.completed_at)


def duration(started: datetime, completed: datetime) -> float:
    """Seconds between two instants, never negative: the wall clock may have stepped back between them."""
    return max(0.0, (completed - started).total_seconds())
