"""One promotion in a worker: the task's batches through the layer it names, and the transition record of each.

Called by scheduling/tasks.py. Publishes files; touches neither ledger nor lineage: the caller commits, then
writes lineage.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from daemon.catalog.columns import Candidates
from daemon.catalog.identity import new_id
from daemon.catalog.promotion import (
    BatchOutcome,
    FileOutcome,
    LayerFile,
    ModelTask,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
)
from daemon.catalog.transition import Layer, LayerTransitionLog, SourceFile
from daemon.lake.generations import build_next
from daemon.lake.layout import Layout
from daemon.pipeline.bronze import BronzeLayer
from daemon.pipeline.dedup import Published
from daemon.pipeline.gold import GoldLayer
from daemon.pipeline.learning import learn
from daemon.pipeline.models import GoldModel
from daemon.pipeline.records import Attempt, dropped_sources, layer_source, shown, transition
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.silver import Rewritten, SilverLayer
from daemon.pipeline.staged import Known, StagedLayer
from daemon.pipeline.transforms import load_transforms
from daemon.pipeline.writing import columns_of, flat

Clock = Callable[[], datetime]


def promote(task: PromotionTask, clock: Clock) -> PromotionOutcome:
    """Carry the task's batches into its target layer. Raises ContractError, RejectDataError, RetryLaterError."""
    return _Promotion(task, clock).run()


def refresh_model(task: ModelTask, clock: Clock) -> BatchOutcome:
    """Make a gold model anew. Raises ContractError, RetryLaterError."""
    return GoldModel(task).refresh(clock)


