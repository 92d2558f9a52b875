"""Promotions in a worker: a climb's batch through one layer after the other, and the transition record of each hop.

Called by scheduling/tasks.py. Publishes files; touches neither ledger nor lineage: the caller commits, then
writes lineage.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import polars as pl
from polars.exceptions import PanicException, PolarsError

from daemon.catalog.columns import Candidates
from daemon.catalog.promotion import (
    BatchOutcome,
    Climb,
    FileOutcome,
    LayerFile,
    ModelTask,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    Rewritten,
    following,
)
from daemon.catalog.transition import Layer, SourceFile
from daemon.errors import RetryLaterError, gist
from daemon.lake.generations import build_next, ensure_generation
from daemon.lake.layout import Layout
from daemon.pipeline.bronze import BronzeLayer
from daemon.pipeline.dedup import Published
from daemon.pipeline.gold import GoldLayer
from daemon.pipeline.learning import learn
from daemon.pipeline.models import GoldModel
from daemon.pipeline.records import Attempt, dropped_sources, layer_source, shown, transition
from daemon.pipeline.results import Beside, LayerResult, Place, Publishing
from daemon.pipeline.silver import SilverLayer
from daemon.pipeline.staged import Known, StagedLayer
from daemon.pipeline.transforms import load_transforms
from daemon.pipeline.writing import Source, columns_of, flat, rows_of, scan

Clock = Callable[[], datetime]

_HELD_ROWS = 50_000
_HELD_BYTES = 4_000_000
"""Rows and bytes of a layer file up to which it is read into memory and stays there for the hops above."""


def climb(plan: Climb, clock: Clock, beside: Beside) -> tuple[PromotionOutcome, ...]:
    """Carry a batch up, hop by hop, as far as the plan goes and all goes well; returns an outcome for each hop done.

    The file of a hop is published `beside` the work on the next one, whose own comes after it; on return all are durable.
    Raises ContractError, RejectDataError, RetryLaterError for the first hop. What hinders a later one only ends the climb:
    that hop is due then, meets it again by itself, and is answered as any other.
    """
    hop = _Promotion(plan.task, clock, beside=beside if plan.above else None)
    hop.prepare()
    if not plan.above:
        return (hop.run(),)
    hops = [hop]
    try:
        outcomes = [hop.run()]
        for above in plan.above:
            task = following(plan, hop.task, outcomes[-1], above)
            if task is None:
                break
            hop = _Promotion(task, clock, hop, beside)
            hops.append(hop)
            try:
                hop.prepare()
                outcomes.append(hop.run())
            except (Exception, PanicException):  # noqa: BLE001 - whatever it is, the hop's own attempt answers it
                break
    finally:  # nothing is published any more when somebody hears of the end
        for hop in hops:
            with suppress(Exception, PanicException):
                hop.published()
    return _durable(hops, outcomes)


def _durable(
    hops: Sequence["_Promotion"], outcomes: Sequence[PromotionOutcome]
) -> tuple[PromotionOutcome, ...]:
    """The outcomes of a climb, up to the first whose file could not be published. Raises what hindered the first."""
    durable: list[PromotionOutcome] = []
    source: LayerFile | None = None
    for hop, outcome in zip(hops, outcomes, strict=False):
        try:
            file = hop.published()
        except (Exception, PanicException):
            if not durable:
                raise
            break
        durable.append(outcome.durable(file, source))
        source = file
    return tuple(durable)


def promote(task: PromotionTask, clock: Clock) -> PromotionOutcome:
    """Carry the task's batches into its target layer, where the folder is there.

    Raises ContractError, RejectDataError, RetryLaterError.
    """
    return _Promotion(task, clock).run()


def refresh_model(task: ModelTask, clock: Clock) -> BatchOutcome:
    """Make a gold model anew. Raises ContractError, RetryLaterError."""
    return GoldModel(task).refresh(clock)


class _Promotion:
    """The task, and what every step of it needs.

    `below` is the hop before it in a climb; `content` what the hop made: rows in memory, or the file itself; `published`
    waits for its file, if there is one, to be so.
    """

    def __init__(
        self,
        task: PromotionTask,
        clock: Clock,
        below: "_Promotion | None" = None,
        beside: Beside | None = None,
    ) -> None:
        self.task = task
        self._clock = clock
        self._below = below
        self._beside = beside
        self.content: Source | None = None
        self.published: Callable[[], LayerFile | None] = lambda: None
        self._layout = Layout(task.root)
        self._started = clock()

    def prepare(self) -> None:
        """See that the folder and its link are there. Raises OSError."""
        ensure_generation(self._layout, self.task.target, self.task.key, self.task.generation)

    def run(self) -> PromotionOutcome:
        if self.task.target is Layer.STAGED:
            return self._single(self._staged(self.task.items[0]))
        if self.task.target is Layer.BRONZE:
            return self._single(self._bronze(self.task.items[0]))
        if self.task.target is Layer.SILVER:
            return self._silver(self.task.items[0])
        return self._gold()

    def _single(self, outcome: BatchOutcome) -> PromotionOutcome:
        return PromotionOutcome((outcome,), generation=self.task.generation)

    def _staged(self, item: PromotionItem) -> BatchOutcome:
        place = self._place(item)
        layer = StagedLayer(self.task.contract.reader)
        known = Known(self.task.known_hashes, self.task.known_names, self.task.incomplete_since)
        staged = layer.promote(item.sources, place, known)
        sources = dropped_sources(item.sources, staged.files, staged.notes)
        outcome = self._outcome(item, place, staged.layer, sources, files=staged.files)
        return replace(
            outcome,
            columns=staged.columns,
            headers=tuple(staged.headers.items()),
            delivered=self._delivered(staged.layer.content, staged.columns),
        )

    def _delivered(
        self, content: Source | None, columns: Iterable[tuple[str, str]]
    ) -> tuple[tuple[str, Candidates], ...]:
        """The columns that were staged, with what their values allow; text where types are declared."""
        if content is None:
            return ()
        if not self.task.contract.learns:
            return tuple((name, frozenset[str]()) for name, _ in columns)
        known = {name: state.candidates for name, state in self.task.columns.columns.items()}
        return tuple(learn(content if isinstance(content, pl.DataFrame) else scan(content), known).items())

    def _bronze(self, item: PromotionItem) -> BatchOutcome:
        contract = self.task.contract
        layer = BronzeLayer(contract.bronze, contract.origin, self.task.columns, learns=contract.learns)
        source = _source(item)
        place = self._place(item)
        result = layer.promote(self._rows(source), source.rows, place)
        casts = tuple(f"cast:{column}" for column in contract.bronze.cast)
        return self._outcome(item, place, result, (layer_source(place, source),), casts)

    def _silver(self, item: PromotionItem) -> PromotionOutcome:
        task, contract = self.task, self.task.contract
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
            Published(folder, task.published, task.next_generation, self._layout.key_index(task.key))
            if rule is not None and rule.across_batches
            else None
        )
        place = self._place(item)
        result = layer.promote(self._rows(source), source.rows, place, published)
        sources = (layer_source(place, source),)
        outcome = self._outcome(item, place, result.layer, sources, contract.silver.transforms)
        return PromotionOutcome(
            (outcome,),
            lost=tuple(self._rewritten(place, *change) for change in result.rewritten),
            generation=result.generation,
            warnings=tuple(result.layer.warnings),
        )

    def _rewritten(self, to: Place, old: LayerFile, new: LayerFile | None) -> Rewritten:
        return Rewritten(old, new, shown(to, new), self._started, self._clock())

    def _gold(self) -> PromotionOutcome:
        """Promote the batches of a group; if one of them replaces a file, into the next generation, together."""
        task = self.task
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
            result = layer.promote(self._rows(item.source), item.source.rows, place)
            outcomes.append(self._outcome(item, place, result, (layer_source(place, item.source),), applied))
        return PromotionOutcome(tuple(outcomes), generation=generation)

    def _publish(self, publish: Publishing) -> Publishing:
        """Begin to publish the file, once the one of the hop below is published."""

        def after() -> LayerFile:
            if self._below is not None:
                self._below.published()
            return publish()

        assert self._beside is not None  # noqa: S101 - the hop of a climb
        self.published = self._beside(after)
        return self.published

    def _place(self, item: PromotionItem, generation: int | None = None) -> Place:
        task = self.task
        number = generation or task.generation
        name = f"{item.batch_id}.g{number}.parquet" if item.replaces else f"{item.batch_id}.parquet"
        return Place(
            self._layout,
            task.key,
            task.target,
            item.batch_id,
            number,
            item.planned_at,
            name,
            hold=item.source is None or _is_small(item.source),
            beside=None if self._beside is None else self._publish,
        )

    def _rows(self, source: LayerFile) -> Source:
        """The rows of the layer below; few ones are read once, however often they are looked at.

        Raises RetryLaterError where the file cannot be read.
        """
        if self._below is not None and self._below.content is not None:
            return self._below.content
        task = self.task
        folder = self._layout.generation(task.target.below, task.key, task.source_generation)
        if source.merged:
            return rows_of(folder, source)
        path = folder / source.name
        if not _is_small(source):
            return path
        try:
            return scan(path).collect(engine="in-memory")
        except (PolarsError, PanicException, OSError) as error:
            raise RetryLaterError(f"{path}: {gist(error)}") from error

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
            contract_version=self.task.contract.version,
            supersedes=item.supersedes,
            replays=self.task.replays,
        )
        self.content = result.content
        log = transition(place, result, attempt, sources, applied=applied, files=files)
        quarantine = self._layout.relative(result.quarantine_path) if result.quarantine_path else None
        columns = columns_of(result.content) if result.content is not None else ()
        return BatchOutcome(log, result.file, files, quarantine, flat(result.rejected), columns)


def _is_small(source: LayerFile) -> bool:
    return source.rows <= _HELD_ROWS and source.size <= _HELD_BYTES


def _source(item: PromotionItem) -> LayerFile:
    if item.source is None:
        raise ValueError(f"promotion {item.transition_id} has no source file")
    return item.source
