"""The ledger's part for rebuilds: asked for, made under the shadow's name, shown in one transaction or given up."""

from dataclasses import replace
from pathlib import Path

import pytest
from ledger_world import KEY, LATER, LAYERS, NOW, World, layer_file, transition
from ledgers import transitions_of_table

from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.promotion import BatchOutcome, FileOutcome, TableKey
from daemon.catalog.rebuild import DeliveredFile, Rebuild, StandingLayer
from daemon.catalog.transition import Layer

REBUILD = Rebuild("r1", KEY, "rebuild", Layer.STAGED, why="a new contract")
GENERATIONS = "data/.generations"


def set_aside(world: World, layer: Layer, batch: str, path: str, rows: int = 2) -> None:
    """Commit the due hop of a layer with records set aside into `path`, and five that go on."""
    due = world.due(layer)
    (item,) = due.items
    log = transition(
        item.transition_id, batch, layer, 5, world.key, row_count_in=5 + rows, rows_quarantined=rows
    )
    files = tuple(FileOutcome(file.file_id, f"sha-{file.name}", 5 + rows, "staged") for file in item.sources)
    rejected = (("rule", "a.csv", rows),)
    world.commit(due, BatchOutcome(log, layer_file(batch, 5), files, path, rejected))


def states(world: World) -> dict[str, str]:
    return {row["rebuild_id"]: row["state"] for row in world.ledger.views.rebuilds()}


def test_a_rebuild_is_known_as_it_was_asked_for_and_promotions_above_its_base_wait(world: World) -> None:
    world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.claim("b.csv")
    asked = world.ask(replace(REBUILD, batches=frozenset(["id-0000"]), files_out=(1,), files_back=(2,)))
    rebuilds, promotions = world.ledger.rebuilds, world.ledger.promotions
    assert rebuilds.current(KEY) == (asked, False)
    assert rebuilds.tables() == [KEY]
    assert rebuilds.is_known("r1")
    assert not rebuilds.is_known("r2")
    assert promotions.due(KEY, Layer.BRONZE, ()) is None
    assert world.due(Layer.STAGED).items[0].sources[0].name == "b.csv"
    assert not promotions.is_clear(KEY, [Layer.SILVER])
    assert world.ledger.compaction.is_held(KEY)
    (row,) = world.ledger.views.rebuilds()
    assert (row["kind"], row["base"], row["why"], row["requested_at"]) == (
        "rebuild",
        "staged",
        "a new contract",
        NOW.isoformat(),
    )
    rebuilds.end(asked, LATER)
    assert rebuilds.current(KEY) is None
    assert rebuilds.tables() == []
    assert world.ledger.views.rebuild("r1") == ("done", None)
    assert world.due(Layer.BRONZE).items[0].batch_id == "id-0000"
    assert promotions.is_clear(KEY, [Layer.SILVER])
    assert not world.ledger.compaction.is_held(KEY)


def test_of_several_rebuilds_the_one_that_has_begun_comes_first_then_the_oldest(world: World) -> None:
    world.deliver("a.csv")
    first = world.ask(replace(REBUILD, rebuild_id="r5"))
    second = world.ask(replace(REBUILD, rebuild_id="r2", kind="undo"))
    other = world.ask(replace(REBUILD, rebuild_id="r0", key=TableKey("sales", "others")))
    assert world.ledger.rebuilds.current(KEY) == (second, False)
    world.begin(first)
    assert world.ledger.rebuilds.current(KEY) == (first, True)
    assert world.ledger.rebuilds.current(other.key) == (other, False)
    assert set(world.ledger.rebuilds.tables()) == {KEY, other.key}


