"""The ledger's part for what comes after: files go to rest, people decide about quarantine, removals are remembered."""

from datetime import timedelta
from pathlib import Path

from ledger_world import KEY, NOW, World, layer_file, transition

from daemon.catalog.ledger.rest import RestlessFile
from daemon.catalog.promotion import BatchOutcome, FileOutcome, TableKey
from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer

OTHERS = TableKey("sales", "others")
ARCHIVE = "data/archive/sales/orders"


def refuse(world: World, name: str = "bad.csv") -> str:
    """Claim a file and set it aside at staging, as one that nobody can read."""
    batch = world.claim(name)
    due = world.due(Layer.STAGED)
    log = transition(due.items[0].transition_id, batch, Layer.STAGED, 0, world.key, status="failed")
    world.ledger.outcomes.set_aside(due, log, "unreadable", "no table in it")
    return batch


def rest(world: World, file_id: int, place: str) -> None:
    world.ledger.rest.plan([(file_id, place)])
    world.ledger.rest.at_rest([file_id])


def file_states(world: World) -> dict[str, str]:
    with_names = {}
    for key in world.ledger.views.tables():
        for batch in world.ledger.views.batches_of_table(key, 99):
            for file in world.ledger.views.files.of_batch(batch):
                with_names[file.name] = file.state
    return with_names


def test_a_file_whose_fate_is_settled_is_restless_until_it_has_arrived(world: World) -> None:
    keeper = world.ledger.rest
    batch = world.deliver("a.csv", "b.csv")
    world.claim("c.csv")
    world.of(OTHERS).deliver("o.csv")
    claimed = f"landing/.claimed/{batch}"
    first = RestlessFile(
        1,
        batch,
        0,
        "a.csv",
        "landing/a.csv",
        f"{claimed}/a.csv",
        "ingested",
        None,
        None,
        "sha-a.csv",
        5,
        10,
        None,
    )
    assert [file.name for file in keeper.restless(KEY, 9)] == ["a.csv", "b.csv"]
    assert keeper.restless(KEY, 1) == [first]
    assert sorted(keeper.tables()) == [KEY, OTHERS]
    assert keeper.dropped_in() == {Path("landing")}
    assert not keeper.is_taken(f"{ARCHIVE}/a.csv")
    keeper.plan([(1, f"{ARCHIVE}/a.csv"), (2, f"{ARCHIVE}/b.csv")])
    assert keeper.is_taken(f"{ARCHIVE}/a.csv")
    assert [file.destination for file in keeper.restless(KEY, 9)] == [f"{ARCHIVE}/a.csv", f"{ARCHIVE}/b.csv"]
    keeper.plan([(2, None)])
    assert not keeper.is_taken(f"{ARCHIVE}/b.csv")
    keeper.at_rest([1, 4])
    assert [(file.name, file.destination) for file in keeper.restless(KEY, 9)] == [("b.csv", None)]
    assert keeper.tables() == [KEY]
    (found,) = world.ledger.views.files.at(f"{ARCHIVE}/a.csv")
    assert (found.name, found.resting_path) == ("a.csv", f"{ARCHIVE}/a.csv")
    assert world.ledger.views.files.at(f"{ARCHIVE}/b.csv") == []


def test_a_refused_file_is_restless_with_its_reason(world: World) -> None:
    batch = refuse(world)
    (file,) = world.ledger.rest.restless(KEY, 9)
    assert (file.fate, file.kind, file.reason) == ("set_aside", "unreadable", "no table in it")
    row = world.ledger.views.batch(batch)
    assert row is not None
    assert (row["state"], row["done_at"], row["parent"]) == ("set_aside", NOW.isoformat(), None)
    assert not world.ledger.promotions.unfinished()


def test_a_workbook_goes_to_rest_when_its_other_sheets_are_staged(world: World) -> None:
    world.claim("book.xlsx")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    log = transition(item.transition_id, item.batch_id, Layer.STAGED, 5)
    file = FileOutcome(1, "sha", 5, "duplicate", parts=(("Sheet2", "others"),))
    assert world.commit(due, BatchOutcome(log, None, (file,))).done == [item.batch_id]
    keeper = world.ledger.rest
    assert (keeper.tables(), keeper.restless(KEY, 9)) == ([], [])
    world.of(OTHERS).climb(Layer.STAGED)
    assert keeper.tables() == [KEY]
    assert [(file.name, file.fate) for file in keeper.restless(KEY, 9)] == [("book.xlsx", "duplicate")]
    assert keeper.restless(OTHERS, 9) == []


