"""A contract tried before it is saved: the table's staged batches carried up under it, in a folder of its own.

Nothing of the root is touched, and no daemon need be stopped. Called by the command `contract diff`.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from daemon.catalog.contract import Contract
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import LayerFile, PromotionItem, PromotionTask, TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import RejectDataError
from daemon.lake.generations import ensure_generation
from daemon.lake.layout import Layout
from daemon.pipeline.promote import promote
from daemon.pipeline.provenance import PROVENANCE, SOURCE_FILE, SOURCE_ROW

_RECORD = (SOURCE_FILE, SOURCE_ROW, "rule")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a contract would change of a table.

    `types`: column -> (type in gold now, type then), None where it is not there. `quarantined` and `released`: by rule,
    records newly set aside, and records no longer so. `rows`: in gold now and then. `refused`: batches that a rule would
    refuse as a whole, with the reason. `batches`: how many were tried.
    """

    batches: int
    rows: tuple[int, int]
    types: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    released: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def try_contract(layout: Layout, inventory: LedgerInventory, key: TableKey, contract: Contract) -> Difference:
    """Carry all staged batches of a table up under `contract`, and compare with what is published.

    Raises ContractError where the contract cannot be applied, RetryLaterError.
    """
    with _bench(layout) as bench:
        trial = _Trial(layout, bench, inventory, key, contract)
        trial.run()
        return trial.difference()


@contextmanager
def _bench(layout: Layout) -> Iterator[Layout]:
    """A root to work in, with the transforms of this one; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="medalliond-trial-") as folder:
        bench = Layout(Path(folder))
        bench.catalog.mkdir(parents=True)
        bench.transforms.symlink_to(layout.transforms)
        yield bench


class _Trial:
    def __init__(
        self, layout: Layout, bench: Layout, inventory: LedgerInventory, key: TableKey, contract: Contract
    ) -> None:
        self._layout = layout
        self._bench = bench
        self._inventory = inventory
        self._key = key
        self._columns = inventory.columns(key)
        self._contract = self._columns.under(contract)
        self._files: dict[Layer, dict[str, LayerFile]] = {layer: {} for layer in Layer}
        self._logs: dict[str, LayerTransitionLog] = {}
        self._generations = dict.fromkeys(Layer, 1)
        self._batches = 0
        self._refused: dict[str, str] = {}

    def run(self) -> None:
        number = self._inventory.generation(self._key, Layer.STAGED)
        staged = self._layout.generation(Layer.STAGED, self._key, number)
        folder = ensure_generation(self._bench, Layer.STAGED, self._key, 1)
        for listed in self._inventory.by_batch(self._key, Layer.STAGED):
            with suppress(FileExistsError):
                (folder / listed.name).symlink_to(staged / listed.name)
            self._files[Layer.STAGED][listed.batch_id] = listed
            self._batches += 1
            try:
                for hop in (Layer.BRONZE, Layer.SILVER):
                    self._carry(hop, listed.batch_id)
            except RejectDataError as error:
                self._refused[listed.batch_id] = error.reason
                self._files[Layer.BRONZE].pop(listed.batch_id, None)
        # Which of its rows a batch keeps may depend on later ones: gold is made when silver is as it stays.
        for batch_id in sorted(self._files[Layer.SILVER]):
            self._carry(Layer.GOLD, batch_id)

    def _carry(self, target: Layer, batch_id: str) -> None:
        source = self._files[target.below].get(batch_id)
        if source is None:
            return
        now = datetime.now(UTC)
        ensure_generation(self._bench, target, self._key, self._generations[target])
        published = tuple(self._files[target].values()) if target is Layer.SILVER else ()
        task = PromotionTask(
            self._bench.root,
            self._key,
            target,
            (PromotionItem(new_id(), batch_id, now, 1, source=source),),
            self._contract,
            self._generations[target.below],
            self._generations[target],
            self._generations[target] + 1,
            published=published,
            columns=self._columns,
            released=self._inventory.released(self._key, batch_id),
        )
        outcome = promote(task, lambda: now).recorded(self._logs.__getitem__, new_id)
        self._generations[target] = outcome.generation
        for batch in (*outcome.items, *outcome.rewritten):
            name = batch.transition.batch_id
            self._logs[name] = batch.transition
            if batch.layer_file is None:
                self._files[target].pop(name, None)
            else:
                self._files[target][name] = batch.layer_file

    def difference(self) -> Difference:
        before, after = self._gold_types()
        newly, released = self._quarantine()
        return Difference(
            batches=self._batches,
            rows=(
                sum(file.rows for file in self._inventory.files_of(self._key, Layer.GOLD)),
                sum(file.rows for file in self._files[Layer.GOLD].values()),
            ),
            types={
                name: (before.get(name), after.get(name))
                for name in (*before, *(name for name in after if name not in before))
                if before.get(name) != after.get(name)
            },
            quarantined=newly,
            released=released,
            refused=self._refused,
        )

    def _gold_types(self) -> tuple[dict[str, str], dict[str, str]]:
        number = self._inventory.generation(self._key, Layer.GOLD)
        now = self._layout.generation(Layer.GOLD, self._key, number)
        then = self._bench.generation(Layer.GOLD, self._key, self._generations[Layer.GOLD])
        return (
            _types([now / file.name for file in self._inventory.files_of(self._key, Layer.GOLD)]),
            _types([then / file.name for file in self._files[Layer.GOLD].values()]),
        )

    def _quarantine(self) -> tuple[dict[str, int], dict[str, int]]:
        """Records by rule that only the trial set aside, and those that only the published table has."""
        above = [
            self._layout.root / found.path
            for found in self._inventory.views.quarantined(self._key)
            if found.layer is not Layer.STAGED
        ]
        now = _records(sorted(set(above)))
        then = _records(sorted(self._bench.quarantine(self._key).glob("*.parquet")))
        keys = [SOURCE_FILE, SOURCE_ROW]
        return (
            _by_rule(then.join(now, on=keys, how="anti")),
            _by_rule(now.join(then, on=keys, how="anti")),
        )


def _types(paths: list[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        for name, dtype in pl.read_parquet_schema(path).items():
            if name not in PROVENANCE:
                before = found.setdefault(name, str(dtype))
                if before != str(dtype) and str(dtype) not in before.split(" | "):
                    found[name] = f"{before} | {dtype}"
    return found


def _records(paths: list[Path]) -> pl.LazyFrame:
    if not paths:
        return pl.LazyFrame(schema={SOURCE_FILE: pl.String, SOURCE_ROW: pl.Int64, "rule": pl.String})
    return pl.scan_parquet(paths, glob=False).select(_RECORD)


def _by_rule(records: pl.LazyFrame) -> dict[str, int]:
    return dict(records.group_by("rule").len().sort("rule").collect().iter_rows())
