"""Compaction: small files of a layer become larger ones, and batches are taken out of merged files when they must change.

Called by the chain (merging, in the background) and by promoter and rebuilder (taking apart, before they rewrite a batch).
The new files are written beside the layer; then, while no promotion goes on there, the next generation is linked together,
committed and shown.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import structlog

from daemon.catalog.compaction import CompactionLimits, LayerState, RepackOutcome, RepackTask
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError
from daemon.events import Event
from daemon.lake.durable import TEMPORARY, make_directories, remove_tree
from daemon.lake.generations import build_next, point_link
from daemon.lake.layout import Layout
from daemon.scheduling.clock import utc_now
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.tasks import repack
from daemon.scheduling.workers import StoppingError, WorkerLostError, WorkerPool

log = structlog.get_logger(__name__)

_AT_ONCE = 1000
"""Files that one call of a worker looks at."""
_TRIES = 5
"""How often the next generation is linked together anew because the layer has changed meanwhile."""


class Compactor:
    """Changes which files hold a layer's rows. `limits` gives those of a table, `grace` is as for any generation."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        layout: Layout,
        workers: WorkerPool,
        lanes: Lanes,
        limits: Callable[[TableKey], CompactionLimits],
        grace: timedelta,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._workers = workers
        self._lanes = lanes
        self._limits = limits
        self._grace = grace
        self._served: tuple[TableKey, Layer] | None = None
        self._nothing_in: dict[tuple[TableKey, Layer], tuple[LayerFile, ...]] = {}

    def step(self) -> bool:
        """Merge files of one layer that has some to merge, one after the other in turn. Returns whether it did.

        Raises OSError.
        """
        places = [(totals.key, totals.layer) for totals in self._ledger.views.layers()]
        after = places.index(self._served) + 1 if self._served in places else 0
        for key, layer in (*places[after:], *places[:after]):
            files = self._mergeable(key, layer)
            if files and self._merge(key, layer, files):
                self._served = (key, layer)
                return True
        return False

    def take_apart(self, key: TableKey, layer: Layer, batch_ids: Collection[str]) -> bool:
        """Give those of the batches that stand in merged files of a layer files of their own; returns whether any did.

        Only for a step that has the layer to itself (see `lanes`).

        Raises RetryLaterError, StoppingError, WorkerLostError.
        """
        held = self._ledger.compaction.holding(key, layer, batch_ids)
        if not held:
            return False
        files = self._ledger.compaction.merged(key, layer, held)
        apart = frozenset[str]().union(*held.values())
        if not self._repack(key, layer, files, apart, nullcontext()):
            raise RetryLaterError(
                f"{layer} of {key} changes too fast for a batch to be taken out of a merged file"
            )
        return True

    def take_apart_alone(self, key: TableKey, layer: Layer, batch_ids: Collection[str]) -> bool:
        """The same for all others: it waits until no promotion goes on in the layer."""
        with self._lanes.alone(key, layer):
            return self.take_apart(key, layer, batch_ids)

    def _mergeable(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        limits = self._limits(key)
        if limits.min_files <= 1 or self._ledger.compaction.is_held(key):
            return ()
        done_by = utc_now() - timedelta(seconds=limits.min_age)
        files = self._ledger.compaction.mergeable(key, layer, limits, done_by, _AT_ONCE)
        if len(files) < limits.min_files or files == self._nothing_in.get((key, layer)):
            return ()
        return files if limits.some_may_be_worth_it([file.size for file in files]) else ()

    def _merge(self, key: TableKey, layer: Layer, files: tuple[LayerFile, ...]) -> bool:
        """Merge what is worth it of these; a layer that resists is left alone until its files change."""
        try:
            done = self._repack(key, layer, files, frozenset(), self._lanes.alone(key, layer))
        except StoppingError:
            return False
        except (WorkerLostError, RetryLaterError) as error:
            log.warning(
                Event.COMPACTION_FAILED, domain=key.domain, table=key.table, layer=layer, error=str(error)
            )
            done = False
        if not done:
            self._nothing_in[key, layer] = files
        return done

    def _repack(
        self,
        key: TableKey,
        layer: Layer,
        files: tuple[LayerFile, ...],
        apart: frozenset[str],
        alone: AbstractContextManager[None],
    ) -> bool:
        """Write the new files, then show them, `alone` in the layer; returns whether there were any."""
        number = self._ledger.promotions.reserve_generation(key, layer)
        generation = self._ledger.promotions.generation(key, layer)
        scratch = self._layout.generations(layer, key) / f"{new_id()}{TEMPORARY}"
        make_directories(scratch)
        task = RepackTask(
            root=self._layout.root,
            source=self._layout.generation(layer, key, generation),
            target=scratch,
            mark=f"g{number}",
            files=files,
            limits=self._limits(key),
            apart=apart,
        )
        try:
            outcome = self._workers.call(repack, task)
            if not outcome.made:
                return False
            with alone:
                return any(self._switch(key, layer, task, outcome) for _ in range(_TRIES))
        finally:
            remove_tree(scratch)

    def _switch(self, key: TableKey, layer: Layer, task: RepackTask, outcome: RepackOutcome) -> bool:
        """Show the new files in the place of the old ones; returns False, and changes nothing, if the layer changed."""
        generation, names = self._ledger.compaction.names(key, layer)
        number = self._ledger.promotions.reserve_generation(key, layer)
        kept = [name for name in names if name not in outcome.replaced]
        new = [made.name for made in outcome.made]
        try:
            build_next(
                self._layout, layer, key, generation, number, kept, bring=[task.target / name for name in new]
            )
            now = utc_now()
            state = LayerState(key, layer, generation)
            self._ledger.compaction.commit(state, {*kept, *new}, outcome, number, now + self._grace)
        except (StaleSourceError, FileNotFoundError):
            remove_tree(self._layout.generation(layer, key, number))
            return False
        point_link(self._layout, layer, key, number)
        log.info(
            Event.LAYER_COMPACTED,
            domain=key.domain,
            table=key.table,
            layer=layer,
            generation=number,
            files=len(outcome.replaced),
            into=len(new),
            bytes=sum(made.size for made in outcome.made),
        )
        return True