def test_what_a_rebuild_makes_stands_under_the_shadows_name_until_it_is_shown(world: World) -> None:
    kept, made = world.deliver("a.csv", rows=3), world.deliver("b.csv")
    rebuilds, promotions = world.ledger.rebuilds, world.ledger.promotions
    old = promotions.transition(KEY, Layer.BRONZE, made)
    assert old is not None
    world.begin(world.ask(REBUILD), kept=[kept], hops=[(made, Layer.BRONZE)])
    assert rebuilds.current(KEY) == (REBUILD, True)
    assert rebuilds.shadow_generations() == {
        (KEY, Layer.STAGED, 1),
        (KEY, Layer.BRONZE, 3),
        (KEY, Layer.SILVER, 3),
        (KEY, Layer.GOLD, 3),
    }
    assert [file.batch_id for file in promotions.published(KEY.shadow, Layer.STAGED)] == [kept, made]
    assert rebuilds.layer(KEY.shadow, Layer.BRONZE) == StandingLayer(3, 0, {kept: layer_file(kept, 3)})
    assert rebuilds.is_climbing(KEY)
    due = world.of(KEY.shadow).due(Layer.BRONZE)
    assert due.items[0].supersedes == old.transition_id
    assert due.items[0].planned_at == NOW
    assert rebuilds.contract_versions(KEY) == set()
    assert rebuilds.standing(KEY, Layer.BRONZE, made) == old.transition_id
    assert rebuilds.standing(KEY.shadow, Layer.GOLD, made) == rebuilds.standing(KEY, Layer.GOLD, made)
    assert not promotions.is_clear(KEY, [Layer.SILVER])
    assert [file.rows for file in promotions.published(KEY, Layer.GOLD)] == [3, 5]
    assert [(totals.rows, totals.files) for totals in world.ledger.views.layers()] == [(8, 2)] * 4
    assert world.ledger.views.tables() == [KEY]


def test_a_rebuild_does_not_begin_when_a_layer_has_changed_meanwhile(world: World) -> None:
    world.deliver("a.csv")
    world.ask(REBUILD)
    beginning = world.begin(world.ask(replace(REBUILD, rebuild_id="r0")))
    world.ledger.shadows.drop(replace(REBUILD, rebuild_id="r0"), "failed", "never mind", NOW)
    for layer in LAYERS:
        generation, version = beginning.states[layer]
        for stale in ((generation + 1, version), (generation, version + 1)):
            with pytest.raises(StaleSourceError, match="r1"):
                world.ledger.shadows.begin(
                    REBUILD, replace(beginning, states={**beginning.states, layer: stale}), world.new_id, NOW
                )
    assert world.ledger.rebuilds.current(KEY) == (REBUILD, False)
    assert world.ledger.rebuilds.shadow_generations() == set()
    world.ledger.shadows.begin(REBUILD, beginning, world.new_id, NOW)
    assert world.ledger.rebuilds.current(KEY) == (REBUILD, True)


def test_what_was_made_takes_the_place_of_what_stood_and_older_generations_leave_in_time(
    world: World,
) -> None:
    kept, made = world.deliver("a.csv", rows=3), world.deliver("b.csv")
    promotions, views = world.ledger.promotions, world.ledger.views
    before = {layer: world.ledger.rebuilds.layer(KEY, layer) for layer in LAYERS}
    world.begin(world.ask(REBUILD), kept=[kept], hops=[(made, Layer.BRONZE)])
    shadow = world.of(KEY.shadow)
    for layer in LAYERS[1:]:
        assert shadow.climb(layer, rows=4) == []
    assert not world.ledger.rebuilds.is_climbing(KEY)
    assert world.ledger.rebuilds.contract_versions(KEY) == {None}
    world.ledger.shadows.show(REBUILD, NOW, LATER)
    assert views.rebuild("r1") == ("done", None)
    assert world.ledger.rebuilds.current(KEY) is None
    for layer in LAYERS[1:]:
        found = world.ledger.rebuilds.layer(KEY, layer)
        assert found.files == {kept: layer_file(kept, 3), made: layer_file(made, 4)}
        assert (found.generation, found.version) == (3, before[layer].version + 1)
        log = promotions.transition(KEY, layer, made)
        assert log is not None
        assert log.row_count_out == 4
    assert world.ledger.rebuilds.layer(KEY, Layer.STAGED) == before[Layer.STAGED]
    assert {totals.layer: (totals.rows, totals.files) for totals in views.layers()} == {
        "staged": (8, 2),
        "bronze": (7, 2),
        "silver": (7, 2),
        "gold": (7, 2),
    }
    assert world.ledger.rebuilds.shadow_generations() == set()
    assert promotions.published(KEY.shadow, Layer.GOLD) == ()
    assert world.ledger.rest.removals(NOW) == []
    assert set(world.ledger.rest.removals(LATER)) == {
        Path(f"{GENERATIONS}/{layer}/sales/orders/1") for layer in LAYERS[1:]
    }
    assert len(transitions_of_table(views, KEY)) == 11
    batch = views.batch(made)
    assert batch is not None
    assert (batch["state"], batch["done_at"]) == ("done", NOW.isoformat())


