"""A ledger alone, and the few words its tests speak to it: claims, hops and rebuilds without a file behind them."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledgers import transition_at

from daemon.catalog.contract import Contract
from daemon.catalog.ledger.intake import ClaimIntent, OpenClaim
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.outcomes import Committed, Hop
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.promotion import (
    BatchOutcome,
    FileOutcome,
    LayerFile,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    TableKey,
)
from daemon.catalog.rebuild import Beginning, Rebuild, ShadowLayer
from daemon.catalog.transition import Layer, LayerTransitionLog

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
KEY = TableKey("sales", "orders")
LAYERS = (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)


@dataclass
class World:
    """A ledger and the few words the tests speak to it, about the table `key`."""

    ledger: Ledger
    path: Path
    key: TableKey = KEY
    ids: Iterator[str] = field(default_factory=lambda: (f"id-{number:04}" for number in itertools.count()))

    def new_id(self) -> str:
        return next(self.ids)

    def of(self, key: TableKey) -> "World":
        """The same ledger, spoken to about another table."""
        return replace(self, key=key)

    def claim(self, *names: str, batch_id: str | None = None) -> str:
        batch_id = batch_id or self.new_id()
        self.intend(batch_id, *names)
        self.ledger.intake.confirm({batch_id: dict.fromkeys(range(len(names)), (10, 1))}, self.new_id, NOW)
        return batch_id

    def intend(self, batch_id: str, *names: str) -> None:
        intents = [
            ClaimIntent(name, f"landing/{name}", f"landing/.claimed/{batch_id}/{name}", 10, 1, number)
            for number, name in enumerate(names)
        ]
        self.ledger.intake.intend([OpenClaim(batch_id, self.key, tuple(intents))], NOW)

    def due(self, target: Layer) -> DuePromotion:
        due = self.ledger.promotions.due(self.key, target, ())
        assert due is not None
        return due

    def climb(self, target: Layer, *, rows: int = 5) -> list[str]:
        """Commit the oldest due promotion of a hop, every item with `rows` rows."""
        due = self.due(target)
        return self.commit(due, *(self.outcome(due, item, rows) for item in due.items)).done

    def deliver(self, *names: str, rows: int = 5) -> str:
        """Carry files up to gold."""
        batch = self.claim(*names)
        for layer in LAYERS:
            self.climb(layer, rows=rows)
        return batch

    def commit(
        self,
        due: DuePromotion,
        *items: BatchOutcome,
        rewritten: tuple[BatchOutcome, ...] = (),
        contract: Contract | None = None,
    ) -> Committed:
        number = self.ledger.promotions.generation(self.key, due.target)
        task = PromotionTask(self.path, self.key, due.target, due.items, contract or Contract(), 1, number)
        outcome = PromotionOutcome(items, rewritten, generation=number + bool(rewritten))
        return self.ledger.outcomes.commit([Hop(task, outcome)], self.new_id, NOW, LATER)[0]

    def outcome(self, due: DuePromotion, item: PromotionItem, rows: int) -> BatchOutcome:
        files = tuple(FileOutcome(file.file_id, f"sha-{file.name}", rows, "staged") for file in item.sources)
        return BatchOutcome(
            transition(item.transition_id, item.batch_id, due.target, rows, self.key),
            layer_file(item.batch_id, rows) if rows else None,
            files,
        )

    def ask(self, rebuild: Rebuild) -> Rebuild:
        self.ledger.rebuilds.request(rebuild, NOW)
        return rebuild

    def begin(
        self,
        rebuild: Rebuild,
        *,
        kept: Collection[str] = (),
        restaged: Sequence[BatchOutcome] = (),
        hops: Sequence[tuple[str, Layer]] = (),
    ) -> Beginning:
        """Begin a rebuild in which the layers above its base take over the files of `kept`."""
        rebuilds, promotions = self.ledger.rebuilds, self.ledger.promotions
        standing = {layer: rebuilds.layer(self.key, layer) for layer in LAYERS}
        beginning = Beginning(
            {layer: (found.generation, found.version) for layer, found in standing.items()},
            {
                layer: ShadowLayer(promotions.reserve_generation(self.key, layer), frozenset(kept))
                for layer in rebuild.base.all_above
            },
            restaged,
            hops,
        )
        self.ledger.shadows.begin(rebuild, beginning, self.new_id, NOW)
        return beginning


def layer_file(batch_id: str, rows: int, name: str | None = None) -> LayerFile:
    return LayerFile(batch_id, name or f"{batch_id}.parquet", rows, 100, "ab" * 32)


def transition(
    transition_id: str, batch_id: str, target: Layer, rows: int, key: TableKey = KEY, **more: object
) -> LayerTransitionLog:
    return transition_at(NOW, transition_id, batch_id, key, target, rows, **more)
