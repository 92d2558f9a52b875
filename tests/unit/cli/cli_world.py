"""A root with a table in every layer, made through the ledger and the lake as the daemon does it, without a
daemon.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from typer.testing import Result

from daemon.catalog.contract import Contract
from daemon.catalog.ledger.intake import ClaimIntent, OpenClaim
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.outcomes import Hop
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
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.lake.generations import ensure_generation
from daemon.lake.layout import Layout
from daemon.lake.quarantine import write_quarantine

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDERS = TableKey("sales", "orders")
HOPS = (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)

Run = Callable[..., Result]


def batch_id(number: int) -> str:
    """An id as the daemon makes them, of the year 2026."""
    return f"019b8a00-0000-7000-8000-{number:012}"


@dataclass
class Root:
    """A root, and the few words the tests speak to it."""

    layout: Layout
    ledger: Ledger
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def path(self) -> Path:
        return self.layout.root

    def new_id(self) -> str:
        return batch_id(next(self.numbers))

    def claim(self, key: TableKey, *names: str) -> str:
        batch = self.new_id()
        intents = [
            ClaimIntent(name, f"landing/{name}", f"landing/.claimed/{batch}/{name}", 100, 1, number)
            for number, name in enumerate(names)
        ]
        self.ledger.intake.intend([OpenClaim(batch, key, tuple(intents))], NOW)
        self.ledger.intake.confirm({batch: dict.fromkeys(range(len(names)), (100, 1))}, self.new_id, NOW)
        return batch

    def due(self, key: TableKey, target: Layer) -> DuePromotion:
        due = self.ledger.promotions.due(key, target, ())
        assert due is not None
        return due

    def climb(
        self, key: TableKey, target: Layer, rows: pl.DataFrame, quarantined: pl.DataFrame | None = None
    ) -> None:
        """Carry the oldest due batch up one hop: `rows` stand in the layer then, `quarantined` were set
        aside.
        """
        due = self.due(key, target)
        (item,) = due.items
        file = self._write(key, target, item, rows)
        log = self._log(key, target, item, rows.height, 0 if quarantined is None else quarantined.height)
        outcome = BatchOutcome(
            log,
            file,
            tuple(
                FileOutcome(source.file_id, f"{source.file_id:x}" * 64, rows.height, "staged")
                for source in item.sources
            ),
            *self._set_aside(key, target, item, quarantined),
        )
        task = PromotionTask(self.path, key, target, due.items, Contract(), 1, 1)
        self.ledger.outcomes.commit(
            [Hop(task, PromotionOutcome((outcome,), generation=1))], self.new_id, NOW, NOW
        )

    def _write(self, key: TableKey, target: Layer, item: PromotionItem, rows: pl.DataFrame) -> LayerFile:
        name = f"{item.batch_id}.parquet"
        rows.write_parquet(ensure_generation(self.layout, target, key, 1) / name)
        return LayerFile(item.batch_id, name, rows.height, 100, "cd" * 32)

    def _set_aside(
        self, key: TableKey, target: Layer, item: PromotionItem, records: pl.DataFrame | None
    ) -> tuple[str | None, tuple[tuple[str, str, int], ...]]:
        if records is None:
            return None, ()
        path = self.layout.quarantine(key) / f"{item.batch_id}-{target}.parquet"
        write_quarantine(records.lazy(), path)
        rules = records.group_by("rule", "_source_file").len().sort("rule", "_source_file").rows()
        return self.layout.relative(path), tuple(rules)

    def _log(
        self, key: TableKey, target: Layer, item: PromotionItem, rows: int, quarantined: int
    ) -> LayerTransitionLog:
        return LayerTransitionLog.model_validate(
            {
                "transition_id": item.transition_id,
                "batch_id": item.batch_id,
                "domain": key.domain,
                "table": key.table,
                "source_layer": target.below,
                "target_layer": target,
                "target_file": f"data/{target}/{key.domain}/{key.table}/{item.batch_id}.parquet",
                "row_count_in": rows + quarantined,
                "row_count_out": rows,
                "rows_quarantined": quarantined,
                "started_at": NOW,
                "completed_at": NOW,
                "status": "partial" if quarantined else "success",
            }
        )

    def fill(self, key: TableKey, names: Sequence[str], rows: pl.DataFrame) -> str:
        """Carry a delivery through all layers."""
        batch = self.claim(key, *names)
        for target in HOPS:
            self.climb(key, target, rows)
        return batch


def records(source: str, *rows: int) -> pl.DataFrame:
    """Set-aside records of one file."""
    return pl.DataFrame(
        [
            {
                "_source_file": source,
                "_source_row": row,
                "raw": json.dumps({"order_id": str(row), "amount": "twelve"}),
                "rule": "cast",
                "reason": "amount: 'twelve' is no number",
                "line": None,
                "byte_offset": None,
                "_batch_id": batch_id(1),
                "_layer": "bronze",
            }
            for row in rows
        ]
    )
