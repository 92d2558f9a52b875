"""The words of a promotion between the chain (scheduling), the workers (pipeline) and the ledger; plain, picklable data.

A *promotion* is a planned hop of a batch, an *outcome* what one attempt did, in memory. Nothing here touches
a disk.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from daemon.catalog.columns import Candidates, TableColumns
from daemon.catalog.contract import Contract
from daemon.catalog.transition import Layer, LayerTransitionLog


class TableKey(NamedTuple):
    """A table's name: `domain` and `table`, both slugs that are safe as folder names."""

    domain: str
    table: str

    def __str__(self) -> str:
        """As people write it: `domain.table`."""
        return f"{self.domain}.{self.table}"

    @property
    def shadow(self) -> "TableKey":
        """The same table as a rebuild makes it anew beside the published one. `~` is in no slug."""
        return TableKey(self.domain, f"{self.real.table}~")

    @property
    def real(self) -> "TableKey":
        """The table itself, whether this is its shadow or not."""
        return TableKey(self.domain, self.table.removesuffix("~"))

    @property
    def is_shadow(self) -> bool:
        """Whether this is what a rebuild makes, which no reader sees yet."""
        return self.table.endswith("~")


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A dropped file that now is ours.

    `name` is its path relative to landing as it was dropped (`_source_file`), `path` where its bytes are, `size` (bytes)
    and `mtime_ns` what they were when it was claimed. `sheet`: it stands for this sheet of a workbook, whose first table
    is another table's.
    """

    file_id: int
    name: str
    path: Path
    size: int
    mtime_ns: int
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A Parquet file of a layer, or the rows of one batch in it: `rows` are the batch's.

    `name` is the file's name within its generation folder, `size` its bytes. `merged`: it holds rows of other batches too.
    """

    batch_id: str
    name: str
    rows: int
    size: int
    sha256: str
    merged: bool = False


@dataclass(frozen=True, slots=True)
class PromotionItem:
    """One batch within a promotion call.

    `planned_at` becomes `_ingested_at`, so that a redo writes the same rows.

    Landing -> staged has `sources`; every hop above has `source`, the file of the layer below. `replaces` is
    the file of the target layer that this promotion rewrites (a re-promotion after cross-batch dedup), None
    for a batch's first.
    """

    transition_id: str
    batch_id: str
    planned_at: datetime
    attempt: int
    sources: tuple[ClaimedFile, ...] = ()
    source: LayerFile | None = None
    replaces: LayerFile | None = None
    supersedes: str | None = None


