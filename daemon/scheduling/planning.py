"""What a worker is to do next, from the ledger: the task of a due promotion, and the hops above with which it may go on.

Called by the promoter.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from daemon.catalog.columns import TableColumns
from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.promotion import ClaimedFile, Climb, PromotionItem, PromotionTask, TableKey
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError
from daemon.lake.layout import Layout
from daemon.lake.leases import lease_answer
from daemon.scheduling.lanes import Lanes

_SMALL = 8_000_000
"""Bytes of dropped files up to which a batch climbs all hops in one call. A larger one is staged by a call of its own, so
that the next batch of its table is read while it is refined."""
_APART = timedelta(microseconds=1)
"""Between the times of a climb's hops, which become `_ingested_at`."""


class Planner:
    """Makes tasks. `incomplete_wait` (seconds) is how long a file that is cut short waits in landing for its other half."""

    def __init__(
        self, ledger: Ledger, layout: Layout, contracts: ContractStore, lanes: Lanes, incomplete_wait: float
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._contracts = contracts
        self._lanes = lanes
        self._incomplete_wait = incomplete_wait

    def plan(
        self, due: DuePromotion, recognised: frozenset[str], taken: list[Layer], *, climbs: bool
    ) -> Climb:
        """The promotion and, if it `climbs`, the hops above where the batch can go on; their layers are added to `taken`.

        `recognised` are hashes of its files that the table is known to have. Raises ContractError, RetryLaterError,
        OSError.
        """
        contract = self._contracts.get(due.key.real)
        columns = self._ledger.promotions.columns(due.key)
        task = self._task(due.key, due.target, due.items, columns.under(contract), columns)
        task = replace(task, known_hashes=task.known_hashes | recognised)
        if not climbs or not self._may_climb(due, task):
            return Climb(task, contract)
        layers = self._lanes.take_above(
            due.key, due.target, lambda free: self._ledger.promotions.is_clear(due.key, free)
        )
        if not layers:
            return Climb(task, contract)
        taken += layers
        if due.target is Layer.STAGED:
            # Before its first commit its rows stand in gold: what the table has already must be known beforehand.
            task = replace(task, known_hashes=self._known_contents(due.key, task.items[0].sources))
        above: list[PromotionTask] = []
        item = due.items[0]
        for layer in layers:
            # Not the present time: done again after a crash, it must be the same.
            planned_at = item.planned_at + _APART
            item = PromotionItem(new_id(), item.batch_id, planned_at, attempt=1)
            above.append(self._task(due.key, layer, (item,), task.contract, columns))
        return Climb(task, contract, tuple(above))

    def _at_rest(self, file: ClaimedFile) -> ClaimedFile:
        """A source where it lies. Raises OSError, RetryLaterError when somebody writes, or did since the last look."""
        path = f"{self._layout.root}/{file.path}"
        if lease_answer(path) == "open_for_writing":
            raise RetryLaterError(
                f"{file.name}: somebody still writes to it; it is read when it has come to rest"
            )
        found = os.stat(path)
        if (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns):
            self._ledger.intake.changed(file.file_id, found.st_size, found.st_mtime_ns)
            raise RetryLaterError(f"{file.name}: somebody wrote to it; it is read when it has come to rest")
        return replace(file, path=Path(path))

    def _known_contents(self, key: TableKey, sources: Sequence[ClaimedFile]) -> frozenset[str]:
        """The hashes of those files whose content the table has."""
        found = set()
        for source in sources:
            with source.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self._ledger.promotions.has_content(key, source.size, digest):
                found.add(digest)
        return frozenset(found)

    def _may_climb(self, due: DuePromotion, task: PromotionTask) -> bool:
        """Whether a batch is new to the layers above, has met no trouble, and is too small to hold up the next."""
        item = due.items[0]
        if due.key.is_shadow or len(due.items) > 1 or item.replaces or item.supersedes or item.attempt > 1:
            return False
        if due.target is not Layer.STAGED:
            return True
        replaces = task.contract.landing.revisions == "replace" and self._ledger.promotions.known_names(
            due.key, item.sources
        )
        return not replaces and sum(source.size for source in item.sources) <= _SMALL

    def _task(
        self,
        key: TableKey,
        target: Layer,
        items: tuple[PromotionItem, ...],
        contract: Contract,
        columns: TableColumns,
    ) -> PromotionTask:
        promotions = self._ledger.promotions
        generation = promotions.generation(key, target)
        task = PromotionTask(
            root=self._layout.root,
            key=key,
            target=target,
            items=items,
            contract=contract,
            source_generation=1 if target is Layer.STAGED else promotions.generation(key, target.below),
            generation=generation,
            columns=columns if target in {Layer.STAGED, Layer.BRONZE} else TableColumns(),
        )
        if target is Layer.STAGED:
            sources = tuple(self._at_rest(file) for file in items[0].sources)
            return replace(
                task,
                items=(replace(items[0], sources=sources),),
                known_hashes=promotions.known_hashes(key, sources),
                known_names=promotions.known_names(key, sources)
                if contract.landing.revisions == "reject"
                else frozenset(),
                incomplete_since=time.time() - self._incomplete_wait,
                replays=self._ledger.quarantine.taken_up_again(key, [file.name for file in sources]),
            )
        dedup = contract.silver.dedup
        if target is Layer.SILVER:
            released = self._ledger.quarantine.released(key.real, items[0].batch_id)
            task = replace(task, released=released)
        across = target is Layer.SILVER and dedup is not None and dedup.across_batches
        if across or any(item.replaces for item in items):
            return replace(
                task,
                published=promotions.published(key, target),
                next_generation=promotions.next_generation(key, target),
            )
        return task