def test_of_a_duplicate_the_first_of_its_content_is_told(world: World) -> None:
    world.deliver("a.csv")
    world.claim("copy.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    log = transition(item.transition_id, item.batch_id, Layer.STAGED, 0)
    world.commit(due, BatchOutcome(log, None, (FileOutcome(2, "sha-a.csv", 0, "duplicate"),)))
    _, copy = world.ledger.rest.restless(KEY, 9)
    assert copy.fate == "duplicate"
    assert world.ledger.rest.first_of(KEY, copy) == "a.csv"
    assert world.ledger.rest.first_of(OTHERS, copy) is None


def test_records_set_aside_are_told_by_batch_and_file_and_rule(world: World) -> None:
    batch, other = world.claim("a.csv", "b.csv"), world.claim("c.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    log = transition(item.transition_id, batch, Layer.STAGED, 5, row_count_in=11, rows_quarantined=6)
    rejected = (("short", "a.csv", 1), ("short", "b.csv", 2), ("long", "a.csv", 3))
    files = tuple(FileOutcome(number, f"sha-{number}", 5, "staged") for number in (1, 2))
    world.commit(due, BatchOutcome(log, layer_file(batch, 5), files, "data/quarantine/q.parquet", rejected))
    assert world.ledger.rest.rejected_by_file([batch, other]) == {
        (batch, "a.csv"): {"short": 1, "long": 3},
        (batch, "b.csv"): {"short": 2},
    }
    found = world.ledger.views.quarantined()
    assert [(one.rule, one.file, one.rows) for one in found] == [
        ("long", "a.csv", 3),
        ("short", "a.csv", 1),
        ("short", "b.csv", 2),
    ]
    assert {(one.path, one.layer, one.at) for one in found} == {
        ("data/quarantine/q.parquet", Layer.STAGED, NOW.isoformat())
    }
    assert world.ledger.views.quarantined_by_rule() == {(KEY, "long"): 3, (KEY, "short"): 3}


def test_what_no_longer_counts_is_removed_when_its_time_has_come_and_once(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    due = world.due(Layer.BRONZE)
    log = transition(due.items[0].transition_id, batch, Layer.BRONZE, 0, status="failed")
    world.ledger.outcomes.set_aside(due, log, "check_failed", "no")
    folder = Path("data/.generations")
    gone = [
        folder / layer / "sales/orders/1" / f"{batch}.parquet"
        for layer in ("bronze", "gold", "silver", "staged")
    ]
    assert sorted(world.ledger.rest.removals(NOW - timedelta(days=1))) == gone
    world.ledger.rest.removed(gone[:3])
    assert world.ledger.rest.removals(NOW) == gone[3:]


def test_only_set_aside_files_at_rest_are_sent_back_to_landing(world: World) -> None:
    decide, place = world.ledger.quarantine, "data/quarantine/sales/orders/bad.csv"
    batch = refuse(world)
    assert decide.replay_files(KEY, [1]) == 0  # it is on its way
    rest(world, 1, place)
    world.deliver("a.csv")
    rest(world, 2, f"{ARCHIVE}/a.csv")
    assert decide.replay_files(OTHERS, [1]) == 0
    assert decide.replay_files(KEY, [1, 2]) == 1
    assert file_states(world) == {"bad.csv": "replayed", "a.csv": "ingested"}
    (file,) = world.ledger.rest.restless(KEY, 9)
    assert (file.claimed_path, file.destination, file.fate) == (place, "landing/bad.csv", "replayed")
    (failed,) = world.ledger.views.transitions_of_batch(batch)
    assert decide.taken_up_again(KEY, ["a.csv", "bad.csv"]) == (failed.transition_id,)
    assert decide.taken_up_again(OTHERS, ["bad.csv"]) == ()


def test_only_set_aside_files_at_rest_are_discarded_with_the_persons_reason(world: World) -> None:
    decide, place = world.ledger.quarantine, "data/quarantine/sales/orders/bad.csv"
    refuse(world)
    refuse(world, "worse.csv")
    assert decide.discard_files(KEY, [1], "") == 0
    rest(world, 1, place)
    world.ledger.rest.at_rest([2])  # deleted, as the contract says
    world.deliver("a.csv")
    rest(world, 3, f"{ARCHIVE}/a.csv")
    assert decide.discard_files(OTHERS, [1], "") == 0
    assert decide.discard_files(KEY, [1], "a test") + decide.discard_files(KEY, [2, 3], "") == 2
    (file,) = world.ledger.rest.restless(KEY, 9)
    assert (file.claimed_path, file.destination, file.fate) == (place, None, "discarded")
    assert file.reason == "no table in it (discarded: a test)"
    assert file_states(world) == {"bad.csv": "discarded", "worse.csv": "discarded", "a.csv": "ingested"}
    (worse,) = world.ledger.views.files.named("worse.csv")
    assert worse.reason == "no table in it (discarded: not wanted)"
    assert worse.claimed_path.endswith("worse.csv")


def test_records_are_released_or_discarded_one_by_one_and_the_last_word_counts(world: World) -> None:
    batch = world.claim("a.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    log = transition(item.transition_id, batch, Layer.STAGED, 5, row_count_in=9, rows_quarantined=4)
    staged = (FileOutcome(1, "sha", 9, "staged"),)
    world.commit(
        due, BatchOutcome(log, layer_file(batch, 5), staged, "data/q.parquet", (("check:x", "a.csv", 4),))
    )
    decide = world.ledger.quarantine
    records = [
        RecordId(batch_id=batch, source_file="a.csv", source_row=number, rule="check:x")
        for number in (1, 2, 3)
    ]
    decide.decide(KEY, records[:2], "released", "known good", NOW)
    decide.decide(KEY, records[1:], "discarded", "test rows", NOW)
    assert decide.released(KEY, batch) == {("a.csv", 1)}
    assert decide.released(OTHERS, batch) == frozenset()
    assert decide.released(KEY, "other") == frozenset()
    (found,) = world.ledger.views.quarantined(KEY)
    assert (found.rows, found.discarded) == (4, 2)
    assert world.ledger.views.quarantined_by_rule() == {(KEY, "check:x"): 2}
    decide.decide(KEY, [*records, records[0]._replace(source_row=4)], "discarded", "", NOW)
    assert world.ledger.views.quarantined_by_rule() == {}
    assert decide.released(KEY, batch) == frozenset()