@dataclass(frozen=True, slots=True)
class PromotionTask:
    """What a worker needs to carry `items` of one table up to `target`; committed together or not at all.

    For landing -> staged: `incomplete_since`, a file cut short waits for its other half unless it is older than this
    instant (seconds since 1970); `known_hashes`, SHA-256 of the table's earlier contents that have the size of one of the
    sources; `known_names`, the names under which the table took other files, where the contract rejects revisions;
    `replays`, the transitions that had set these sources aside before.
    For staged and bronze: `columns`, what is known of the table's columns. For silver: `released`, records by file and
    number that checks let pass.

    `published`: the committed files of the target layer, in the order of their first batches (dedup across batches looks
    there). `source_generation` and `generation` number the folders in which the layer below and the target stand,
    `next_generation` the one to build when what is `published` must change.
    """

    root: Path
    key: TableKey
    target: Layer
    items: tuple[PromotionItem, ...]
    contract: Contract
    source_generation: int
    generation: int
    next_generation: int = 0
    published: tuple[LayerFile, ...] = ()
    released: frozenset[tuple[str, int]] = frozenset()
    known_hashes: frozenset[str] = frozenset()
    columns: TableColumns = field(default_factory=TableColumns)
    known_names: frozenset[str] = frozenset()
    replays: tuple[str, ...] = ()
    incomplete_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Climb:
    """A promotion of one batch, and the hops above it with which the same call goes on while all goes well.

    Every hop has its own durable file, record and commit. `above`: the hops' tasks from below to above, complete but for
    what the hop below them makes known (see `following`). `contract` is the table's, without what was learned of it.
    """

    task: PromotionTask
    contract: Contract
    above: tuple[PromotionTask, ...] = ()

    @property
    def tasks(self) -> tuple[PromotionTask, ...]:
        """The hops from below to above."""
        return (self.task, *self.above)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one dropped file.

    `reason` and `kind` say why it was set aside, or returned to landing to wait for its other half; `rows` counts all its
    records. `parts`: the other sheets of a workbook that hold a table, each with the table that it goes to.
    """

    file_id: int
    sha256: str
    rows: int
    fate: Literal["staged", "duplicate", "set_aside", "returned"]
    kind: str | None = None
    reason: str | None = None
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a promotion did to one batch. `layer_file` is None when no row was left to publish.

    `quarantine_file` is the path, relative to the root, of the records set aside at this hop.
    `rejected` counts set-aside records by the rule that caught them and their file. `columns` are those of the file with
    their types as text, provenance left out; `headers` how a column was spelled where that differs from its name.
    `delivered`: the columns of a staged batch with the types that their values allow.
    """

    transition: LayerTransitionLog
    layer_file: LayerFile | None
    files: tuple[FileOutcome, ...] = ()
    quarantine_file: str | None = None
    rejected: tuple[tuple[str, str, int], ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    delivered: tuple[tuple[str, Candidates], ...] = ()

    @property
    def rows_by_rule(self) -> dict[str, int]:
        """Set-aside records by the rule that caught them."""
        counts: dict[str, int] = {}
        for rule, _, rows in self.rejected:
            counts[rule] = counts.get(rule, 0) + rows
        return counts


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The file of an older batch that lost rows to a newer one: `old`, and `new` in the next generation.

    `new` is None when no row was left; `shown` is its path for readers.
    """

    old: LayerFile
    new: LayerFile | None
    shown: str | None
    started_at: datetime
    completed_at: datetime

    def outcome(self, before: LayerTransitionLog, transition_id: str) -> BatchOutcome:
        """The record of the batch anew, after the one that made `old`: the rows it lost are deduplicated rows."""
        rows = self.new.rows if self.new else 0
        log = before.model_copy(
            update={
                "transition_id": transition_id,
                "supersedes": before.transition_id,
                "target_file": self.shown,
                "row_count_out": rows,
                "rows_deduplicated": before.rows_deduplicated + before.row_count_out - rows,
                "started_at": self.started_at,
                "completed_at": self.completed_at,
                "attempt": 1,
                "errors": (),
            }
        )
        return BatchOutcome(LayerTransitionLog.model_validate(log.model_dump()), self.new)


@dataclass(frozen=True, slots=True)
class PromotionOutcome:
    """What one call did: an outcome per item, and the files of older batches that `lost` rows and had to be rewritten.

    `rewritten` are the records of those, once the ledger has been asked what stood before (see `recorded`). `generation`
    is larger than the task's when files were rewritten: the folder is complete on disk, but the table's link still shows
    the old one; the caller commits the ledger, then publishes it.
    """

    items: tuple[BatchOutcome, ...]
    rewritten: tuple[BatchOutcome, ...] = ()
    generation: int = 0
    warnings: tuple[str, ...] = ()
    lost: tuple[Rewritten, ...] = ()

    def recorded(
        self, standing: Callable[[str], LayerTransitionLog], new_id: Callable[[], str]
    ) -> "PromotionOutcome":
        """The same, with a record for each file that lost rows; `standing` gives the present one of a batch."""
        rewritten = tuple(change.outcome(standing(change.old.batch_id), new_id()) for change in self.lost)
        return replace(self, rewritten=rewritten)

    def durable(self, file: LayerFile | None, source: LayerFile | None) -> "PromotionOutcome":
        """The same of one batch, with what is known of its file once that is durable, and of the `source` it was made of.

        `source`: None where that was known beforehand.
        """
        batch = self.items[0]
        log = batch.transition
        if source is not None:
            below = log.source_files[0].model_copy(update={"bytes": source.size, "sha256": source.sha256})
            log = log.model_copy(update={"source_files": (below,)})
        return replace(self, items=(replace(batch, transition=log, layer_file=file),))


@dataclass(frozen=True, slots=True)
class ModelInput:
    """A table that a gold model reads: the committed files of one of its layers, in generation folder `generation`."""

    layer: Layer
    key: TableKey
    generation: int
    files: tuple[LayerFile, ...]


@dataclass(frozen=True, slots=True)
class ModelTask:
    """What a worker needs to make gold model `key` anew, as the one file `<table>.parquet` of its generation folder."""

    root: Path
    key: TableKey
    transition_id: str
    batch_id: str
    planned_at: datetime
    contract: Contract
    inputs: tuple[ModelInput, ...]
    generation: int


def following(
    climb: Climb, below: PromotionTask, outcome: PromotionOutcome, above: PromotionTask
) -> PromotionTask | None:
    """The task `above` of a climb, complete, now that `below` gave `outcome`; None where the climb has to end.

    It ends where no row is left, and where the table has to change as a whole: newer rows took the place of older ones, or
    a delivery teaches other types. The worker asks this to go on, and the parent to commit what came of it.
    """
    source = outcome.items[0].layer_file
    if source is None or outcome.lost:
        return None
    columns, contract = below.columns, below.contract
    if below.target is Layer.STAGED:
        columns, changes = below.columns.merged(dict(outcome.items[0].delivered), climb.contract.bronze)
        contract = below.contract if columns == below.columns else columns.under(climb.contract)
        if contract.learns and any(change.kind == "type" for change in changes):
            return None
    return replace(
        above,
        items=(replace(above.items[0], source=source),),
        source_generation=below.generation,
        contract=contract,
        columns=columns,
    )
