"""The ledger under any order of claims, hops, failures and restarts: what it says is what a small model says."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_world import KEY, LAYERS, NOW, World, transition
from ledgers import open_ledger

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.transition import Layer


class LedgerMachine(RuleBasedStateMachine):
    """`live` holds every open batch: its files, and the layer it has reached with how many rows."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "state.sqlite3"
        self.world = World(open_ledger(path), path)
        self.live: dict[str, list[str]] = {}
        self.reached: dict[str, dict[Layer, int]] = {}
        self.dropped: set[str] = set()
        self.ingested: set[str] = set()
        self.set_aside: set[str] = set()

    @rule(count=st.integers(1, 4))
    def claim(self, count: int) -> None:
        names = [f"file-{len(self.dropped) + number}.csv" for number in range(count)]
        batch = self.world.claim(*names)
        self.dropped.update(names)
        self.live[batch] = names
        self.reached[batch] = {}

    @precondition(lambda self: self.live)
    @rule(layer=st.sampled_from(LAYERS), rows=st.integers(0, 9))
    def promote(self, layer: Layer, rows: int) -> None:
        due = self.due(layer)
        if due is None:
            return
        batch = due.items[0].batch_id
        done = self.world.climb(layer, rows=rows)
        if rows:
            self.reached[batch][layer] = rows
        finished = rows == 0 or layer is Layer.GOLD
        assert done == ([batch] if finished else [])
        if finished:
            self.ingested.update(self.live.pop(batch))

    @precondition(lambda self: self.live)
    @rule(layer=st.sampled_from(LAYERS), kind=st.sampled_from(["machine", "worker_died"]))
    def fail(self, layer: Layer, kind: str) -> None:
        due = self.due(layer)
        if due is None:
            return
        self.world.ledger.outcomes.retry(due, kind, "it failed", NOW)
        again = self.world.due(layer)
        assert again.items[0].attempt == due.items[0].attempt + 1
        assert again.deaths == due.deaths + (kind == "worker_died")

    @precondition(lambda self: self.live)
    @rule(layer=st.sampled_from(LAYERS[:3]))
    def isolate(self, layer: Layer) -> None:
        """What the promoter does with bad data: split, or set the one file aside."""
        due = self.due(layer)
        if due is None:
            return
        batch = due.items[0].batch_id
        log = transition(due.items[0].transition_id, batch, layer, 0)
        names = self.live.pop(batch)
        self.reached.pop(batch)
        if len(names) > 1:
            halves = (self.world.new_id(), self.world.new_id())
            self.world.ledger.outcomes.split(due, log, halves, self.world.new_id)
            middle = (len(names) + 1) // 2
            for half, part in zip(halves, (names[:middle], names[middle:]), strict=True):
                self.live[half] = part
                self.reached[half] = {}
        else:
            self.world.ledger.outcomes.set_aside(due, log, "check_failed", "bad")
            self.set_aside.update(names)

    @rule()
    def restart(self) -> None:
        self.world.ledger.close()
        self.world.ledger = Ledger.open(self.world.path)

    @invariant()
    def every_file_is_in_exactly_one_place(self) -> None:
        open_files = {name for names in self.live.values() for name in names}
        assert open_files | self.ingested | self.set_aside == self.dropped
        counts = self.world.ledger.views.counts()
        assert counts.get("ingested", 0) == len(self.ingested)
        assert counts.get("set_aside", 0) == len(self.set_aside)
        assert counts.get("claimed", 0) + counts.get("staged", 0) == len(open_files)

    @invariant()
    def the_totals_of_each_layer_are_the_rows_of_its_batches(self) -> None:
        found = {totals.layer: (totals.rows, totals.files) for totals in self.world.ledger.views.layers()}
        for layer in LAYERS:
            rows = [reached[layer] for reached in self.reached.values() if layer in reached]
            assert found.get(layer, (0, 0)) == (sum(rows), len(rows))

    @invariant()
    def every_open_batch_waits_for_exactly_one_hop(self) -> None:
        assert self.world.ledger.views.batches_in_flight().get(KEY, 0) == len(self.live)
        assert self.world.ledger.promotions.unfinished() == bool(self.live)

    def due(self, layer: Layer) -> DuePromotion | None:
        return self.world.ledger.promotions.due(KEY, layer, ())

    def teardown(self) -> None:
        self.world.ledger.close()
        self.folder.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
