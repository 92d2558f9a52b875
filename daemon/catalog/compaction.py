"""The words of compaction: small files of a layer merged into larger ones, and batches taken out of merged files again.

Plain data between ledger, scheduling and pipeline. The rows are the same before and after; only which file holds them
changes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import Layer


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """When files are merged.

    As soon as `min_files` of like size lie side by side, each below `max_bytes`, all of batches that were done `min_age`
    seconds ago; the merged files grow up to about `max_bytes`. Fewer than two `min_files`: never.
    """

    min_files: int
    max_bytes: int
    min_age: float

    def are_worth_it(self, sizes: Sequence[int]) -> bool:
        """Whether files of these sizes are worth merging: `min_files` are about as large as the largest, or all fill one.

        With smaller ones counted, a merged file would be written anew with every few that arrive.
        """
        return self._are_alike(sorted(sizes)[-self.min_files :]) or self._are_full(sizes)

    def some_may_be_worth_it(self, sizes: Sequence[int]) -> bool:
        """Whether any of these files may be worth merging, if they lie side by side."""
        ordered = sorted(sizes)
        begins = range(len(ordered) - self.min_files + 1)
        return self._are_full(sizes) or any(
            self._are_alike(ordered[begin : begin + self.min_files]) for begin in begins
        )

    def _are_alike(self, ordered: Sequence[int]) -> bool:
        return len(ordered) == self.min_files and ordered[-1] <= self.min_files * ordered[0]

    def _are_full(self, sizes: Sequence[int]) -> bool:
        return len(sizes) > 1 and sum(sizes) >= self.max_bytes


def merged_name(batch_ids: Collection[str], mark: str) -> str:
    """How a file is called that holds these batches. No other file of ours has two dots in a row in its name."""
    return f"{min(batch_ids)}..{max(batch_ids)}.{mark}.parquet"


def is_merged_name(path: str) -> bool:
    """Whether a path names a merged file."""
    return ".." in path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class RepackTask:
    """What a worker needs to write rows of a layer into other files of the same rows, in folder `target`.

    `files` stand in `source`, a generation's folder, in the order of their first batches. Without `apart` runs of them are
    merged as `limits` say; with it they are merged files, and the rows of the batches `apart` get files of their own.
    `mark` ends the names of the new files.
    """

    root: Path
    source: Path
    target: Path
    mark: str
    files: tuple[LayerFile, ...]
    limits: CompactionLimits
    apart: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Repacked:
    """A new file, the rows it holds by batch, and whether it `merged` several; a batch alone has its own name."""

    name: str
    size: int
    sha256: str
    rows: Mapping[str, int]
    merged: bool


@dataclass(frozen=True, slots=True)
class RepackOutcome:
    """New files that together hold the rows of the files called `replaced`, no more and no less."""

    made: tuple[Repacked, ...]
    replaced: frozenset[str]


@dataclass(frozen=True, slots=True)
class LayerState:
    """A layer when a compaction began: it is committed only if nothing but added batches has happened since."""

    key: TableKey
    layer: Layer
    generation: int