class _Promotion:
    """The task, and what every step of it needs."""

    def __init__(self, task: PromotionTask, clock: Clock) -> None:
        self._task = task
        self._clock = clock
        self._layout = Layout(task.root)
        self._started = clock()

    def run(self) -> PromotionOutcome:
        if self._task.target is Layer.STAGED:
            return self._single(self._staged(self._task.items[0]))
        if self._task.target is Layer.BRONZE:
            return self._single(self._bronze(self._task.items[0]))
        if self._task.target is Layer.SILVER:
            return self._silver(self._task.items[0])
        return self._gold()

    def _single(self, outcome: BatchOutcome) -> PromotionOutcome:
        return PromotionOutcome((outcome,), generation=self._task.generation)

    def _staged(self, item: PromotionItem) -> BatchOutcome:
        place = self._place(item)
        layer = StagedLayer(self._task.contract.reader)
        known = Known(self._task.known_hashes, self._task.known_names, self._task.incomplete_since)
        staged = layer.promote(item.sources, place, known)
        sources = dropped_sources(item.sources, staged.files, staged.notes)
        outcome = self._outcome(item, place, staged.layer, sources, files=staged.files)
        return replace(
            outcome,
            columns=staged.columns,
            headers=tuple(staged.headers.items()),
            delivered=self._delivered(staged.layer.path),
        )

    def _delivered(self, path: Path | None) -> tuple[tuple[str, Candidates], ...]:
        """The columns that were staged, with what their values allow; text where types are declared."""
        if path is None:
            return ()
        if not self._task.contract.learns:
            return tuple((name, frozenset[str]()) for name, _ in columns_of(path))
        known = {name: state.candidates for name, state in self._task.columns.columns.items()}
        return tuple(learn(path, known).items())

    def _bronze(self, item: PromotionItem) -> BatchOutcome:
        contract = self._task.contract
        layer = BronzeLayer(contract.bronze, contract.origin, self._task.columns, learns=contract.learns)
        source = _source(item)
        place = self._place(item)
        result = layer.promote(self._source_path(source), source.rows, place)
        casts = tuple(f"cast:{column}" for column in contract.bronze.cast)
        return self._outcome(item, place, result, (layer_source(place, source),), casts)

    def _silver(self, item: PromotionItem) -> PromotionOutcome:
        task, contract = self._task, self._task.contract
        transforms = load_transforms(contract.silver.transforms, self._layout.transforms, contract.origin)
        layer = SilverLayer(
            contract.silver,
            transforms,
            origin=contract.origin,
            folder=self._layout.transforms,
            released=task.released,
        )
        source = _source(item)
        folder = self._layout.generation(Layer.SILVER, task.key, task.generation)
        rule = contract.silver.dedup
        published = (
            Published(folder, task.published, task.next_generation)
            if rule is not None and rule.across_batches
            else None
        )
        place = self._place(item)
        result = layer.promote(self._source_path(source), source.rows, place, published)
        sources = (layer_source(place, source),)
        outcome = self._outcome(item, place, result.layer, sources, contract.silver.transforms)
        return PromotionOutcome(
            (outcome,),
            rewritten=tuple(self._rewritten(place, change) for change in result.rewritten),
            generation=result.generation,
            warnings=tuple(result.layer.warnings),
        )

    def _rewritten(self, to: Place, change: Rewritten) -> BatchOutcome:
        """The transition of an older batch anew: the rows it lost to a newer one are deduplicated rows."""
        before = self._task.published_transitions[self._task.published.index(change.old)]
        rows = change.new.rows if change.new else 0
        log = before.model_copy(
            update={
                "transition_id": new_id(),
                "supersedes": before.transition_id,
                "target_file": shown(to, change.new),
                "row_count_out": rows,
                "rows_deduplicated": before.rows_deduplicated + before.row_count_out - rows,
                "started_at": self._started,
                "completed_at": self._clock(),
                "attempt": 1,
                "errors": (),
            }
        )
        return BatchOutcome(LayerTransitionLog.model_validate(log.model_dump()), change.new)

    def _gold(self) -> PromotionOutcome:
        """Promote the batches of a group; if one of them replaces a file, into the next generation, together."""
        task = self._task
        generation = task.generation
        replaced = {item.replaces.name for item in task.items if item.replaces}
        if replaced:
            keep = [file.name for file in task.published if file.name not in replaced]
            build_next(self._layout, Layer.GOLD, task.key, generation, task.next_generation, keep)
            generation = task.next_generation
        contract = task.contract
        transforms = load_transforms(contract.gold.transforms, self._layout.transforms, contract.origin)
        layer = GoldLayer(
            contract.gold.sql, transforms, origin=contract.origin, folder=self._layout.transforms
        )
        applied = ("gold.sql",) if contract.gold.sql else contract.gold.transforms
        outcomes = []
        for item in task.items:
            place = self._place(item, generation)
            if item.source is None:  # every row of it was superseded: it has nothing in gold any more
                outcomes.append(self._outcome(item, place, LayerResult(item.batch_id, 0, 0, None, None), ()))
                continue
            result = layer.promote(self._source_path(item.source), item.source.rows, place)
            outcomes.append(self._outcome(item, place, result, (layer_source(place, item.source),), applied))
        return PromotionOutcome(tuple(outcomes), generation=generation)

    def _place(self, item: PromotionItem, generation: int | None = None) -> Place:
        task = self._task
        number = generation or task.generation
        name = f"{item.batch_id}.g{number}.parquet" if item.replaces else f"{item.batch_id}.parquet"
        return Place(self._layout, task.key, task.target, item.batch_id, number, item.planned_at, name)

    def _source_path(self, source: LayerFile) -> Path:
        task = self._task
        return self._layout.generation(task.target.below, task.key, task.source_generation) / source.name

    def _outcome(
        self,
        item: PromotionItem,
        place: Place,
        result: LayerResult,
        sources: tuple[SourceFile, ...],
        applied: tuple[str, ...] = (),
        *,
        files: tuple[FileOutcome, ...] = (),
    ) -> BatchOutcome:
        attempt = Attempt(
            transition_id=item.transition_id,
            started_at=self._started,
            completed_at=self._clock(),
            number=item.attempt,
            contract_version=self._task.contract.version,
            supersedes=item.supersedes,
            replays=self._task.replays,
        )
        log = transition(place, result, attempt, sources, applied=applied, files=files)
        quarantine = self._layout.relative(result.quarantine_path) if result.quarantine_path else None
        columns = columns_of(result.path) if result.path else ()
        return BatchOutcome(log, result.file, files, quarantine, flat(result.rejected), columns)


def _source(item: PromotionItem) -> LayerFile:
    if item.source is None:
        raise ValueError(f"promotion {item.transition_id} has no source file")
    return item.source