def test_a_file_that_is_taken_back_is_undone_and_its_batch_with_the_last_of_its_files(world: World) -> None:
    batch, other = world.deliver("a.csv", "b.csv"), world.deliver("c.csv")
    first = Rebuild("r1", KEY, "undo", Layer.LANDING, batches=frozenset([batch]), files_out=(1,))
    log = transition("again", batch, Layer.STAGED, 2, row_count_in=5, rows_retracted=3, kind="retraction")
    world.begin(
        world.ask(first),
        kept=[other],
        restaged=[BatchOutcome(log, layer_file(batch, 2))],
        hops=[(batch, Layer.BRONZE)],
    )
    assert world.of(KEY.shadow).due(Layer.BRONZE).items[0].source == layer_file(batch, 2)
    for layer in LAYERS[1:]:
        world.of(KEY.shadow).climb(layer, rows=2)
    world.ledger.shadows.show(first, NOW, LATER)
    views = world.ledger.views
    assert [(file.name, file.state) for file in views.files.of_batch(batch)] == [
        ("b.csv", "ingested"),
        ("a.csv", "undone"),
    ]
    assert (views.batch(batch) or {})["state"] == "done"
    assert {totals.layer: totals.rows for totals in views.layers()} == dict.fromkeys(LAYERS, 7)
    second = replace(first, rebuild_id="r2", files_out=(2,))
    world.begin(
        world.ask(second),
        kept=[other],
        restaged=[BatchOutcome(transition("third", batch, Layer.STAGED, 0), None)],
    )
    world.ledger.shadows.show(second, LATER, LATER)
    assert (views.batch(batch) or {})["state"] == "undone"
    assert (views.batch(batch) or {})["done_at"] == NOW.isoformat()
    assert (views.batch(other) or {})["state"] == "done"
    assert [file.rows for file in world.ledger.promotions.published(KEY, Layer.GOLD)] == [5]
    third = Rebuild("r3", KEY, "redo", Layer.LANDING, batches=frozenset([batch]), files_back=(2,))
    log = transition("back", batch, Layer.STAGED, 2, kind="restoration")
    world.begin(world.ask(third), kept=[other], restaged=[BatchOutcome(log, layer_file(batch, 2))])
    world.ledger.shadows.show(third, LATER, LATER)
    assert (views.batch(batch) or {})["state"] == "done"
    assert [file.state for file in views.files.of_batch(batch)] == ["ingested", "undone"]
    undone = {path for path in world.ledger.rest.removals(NOW) if ".undone" in path.parts}
    assert undone == {
        Path("data/.undone/sales/orders/2.parquet"),
        Path("data/.undone/sales/orders/2-quarantine.parquet"),
    }


def test_a_batch_that_was_on_its_way_is_brought_up_by_the_rebuild(world: World) -> None:
    """Its hops were planned for the table; the rebuild makes them under the shadow's name, and they are not due again."""
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.begin(world.ask(REBUILD), hops=[(batch, Layer.BRONZE)])
    for layer in LAYERS[1:]:
        world.of(KEY.shadow).climb(layer)
    world.ledger.shadows.show(REBUILD, LATER, LATER)
    assert not world.ledger.promotions.unfinished()
    assert (world.ledger.views.batch(batch) or {})["done_at"] == LATER.isoformat()
    assert [file.state for file in world.ledger.views.files.of_batch(batch)] == ["ingested"]


@pytest.mark.parametrize("all_of_it", [True, False])
def test_what_a_rebuild_sets_aside_takes_the_place_of_what_was_set_aside_before(
    world: World, *, all_of_it: bool
) -> None:
    batch, other = world.claim("a.csv"), world.claim("b.csv")
    old = {}
    for name in (batch, other):
        for layer in LAYERS[:2]:
            old[name, layer] = f"data/quarantine/sales/orders/{name}-{layer}.parquet"
            set_aside(world, layer, name, old[name, layer])
        world.climb(Layer.SILVER)
        world.climb(Layer.GOLD)
    rebuild = replace(REBUILD, batches=None if all_of_it else frozenset([batch]))
    world.begin(world.ask(rebuild), kept=[other], hops=[(batch, Layer.BRONZE)])
    new = f"data/quarantine/sales/orders/{batch}-bronze.new.parquet"
    set_aside(world.of(KEY.shadow), Layer.BRONZE, batch, new, rows=1)
    quarantined = world.ledger.views.quarantined
    assert len(quarantined()) == 4
    world.ledger.shadows.show(rebuild, NOW, LATER)
    there = {(found.batch_id, found.path, found.rows) for found in quarantined(KEY)}
    staged = {(name, old[name, Layer.STAGED], 2) for name in (batch, other)}
    untouched = set() if all_of_it else {(other, old[other, Layer.BRONZE], 2)}
    assert there == {*staged, (batch, new, 1), *untouched}
    gone = {str(path) for path in world.ledger.rest.removals(NOW)}
    assert gone == {old[batch, Layer.BRONZE]} | ({old[other, Layer.BRONZE]} if all_of_it else set())
    assert world.ledger.rebuilds.staged_quarantine(KEY, batch) == old[batch, Layer.STAGED]
    assert world.ledger.rebuilds.staged_quarantine(KEY, "nobody's") is None


