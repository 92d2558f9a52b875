"""What people and the audit ask of the ledger: a root with a past is made once, the questions only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import KEY, LATER, LAYERS, NOW, World, layer_file, transition
from ledgers import open_ledger

from daemon.catalog.compaction import LayerState, Repacked, RepackOutcome
from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.ledger.inventory import DroppedFile, LedgerInventory, ListedFile, PlannedHop
from daemon.catalog.ledger.promotions import UncommittedHop
from daemon.catalog.ledger.schema import MIGRATIONS
from daemon.catalog.ledger.views import Failure, LayerTotals, LedgerViews, QuarantinedRecords
from daemon.catalog.promotion import BatchOutcome, FileOutcome, LayerFile, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer
from daemon.errors import HaltError

PEOPLE = TableKey("hr", "people")
MODEL = TableKey("main", "totals")
ARCHIVE = "data/archive/sales/orders"
QUARANTINE = "data/quarantine/sales/orders/b3-staged.parquet"
MERGED = LayerFile("b1", "b1..b2.x.parquet", 10, 70, "cd" * 32, merged=True)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Of orders b1 and b2 are in gold, merged in staged; b3 is in staged, b4 set aside, b5 fails; people and a model."""
    path = tmp_path_factory.mktemp("past") / "state.sqlite3"
    world = World(open_ledger(path), path)
    for batch, names in (("b1", ("x/a.csv", "b_1.csv")), ("b2", ("b%1.csv",))):
        world.claim(*names, batch_id=batch)
        for layer in LAYERS:
            world.climb(layer)
    rows = {"b1": 5, "b2": 5}
    made = Repacked(MERGED.name, MERGED.size, MERGED.sha256, rows, merged=True)
    replaced = frozenset(["b1.parquet", "b2.parquet"])
    state = LayerState(KEY, Layer.STAGED, 1)
    world.ledger.compaction.commit(state, {MERGED.name}, RepackOutcome((made,), replaced), 2, LATER)
    world.ledger.rest.plan([(1, f"{ARCHIVE}/a.csv"), (2, "landing/b_1.csv"), (3, f"{ARCHIVE}/c")])
    world.ledger.rest.at_rest([1, 2])
    world.claim("c.csv", batch_id="b3")
    due = world.due(Layer.STAGED)
    log = transition(due.items[0].transition_id, "b3", Layer.STAGED, 5, row_count_in=9, rows_quarantined=4)
    learned = (("id", frozenset(["int64"])),)
    file = FileOutcome(4, "sha-c", 9, "staged")
    world.commit(
        due,
        BatchOutcome(
            log, layer_file("b3", 5), (file,), QUARANTINE, (("short", "c.csv", 4),), delivered=learned
        ),
    )
    world.ledger.quarantine.decide(KEY, [RecordId("b3", "c.csv", 7, "short")], "released", "", NOW)
    world.claim("d.csv", batch_id="b4")
    due = world.due(Layer.STAGED)
    log = transition(due.items[0].transition_id, "b4", Layer.STAGED, 0, status="failed")
    world.ledger.outcomes.set_aside(due, log, "unreadable", "no table")
    world.claim("e.csv", batch_id="b5")
    world.ledger.outcomes.retry(world.due(Layer.STAGED), "machine", "disk full", NOW)
    people = world.of(PEOPLE)
    people.claim("p.csv", batch_id="c1")
    for layer in LAYERS:
        people.climb(layer, rows=2)
    log = transition("m1", "m1", Layer.GOLD, 1, MODEL, kind="model", contract_version="v7")
    world.ledger.models.commit(MODEL, BatchOutcome(log, layer_file("m1", 1, "totals.parquet")), {})
    rebuild = people.ask(Rebuild("r1", PEOPLE, "rebuild", Layer.SILVER))
    people.begin(rebuild, hops=[("c1", Layer.GOLD)])
    yield world
    world.ledger.close()


@pytest.fixture(scope="module")
def views(past: World) -> Iterator[LedgerViews]:
    views = LedgerViews.open(past.path)
    yield views
    views.close()


@pytest.fixture(scope="module")
def inventory(past: World) -> Iterator[LedgerInventory]:
    with LedgerInventory.open(past.path) as inventory:
        yield inventory


