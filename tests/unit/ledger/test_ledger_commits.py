"""What a commit of a hop brings about, and what a promotion is told: contents, names, columns, generations."""

import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_world import KEY, LATER, LAYERS, NOW, World, layer_file, transition

from daemon.catalog.columns import ColumnChange
from daemon.catalog.contract import Contract, LandingRules
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.outcomes import Committed, Hop
from daemon.catalog.ledger.promotions import DuePromotion
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import (
    BatchOutcome,
    FileOutcome,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    TableKey,
)
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer

OTHERS = TableKey("sales", "others")
TYPES = {"int64": frozenset(["int64:"]), "text": frozenset[str]()}


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def stage(
    world: World, columns: Mapping[str, str] | None = None, *, contract: Contract | None = None
) -> Committed:
    """Commit the next batch of staged, which has these columns with these types."""
    due = world.due(Layer.STAGED)
    delivered = tuple((name, TYPES[kind]) for name, kind in (columns or {}).items())
    outcome = replace(world.outcome(due, due.items[0], 5), delivered=delivered)
    return world.commit(due, outcome, contract=contract)


def test_what_deliveries_teach_of_columns_is_kept_with_its_history(world: World) -> None:
    first, second = world.claim("a.csv"), world.claim("b.csv")
    assert stage(world, {"id": "int64"}).changes == []
    added = ColumnChange("added", "note", None, "text")
    assert stage(world, {"id": "int64", "note": "text"}).changes == [(second, [added])]
    assert set(world.ledger.promotions.columns(KEY).columns) == {"id", "note"}
    assert set(world.ledger.promotions.columns(KEY.shadow).columns) == {"id", "note"}
    assert world.ledger.promotions.columns(OTHERS).columns == {}
    (change,) = world.ledger.views.schema_changes(KEY)
    assert change == {
        "at": NOW.isoformat(),
        "batch_id": second,
        "kind": "added",
        "column": "note",
        "before": None,
        "after": "text",
    }
    third = world.claim("c.csv")
    assert stage(world, {"id": "int64", "note": "text"}).changes == []
    assert len(world.ledger.views.schema_changes(KEY)) == 1
    assert world.ledger.views.rebuilds() == []
    assert first < third


def test_values_that_do_not_fit_the_learned_types_ask_for_a_rebuild_once(world: World) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        world.claim(name)
    stage(world, {"id": "int64", "n": "int64"})
    stage(world, {"id": "text", "n": "int64"})
    (rebuild,) = world.ledger.views.rebuilds()
    assert (rebuild["kind"], rebuild["base"], rebuild["why"]) == ("widen", "staged", "id: int64 -> text")
    stage(world, {"id": "text", "n": "text"})
    assert len(world.ledger.views.rebuilds()) == 1


def test_a_batch_staged_before_anything_was_learned_leaves_all_as_text(world: World) -> None:
    for name in ("a.csv", "b.csv"):
        world.claim(name)
    stage(world)
    stage(world, {"id": "int64"})
    assert world.ledger.promotions.columns(KEY).columns["id"].candidates == frozenset()