def test_records_of_a_batch_that_does_not_come_up_again_are_set_aside_no_more(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    set_aside(world, Layer.BRONZE, batch, "data/quarantine/sales/orders/a.parquet")
    undo = replace(REBUILD, base=Layer.LANDING, batches=frozenset([batch]), files_out=(1,))
    log = transition("gone", batch, Layer.STAGED, 0, row_count_in=5, rows_retracted=5, kind="retraction")
    world.begin(world.ask(undo), restaged=[BatchOutcome(log, None)])
    world.ledger.shadows.show(undo, NOW, LATER)
    assert world.ledger.views.quarantined() == []
    assert Path("data/quarantine/sales/orders/a.parquet") in world.ledger.rest.removals(NOW)
    assert not world.ledger.promotions.unfinished()


@pytest.mark.parametrize("state", ["failed", "requested"])
def test_of_what_was_given_up_nothing_stays_and_the_table_is_as_it_was(world: World, state: str) -> None:
    batch = world.deliver("a.csv")
    before = {layer: world.ledger.rebuilds.layer(KEY, layer) for layer in LAYERS}
    world.begin(world.ask(REBUILD), hops=[(batch, Layer.BRONZE)])
    path = "data/quarantine/sales/orders/shadow.parquet"
    set_aside(world.of(KEY.shadow), Layer.BRONZE, batch, path)
    (made,) = world.ledger.outcomes.newest(1)
    world.ledger.shadows.drop(REBUILD, state, "it fails", LATER)
    assert {layer: world.ledger.rebuilds.layer(KEY, layer) for layer in LAYERS} == before
    assert world.ledger.views.rebuild("r1") == (state, "it fails")
    assert (world.ledger.rebuilds.current(KEY) is None) == (state == "failed")
    assert {str(path) for path in world.ledger.rest.removals(NOW)} == {
        *(f"{GENERATIONS}/{layer}/sales/orders/3" for layer in LAYERS[1:]),
        f"catalog/lineage/{made.transition_id}.json",
        path,
    }
    assert world.ledger.rebuilds.shadow_generations() == set()
    assert not world.ledger.rebuilds.is_climbing(KEY)
    assert world.ledger.views.quarantined(KEY.shadow) == []
    assert len(world.ledger.views.transitions_of_batch(batch)) == 4


def test_only_replacements_that_failed_are_asked_for_again(world: World) -> None:
    for number, kind in enumerate(("replace", "undo", "replace")):
        world.ask(replace(REBUILD, rebuild_id=f"r{number}", kind=kind))  # type: ignore[arg-type]
    for number in range(2):
        world.ledger.shadows.drop(replace(REBUILD, rebuild_id=f"r{number}"), "failed", "no", NOW)
    world.ledger.rebuilds.try_again()
    assert states(world) == {"r0": "requested", "r1": "failed", "r2": "requested"}


def test_a_rebuild_is_about_those_files_that_are_not_yet_where_they_are_wanted(world: World) -> None:
    rebuilds = world.ledger.rebuilds
    world.deliver("a.csv", "b.csv", "c.csv")
    undo = replace(REBUILD, kind="undo", base=Layer.LANDING, files_out=(1, 2), batches=frozenset(["id-0000"]))
    assert rebuilds.as_things_stand(undo) == undo
    assert not rebuilds.is_needless(undo, undo, "v1")
    world.begin(world.ask(undo))
    world.ledger.shadows.show(undo, NOW, LATER)
    again = rebuilds.as_things_stand(replace(undo, files_out=(1, 3)))
    assert again.files_out == (3,)
    none = rebuilds.as_things_stand(undo)
    assert (none.files_out, none.files_back) == ((), ())
    assert rebuilds.is_needless(undo, none, "v1")
    redo = replace(undo, kind="redo", files_out=(), files_back=(1, 3))
    assert rebuilds.as_things_stand(redo).files_back == (1,)
    assert not rebuilds.is_needless(redo, replace(redo, files_back=(1,)), "v1")
    assert rebuilds.is_needless(redo, replace(redo, files_back=()), "v1")


def test_content_that_came_again_under_another_name_does_not_return(world: World) -> None:
    rebuilds = world.ledger.rebuilds
    world.deliver("a.csv")
    undo = replace(REBUILD, kind="undo", base=Layer.LANDING, files_out=(1,))
    world.begin(world.ask(undo))
    world.ledger.shadows.show(undo, NOW, LATER)
    assert rebuilds.content_is_there(KEY, 1) is None
    world.claim("copy.csv")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    log = transition(item.transition_id, item.batch_id, Layer.STAGED, 5)
    world.commit(
        due, BatchOutcome(log, layer_file(item.batch_id, 5), (FileOutcome(2, "sha-a.csv", 5, "staged"),))
    )
    assert rebuilds.content_is_there(KEY, 1) == "copy.csv"
    assert rebuilds.content_is_there(TableKey("sales", "others"), 1) is None
    assert rebuilds.as_things_stand(replace(undo, files_out=(), files_back=(1,))).files_back == ()


def test_other_types_need_no_rebuild_once_all_of_bronze_was_made_under_them(world: World) -> None:
    world.deliver("a.csv")
    widen = replace(REBUILD, kind="widen")
    rebuilds = world.ledger.rebuilds
    assert rebuilds.is_needless(widen, widen, "none")
    assert not rebuilds.is_needless(widen, widen, "v2")
    assert not rebuilds.is_needless(REBUILD, REBUILD, "none")


def test_delivered_files_are_told_with_the_place_where_their_bytes_lie(world: World) -> None:
    rebuilds = world.ledger.rebuilds
    first, second = world.claim("b.csv", "a.csv"), world.claim("c.csv")
    assert rebuilds.delivered([first]) == []
    world.climb(Layer.STAGED)
    world.climb(Layer.STAGED)
    world.ledger.rest.plan([(1, "data/archive/b.csv"), (2, "data/archive/a.csv")])
    world.ledger.rest.at_rest([1])
    claimed = Path("landing/.claimed")
    files = [
        DeliveredFile(1, first, "b.csv", "staged", Path("data/archive/b.csv")),
        DeliveredFile(2, first, "a.csv", "staged", claimed / first / "a.csv"),
        DeliveredFile(3, second, "c.csv", "staged", claimed / second / "c.csv"),
    ]
    assert rebuilds.delivered([second, first]) == files
    assert rebuilds.files([3, 1]) == [files[2], files[0]]
    world.ledger.rest.plan([(1, None)])
    assert [file.path for file in rebuilds.files([1])] == [None]


def test_layers_below_the_base_of_a_rebuild_stay(world: World) -> None:
    batch = world.deliver("a.csv")
    rebuild = replace(REBUILD, base=Layer.BRONZE)
    world.begin(world.ask(rebuild), hops=[(batch, Layer.SILVER)])
    shadow = world.of(KEY.shadow)
    shadow.climb(Layer.SILVER, rows=4)
    shadow.climb(Layer.GOLD, rows=4)
    world.ledger.shadows.show(rebuild, NOW, LATER)
    assert {totals.layer: (totals.rows, totals.generation) for totals in world.ledger.views.layers()} == {
        "staged": (5, 1),
        "bronze": (5, 1),
        "silver": (4, 3),
        "gold": (4, 3),
    }


def test_a_sheet_that_became_a_batch_of_its_own_is_read_where_its_workbook_lies(world: World) -> None:
    world.claim("book.xlsx")
    due = world.due(Layer.STAGED)
    (item,) = due.items
    file = FileOutcome(1, "sha", 5, "staged", parts=(("Sheet2", "others"),))
    log = transition(item.transition_id, item.batch_id, Layer.STAGED, 5)
    world.commit(due, BatchOutcome(log, layer_file(item.batch_id, 5), (file,)))
    others = world.of(TableKey("sales", "others"))
    assert world.ledger.rest.restless(KEY, 9) == []
    (source,) = others.due(Layer.STAGED).items[0].sources
    assert (source.name, source.sheet) == ("book.xlsx!Sheet2", "Sheet2")
    assert source.path == Path("landing/.claimed", item.batch_id, "book.xlsx")
    (sheet,) = world.ledger.views.files.sheets_of(1)
    assert (sheet.key, sheet.state, sheet.resting_path) == (others.key, "claimed", None)
    others.climb(Layer.STAGED)
    world.ledger.rest.plan([(1, "data/archive/book.xlsx")])
    world.ledger.rest.at_rest([1])
    (delivered,) = world.ledger.rebuilds.files([sheet.file_id])
    assert (delivered.path, delivered.sheet) == (Path("data/archive/book.xlsx"), "Sheet2")