def known(file_id: int, batch: str, name: str, state: str, **more: object) -> KnownFile:
    facts: dict[str, object] = {
        "key": KEY,
        "size": 10,
        "sha256": f"sha-{name}",
        "rows": 5,
        "kind": None,
        "reason": None,
        "resting_path": None,
        "claimed_path": f"landing/.claimed/{batch}/{name}",
        "at_rest": "resting_path" in more,
        **more,
    }
    return KnownFile(file_id=file_id, batch_id=batch, name=name, state=state, **facts)  # type: ignore[arg-type]


def test_totals_are_told_of_what_readers_see(views: LedgerViews) -> None:
    totals = views.layers()
    assert sorted(found.key for found in totals) == [PEOPLE] * 4 + [MODEL] + [KEY] * 4
    assert LayerTotals(KEY, Layer.STAGED, 2, 15, 3) in totals
    assert LayerTotals(KEY, Layer.GOLD, 1, 10, 2) in totals
    assert LayerTotals(PEOPLE, Layer.GOLD, 1, 2, 1) in totals
    assert views.tables() == [PEOPLE, MODEL, KEY]
    assert views.counts() == {"claimed": 1, "ingested": 4, "set_aside": 1, "staged": 1}
    assert views.files_set_aside() == {KEY: 1}
    assert views.files_at_rest() == 2
    assert views.version() == len(MIGRATIONS)
    assert views.damage() is None


def test_what_goes_on_and_what_fails_is_told(views: LedgerViews) -> None:
    assert views.batches_in_flight() == {KEY: 2}
    assert views.failures() == [Failure(KEY, "b5", Layer.STAGED, 2, "machine", "disk full")]
    assert views.model_failures() == {}
    (rebuild,) = views.rebuilds()
    assert (
        rebuild["rebuild_id"],
        rebuild["domain"],
        rebuild["table"],
        rebuild["state"],
        rebuild["error"],
    ) == (
        "r1",
        "hr",
        "people",
        "building",
        None,
    )
    assert views.rebuild("r1") == ("building", None)
    assert views.rebuild("r2") is None
    assert views.newest_batch() == "c1"


def test_files_are_found_by_their_names_and_by_where_they_lie(views: LedgerViews) -> None:
    a = known(1, "b1", "x/a.csv", "ingested", resting_path=f"{ARCHIVE}/a.csv")
    assert views.files.named("x/a.csv") == views.files.named("a.csv") == [a]
    assert views.files.at(f"{ARCHIVE}/a.csv") == [a]
    assert views.files.at(f"{ARCHIVE}/c") == []  # it is on its way there
    assert [file.name for file in views.files.named("b_1.csv")] == ["b_1.csv"]
    assert views.files.named("_.csv") == views.files.named("%") == views.files.named("\\") == []
    assert [file.name for file in views.files.of_batch("b1")] == ["b_1.csv", "x/a.csv"]
    assert views.files.set_aside() == views.files.set_aside(KEY)
    (d,) = views.files.set_aside()
    assert d == known(
        5, "b4", "d.csv", "set_aside", sha256=None, rows=None, kind="unreadable", reason="no table"
    )
    assert views.files.set_aside(PEOPLE) == []
    assert views.files.sheets_of(1) == []
    assert views.kept_in_landing() == {"landing/b_1.csv": (10, 1)}


def test_batches_and_their_transitions_are_told_in_their_order(views: LedgerViews) -> None:
    assert [log.target_layer for log in views.transitions_of_batch("b1")] == list(LAYERS)
    assert views.batches_of_table(KEY, 9) == ["b5", "b4", "b3", "b2", "b1"]
    assert views.batches_of_table(KEY, 2) == ["b5", "b4"]
    assert views.batches_of_table(MODEL, 9) == ["m1"]
    batch = views.batch("b3")
    assert batch is not None
    assert (batch["table_name"], batch["state"], batch["created_at"], batch["done_at"]) == (
        "orders",
        "open",
        NOW.isoformat(),
        None,
    )
    assert views.batch("b9") is None
    assert views.batches_with_rows(KEY) == ["b1", "b2", "b3"]
    assert views.batches_under_another_contract(MODEL, "v7") == 0
    assert views.batches_under_another_contract(MODEL, "v8") == 1
    assert views.batches_under_another_contract(KEY, "none") == 0