def test_a_file_of_a_known_name_asks_to_take_the_place_of_the_one_before(world: World) -> None:
    old = world.deliver("a.csv", "b.csv")
    contract = Contract(landing=LandingRules(revisions="replace"))
    world.of(OTHERS).deliver("a.csv")
    new = world.claim("a.csv", "c.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    assert world.ledger.promotions.known_names(KEY, item.sources) == {"a.csv"}
    log = transition(item.transition_id, new, Layer.STAGED, 5)
    files = tuple(FileOutcome(source.file_id, f"new-{source.name}", 5, "staged") for source in item.sources)
    world.commit(due, BatchOutcome(log, layer_file(new, 5), files), contract=contract)
    current = world.ledger.rebuilds.current(KEY)
    assert current is not None
    assert current[0] == replace(
        Rebuild(current[0].rebuild_id, KEY, "replace", Layer.LANDING),
        batches=frozenset([old, new]),
        files_out=(1,),
        why="landing.revisions: replace",
    )
    assert world.ledger.rebuilds.current(OTHERS) is None


def test_new_names_and_files_that_were_not_taken_replace_nothing(world: World) -> None:
    contract = Contract(landing=LandingRules(revisions="replace"))
    world.deliver("a.csv")
    world.claim("b.csv")
    stage(world, contract=contract)
    batch = world.claim("a.csv")
    due = world.due(Layer.STAGED)
    log = transition(due.items[0].transition_id, batch, Layer.STAGED, 0)
    refused = FileOutcome(3, "sha-a.csv", 0, "duplicate")
    world.commit(due, BatchOutcome(log, None, (refused,)), contract=contract)
    assert world.ledger.views.rebuilds() == []
    assert [file.state for file in world.ledger.views.files.of_batch(batch)] == ["duplicate"]


def test_contents_and_names_are_known_of_the_table_alone_and_while_they_stand(world: World) -> None:
    promotions = world.ledger.promotions
    world.deliver("a.csv")
    assert promotions.has_content(KEY, 10, "sha-a.csv")
    assert not promotions.has_content(KEY, 11, "sha-a.csv")
    assert not promotions.has_content(KEY, 10, "sha-b.csv")
    assert not promotions.has_content(OTHERS, 10, "sha-a.csv")
    batch = world.claim("b.csv")
    sources = world.due(Layer.STAGED).items[0].sources
    assert promotions.known_names(KEY, sources) == frozenset()
    assert promotions.known_hashes(OTHERS, sources) == frozenset()
    assert promotions.known_hashes(KEY, (*sources, replace(sources[0], size=11))) == {"sha-a.csv"}
    assert [source.file_id for source in sources] == [2]
    assert promotions.unstaged(KEY) == 1
    assert promotions.unstaged(OTHERS) == 0
    world.climb(Layer.STAGED)
    assert promotions.unstaged(KEY) == 0
    assert promotions.is_planned(KEY, Layer.BRONZE)
    assert not promotions.is_planned(KEY, Layer.STAGED)
    assert not promotions.is_planned(OTHERS, Layer.BRONZE)
    assert promotions.due_hops() == [(KEY, Layer.BRONZE)]
    assert not promotions.is_clear(KEY, [Layer.BRONZE, Layer.SILVER])
    assert promotions.is_clear(KEY, [Layer.SILVER, Layer.GOLD])
    assert promotions.is_clear(OTHERS, [Layer.BRONZE])
    assert promotions.transition(KEY, Layer.STAGED, batch) is not None
    assert promotions.transition(KEY, Layer.BRONZE, batch) is None
    assert promotions.transition(OTHERS, Layer.STAGED, batch) is None


def test_no_two_generations_get_one_number(world: World) -> None:
    promotions = world.ledger.promotions
    assert (promotions.generation(KEY, Layer.GOLD), promotions.next_generation(KEY, Layer.GOLD)) == (1, 2)
    assert promotions.reserve_generation(KEY, Layer.GOLD) == 3
    assert promotions.reserve_generation(KEY.shadow, Layer.GOLD) == 5
    assert promotions.next_generation(KEY, Layer.GOLD) == 6
    assert (
        promotions.next_generation(KEY, Layer.SILVER) == promotions.next_generation(OTHERS, Layer.GOLD) == 2
    )
    with sqlite3.connect(world.path) as connection:
        removals = [("gold/sales/orders/9",), ("gold/sales/orders/8/x.parquet",), ("gold/sales/others/12",)]
        connection.executemany("INSERT INTO removals VALUES ('data/.generations/' || ?, '')", removals)
        connection.execute("INSERT INTO layers VALUES ('sales', 'orders~', 'gold', 10, 0, 0, 0)")
        connection.execute("INSERT INTO layers VALUES ('sales', 'orders', 'bronze', 7, 0, 0, 0)")
    connection.close()
    assert promotions.next_generation(KEY, Layer.GOLD) == 11
    assert promotions.next_generation(KEY, Layer.BRONZE) == 8
    assert promotions.next_generation(OTHERS, Layer.GOLD) == 13


def test_a_promotion_is_large_by_what_was_dropped_or_by_what_it_unfolds_to(world: World) -> None:
    world.claim("a.csv", "b.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items

    def of(*sizes: int) -> DuePromotion:
        sources = tuple(replace(item.sources[0], size=size) for size in sizes)
        return replace(due, items=(replace(item, sources=sources),))

    def above(*sizes: int) -> DuePromotion:
        items = tuple(
            PromotionItem("t", "b", NOW, 1, source=replace(layer_file("b", 1), size=size)) for size in sizes
        )
        return replace(due, items=items)

    assert due.file_count == 2
    assert not of(128_000_000, 128_000_000).is_large
    assert of(128_000_000, 128_000_001).is_large
    assert not above(32_000_000, 32_000_000).is_large
    assert above(32_000_000, 32_000_001).is_large


def test_a_promotion_that_waits_as_one_of_a_group_lets_later_ones_pass(world: World) -> None:
    first = world.deliver("a.csv")
    second, third = world.claim("b.csv"), world.claim("c.csv")
    for layer in LAYERS[:2]:
        world.climb(layer)
        world.climb(layer)
    due = world.due(Layer.SILVER)
    rewritten = BatchOutcome(transition("again", first, Layer.SILVER, 4), layer_file(first, 4, "g2.parquet"))
    world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    totals = {found.layer: (found.rows, found.files) for found in world.ledger.views.layers()}
    assert (totals[Layer.SILVER], totals[Layer.GOLD]) == ((9, 2), (5, 1))
    world.climb(Layer.SILVER)
    group = world.due(Layer.GOLD)
    assert [item.batch_id for item in group.items] == [first, second]
    other = world.ledger.promotions.due(KEY, Layer.GOLD, {group.group_id})
    assert other is not None
    assert [item.batch_id for item in other.items] == [third]
    assert world.ledger.promotions.due(KEY, Layer.GOLD, {group.group_id, other.group_id}) is None
    retried = world.ledger.outcomes
    retried.retry(group, "machine", "disk full", NOW)
    again = world.due(Layer.GOLD)
    assert [(item.attempt, item.planned_at) for item in again.items] == [(2, NOW), (2, NOW)]
    assert again.deaths == 0
    for kind in ("timed_out", "too_much_memory"):
        retried.retry(world.due(Layer.GOLD), kind, "lost", LATER)
    assert world.due(Layer.GOLD).deaths == 2
    with sqlite3.connect(world.path) as connection:
        attempts = connection.execute(
            "SELECT attempt, failed_at, kind, error FROM attempts ORDER BY 1, 3"
        ).fetchall()
    connection.close()
    assert attempts[0] == (1, NOW.isoformat(), "machine", "disk full")
    assert attempts[-1] == (3, LATER.isoformat(), "too_much_memory", "lost")


def test_a_failure_is_forgotten_when_its_promotion_is_done(world: World) -> None:
    world.claim("a.csv")
    world.ledger.outcomes.retry(world.due(Layer.STAGED), "machine", "disk full", NOW)
    world.climb(Layer.STAGED)
    assert world.ledger.views.failures() == []
    with sqlite3.connect(world.path) as connection:
        assert connection.execute(
            "SELECT state, error, error_kind FROM promotions ORDER BY 1"
        ).fetchall() == [
            ("done", None, None),
            ("planned", None, None),
        ]
    connection.close()


def climbs(world: World, due: DuePromotion) -> PromotionTask:
    """The hop above as a climb foresees it."""
    item = PromotionItem("foreseen", due.items[0].batch_id, NOW + timedelta(microseconds=1), 1)
    return PromotionTask(world.path, KEY, Layer.BRONZE, (item,), Contract(), 1, 1)


def test_the_hop_that_a_climb_foresaw_is_planned_as_it_was_foreseen(world: World) -> None:
    world.claim("a.csv")
    due = world.due(Layer.STAGED)
    task = PromotionTask(world.path, KEY, Layer.STAGED, due.items, Contract(), 1, 1)
    outcome = PromotionOutcome((world.outcome(due, due.items[0], 5),), generation=1)
    world.ledger.outcomes.commit([Hop(task, outcome, climbs(world, due))], world.new_id, NOW, LATER)
    (item,) = world.due(Layer.BRONZE).items
    assert (item.transition_id, item.planned_at) == ("foreseen", NOW + timedelta(microseconds=1))
    assert not world.ledger.promotions.is_planned(KEY, Layer.SILVER)


def test_an_outcome_is_void_when_its_layer_is_another_or_being_rebuilt(world: World) -> None:
    world.claim("a.csv")
    world.climb(Layer.STAGED)
    due = world.due(Layer.BRONZE)
    outcome = PromotionOutcome((world.outcome(due, due.items[0], 5),), generation=1)
    task = PromotionTask(world.path, KEY, Layer.BRONZE, due.items, Contract(), 1, 2)
    with pytest.raises(StaleSourceError, match=due.items[0].transition_id):
        world.ledger.outcomes.commit([Hop(task, outcome)], world.new_id, NOW, LATER)
    rebuild = world.ask(Rebuild("r1", KEY, "rebuild", Layer.STAGED))
    world.begin(rebuild, hops=[])
    with pytest.raises(StaleSourceError, match=due.items[0].transition_id):
        world.ledger.outcomes.commit([Hop(replace(task, generation=1), outcome)], world.new_id, NOW, LATER)
    world.ledger.shadows.drop(rebuild, "failed", "no", NOW)
    assert world.due(Layer.BRONZE) == due
    world.ledger.outcomes.commit([Hop(replace(task, generation=1), outcome)], world.new_id, NOW, LATER)


def test_a_rewritten_file_takes_a_new_generation_and_the_old_one_leaves_in_time(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    due = world.due(Layer.BRONZE)
    before = world.ledger.rebuilds.layer(KEY, Layer.BRONZE).version
    task = PromotionTask(world.path, KEY, Layer.BRONZE, due.items, Contract(), 1, 1)
    outcome = PromotionOutcome((world.outcome(due, due.items[0], 5),), generation=2)
    assert world.ledger.outcomes.commit([Hop(task, outcome)], world.new_id, NOW, LATER)[0].done == []
    found = world.ledger.rebuilds.layer(KEY, Layer.BRONZE)
    assert (found.generation, found.version) == (2, before + 1)
    assert world.ledger.rest.removals(NOW) == []
    assert [str(path) for path in world.ledger.rest.removals(LATER)] == [
        "data/.generations/bronze/sales/orders/1"
    ]
    assert world.due(Layer.SILVER).items[0].batch_id == batch


def test_lineage_files_are_written_again_until_it_is_known_that_they_are_there(world: World) -> None:
    world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.climb(Layer.BRONZE)
    outcomes = world.ledger.outcomes
    staged, bronze = sorted(outcomes.unfiled(), key=lambda log: log.transition_id)
    assert (staged.target_layer, bronze.target_layer) == ("staged", "bronze")
    assert outcomes.newest(1) == [bronze]
    assert outcomes.newest(9) == [bronze, staged]
    outcomes.filed([staged.transition_id])
    assert len(outcomes.unfiled()) == 2  # made durable by the next commit
    world.climb(Layer.SILVER)
    assert [log.target_layer for log in outcomes.unfiled()] == ["bronze", "silver"]
    outcomes.filed([bronze.transition_id])
    outcomes.flush()
    assert [log.target_layer for log in outcomes.unfiled()] == ["silver"]


def test_an_attempt_that_sets_records_aside_anew_takes_the_place_of_the_one_before(world: World) -> None:
    first = world.claim("a.csv")
    world.climb(Layer.STAGED)
    for transition_id, rows in (("one", 2), ("two", 3)):
        due = world.due(Layer.BRONZE) if transition_id == "one" else None
        log = transition(
            due.items[0].transition_id if due else "two",
            first,
            Layer.BRONZE,
            5,
            row_count_in=5 + rows,
            rows_quarantined=rows,
        )
        found = BatchOutcome(log, layer_file(first, 5), (), "data/q.parquet", (("rule", "a.csv", rows),))
        if due:
            world.commit(due, found)
        else:
            world.claim("b.csv")
            world.climb(Layer.STAGED)
            due = world.due(Layer.BRONZE)
            world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(found,))
    assert [(one.rows, one.path) for one in world.ledger.views.quarantined(KEY)] == [(3, "data/q.parquet")]


def test_a_batch_of_a_shadow_is_done_only_when_its_rebuild_is_shown(world: World) -> None:
    batch = world.deliver("a.csv")
    world.begin(world.ask(Rebuild("r1", KEY, "rebuild", Layer.SILVER)), hops=[(batch, Layer.GOLD)])
    shadow = world.of(KEY.shadow)
    assert shadow.climb(Layer.GOLD, rows=0) == []
    assert world.ledger.promotions.published(KEY.shadow, Layer.GOLD) == ()
    assert [file.rows for file in world.ledger.promotions.published(KEY, Layer.GOLD)] == [5]


def test_marks_of_lineage_files_that_the_disk_refuses_are_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claim("a.csv")
    world.climb(Layer.STAGED)
    outcomes = world.ledger.outcomes
    outcomes.filed([log.transition_id for log in outcomes.unfiled()])
    with monkeypatch.context() as patched:
        patched.setattr(Store, "execute_many", full)
        outcomes.flush()
    assert len(outcomes.unfiled()) == 1


def test_the_ledger_is_one_for_all_threads_of_the_daemon(world: World) -> None:
    with ThreadPoolExecutor(1) as other:
        assert other.submit(world.claim, "a.csv").result() == world.due(Layer.STAGED).items[0].batch_id