def test_what_was_set_aside_is_told(views: LedgerViews) -> None:
    records = QuarantinedRecords(KEY, "b3", Layer.STAGED, "short", 4, QUARANTINE, NOW.isoformat(), 0, "c.csv")
    assert views.quarantined() == views.quarantined(KEY) == [records]
    assert views.quarantined(PEOPLE) == []
    assert views.quarantined_by_rule() == {(KEY, "short"): 4}


def test_the_inventory_lists_every_file_of_the_layers_and_a_merged_one_once(
    inventory: LedgerInventory,
) -> None:
    listed = list(inventory.layer_files())
    assert [(found.key, found.layer, found.file.batch_id) for found in listed] == [
        (PEOPLE, Layer.STAGED, "c1"),
        (PEOPLE.shadow, Layer.STAGED, "c1"),
        (KEY, Layer.STAGED, "b1"),
        (KEY, Layer.STAGED, "b3"),
        (PEOPLE, Layer.BRONZE, "c1"),
        (PEOPLE.shadow, Layer.BRONZE, "c1"),
        (KEY, Layer.BRONZE, "b1"),
        (KEY, Layer.BRONZE, "b2"),
        (PEOPLE, Layer.SILVER, "c1"),
        (PEOPLE.shadow, Layer.SILVER, "c1"),
        (KEY, Layer.SILVER, "b1"),
        (KEY, Layer.SILVER, "b2"),
        (PEOPLE, Layer.GOLD, "c1"),
        (MODEL, Layer.GOLD, "m1"),
        (KEY, Layer.GOLD, "b1"),
        (KEY, Layer.GOLD, "b2"),
    ]
    merged = listed[2]
    assert merged == ListedFile(KEY, Layer.STAGED, 2, MERGED, "")
    assert [found.is_model for found in listed].index(True) == 13
    assert sum(found.is_model for found in listed) == 1
    first, second = inventory.batches_in(merged)
    assert (first.file.batch_id, first.file.rows, first.generation, first.file.merged) == ("b1", 5, 2, True)
    assert (second.file.batch_id, second.file.name) == ("b2", MERGED.name)
    assert inventory.batches_in(listed[6]) == ()
    every = list(inventory.batch_files())
    assert len(every) == 17
    assert first in every
    transition_id = next(found.transition_id for found in every if found.file.name == "totals.parquet")
    assert transition_id == "m1"


def test_the_inventory_answers_for_one_table(inventory: LedgerInventory) -> None:
    assert inventory.files_of(KEY, Layer.STAGED) == (MERGED, layer_file("b3", 5))
    assert [file.batch_id for file in inventory.by_batch(KEY, Layer.STAGED)] == ["b1", "b2", "b3"]
    assert inventory.layer_file(KEY, Layer.STAGED, "b3") == layer_file("b3", 5)
    assert inventory.layer_file(KEY, Layer.BRONZE, "b3") is None
    assert inventory.generation(KEY, Layer.STAGED) == 2
    assert (
        inventory.generation(KEY, Layer.BRONZE)
        == inventory.generation(TableKey("no", "body"), Layer.GOLD)
        == 1
    )
    assert set(inventory.columns(KEY).columns) == {"id"}
    assert inventory.columns(PEOPLE).columns == {}
    assert inventory.released(KEY, "b3") == {("c.csv", 7)}
    assert inventory.batch_states(KEY) == {
        "b1": "done",
        "b2": "done",
        "b3": "open",
        "b4": "set_aside",
        "b5": "open",
    }
    records = list(inventory.records(KEY))
    assert [batch for batch, _, _ in records] == ["b1"] * 4 + ["b2"] * 4 + ["b3", "b4"]
    batch, transition_id, text = records[0]
    assert inventory.record(transition_id) == text
    assert transition_id in text
    assert f'"{batch}"' in text
    assert inventory.record("nobody's") is None
    assert inventory.planned_at(transition_id) == NOW
    assert inventory.planned_at("m1") is None


def test_the_inventory_lists_every_dropped_file_with_the_places_where_it_may_lie(
    inventory: LedgerInventory,
) -> None:
    files = {file.name: file for file in inventory.dropped_files()}
    assert list(files) == ["x/a.csv", "b_1.csv", "b%1.csv", "c.csv", "d.csv", "e.csv", "p.csv"]
    claimed = Path("landing/.claimed")
    assert files["x/a.csv"] == DroppedFile(
        1,
        "b1",
        KEY,
        "x/a.csv",
        Path("landing/x/a.csv"),
        claimed / "b1/x/a.csv",
        Path(ARCHIVE, "a.csv"),
        at_rest=True,
        state="ingested",
        size=10,
        sha256="sha-x/a.csv",
    )
    assert {name: file.places for name, file in files.items() if name in {"x/a.csv", "b%1.csv", "c.csv"}} == {
        "x/a.csv": (Path(ARCHIVE, "a.csv"),),
        "b%1.csv": (claimed / "b2/b%1.csv", Path(ARCHIVE, "c")),
        "c.csv": (claimed / "b3/c.csv",),
    }
    assert [name for name, file in files.items() if file.is_kept] == ["b_1.csv"]
    assert inventory.dropped_file(5) == files["d.csv"]
    assert inventory.dropped_file(99) is None
    assert inventory.sources("b1") == [files["x/a.csv"], files["b_1.csv"]]
    assert inventory.sources("b4") == []


def test_the_inventory_tells_what_is_to_be_done_and_what_is_to_go(inventory: LedgerInventory) -> None:
    assert inventory.planned() == {
        PlannedHop(KEY, Layer.BRONZE, "b3"),
        PlannedHop(KEY, Layer.STAGED, "b5"),
        PlannedHop(PEOPLE.shadow, Layer.GOLD, "c1"),
    }
    assert inventory.shadow_generations() == {
        (PEOPLE, Layer.STAGED, "1"),
        (PEOPLE, Layer.BRONZE, "1"),
        (PEOPLE, Layer.SILVER, "1"),
        (PEOPLE, Layer.GOLD, "3"),
    }
    assert "data/.generations/staged/sales/orders/1" in inventory.removals()
    assert list(inventory.quarantine_files()) == [(QUARANTINE, 4)]


def test_what_the_ledger_counts_is_what_it_holds(inventory: LedgerInventory) -> None:
    assert (inventory.mismerged(), inventory.miscounted()) == ([], [])
    assert inventory.file_counts() == {
        (KEY, "ingested"): 3,
        (KEY, "staged"): 1,
        (KEY, "set_aside"): 1,
        (KEY, "claimed"): 1,
        (PEOPLE, "ingested"): 1,
    }
    assert inventory.bytes() == 15 * 100 + 70 + 7 * 10


def test_what_a_kill_may_have_left_is_known_for_every_hop_that_is_planned(past: World) -> None:
    hops = {hop for hop in past.ledger.promotions.uncommitted() if hop.key == KEY}
    assert hops == {
        UncommittedHop(KEY, layer, batch, has_quarantine=False)
        for batch, layers in (("b5", LAYERS), ("b3", LAYERS[1:]))
        for layer in layers
    }
    assert {hop[:3] for hop in past.ledger.promotions.uncommitted()} - {hop[:3] for hop in hops} == {
        (PEOPLE.shadow, Layer.GOLD, "c1")
    }


def test_a_copy_is_the_ledger_as_it_stands_in_one_file(inventory: LedgerInventory, tmp_path: Path) -> None:
    inventory.copy_to(tmp_path / "copy.sqlite3")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.sqlite3"]
    with LedgerInventory.open(tmp_path / "copy.sqlite3") as copy:
        assert list(copy.dropped_files()) == list(inventory.dropped_files())


def test_an_inventory_of_a_root_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HaltError, match="there is no ledger here yet"), LedgerInventory.open(tmp_path / "no"):
        pass


def test_a_damaged_ledger_is_said_to_be_damaged_by_the_views(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    path.write_bytes(b"this is not a database, but a shopping list" * 100)
    with pytest.raises(HaltError, match=r"state\.sqlite3: the ledger is damaged \(file is not a database\)"):
        LedgerViews.open(path)
