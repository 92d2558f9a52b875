"""The ledger's part for compaction: which files may be merged, and the one transaction in which others take their place."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_world import KEY, LATER, NOW, World, layer_file, transition

from daemon.catalog.compaction import CompactionLimits, LayerState, Repacked, RepackOutcome
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import BatchOutcome, LayerFile
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer

LIMITS = CompactionLimits(min_files=2, max_bytes=101, min_age=0)
STATE = LayerState(KEY, Layer.STAGED, 1)


def merge(
    world: World, *batches: str, name: str = "merged.parquet", state: LayerState = STATE
) -> RepackOutcome:
    """Merge the files of batches in staged into one of the next generation."""
    promotions, compaction = world.ledger.promotions, world.ledger.compaction
    files = [promotions.layer_file(KEY, state.layer, batch) for batch in batches]
    rows = {file.batch_id: file.rows for file in files if file is not None}
    replaced = frozenset(file.name for file in files if file is not None)
    outcome = RepackOutcome((Repacked(name, 70, "cd" * 32, rows, merged=True),), replaced)
    _, standing = compaction.names(KEY, state.layer)
    names = {*standing, name} - replaced
    compaction.commit(state, names, outcome, state.generation + 1, LATER)
    return outcome


def test_files_may_be_merged_that_are_small_and_done_and_wait_for_nothing(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(4)]
    world.claim("open.csv")
    world.climb(Layer.STAGED)

    def names(limits: CompactionLimits = LIMITS, most: int = 99, minutes: int = 0) -> list[str]:
        done_by = NOW + timedelta(minutes=minutes)
        found = world.ledger.compaction.mergeable(KEY, Layer.STAGED, limits, done_by, most)
        return [file.batch_id for file in found]

    assert names() == batches
    assert names(most=2) == batches[:2]
    assert names(replace(LIMITS, max_bytes=100)) == []
    assert names(minutes=-1) == []
    assert world.ledger.compaction.mergeable(KEY, Layer.STAGED, LIMITS, NOW, 1) == (
        layer_file(batches[0], 5),
    )
    merge(world, *batches[1:3])
    assert names() == [batches[0], batches[1], batches[3]]
    assert names(replace(LIMITS, max_bytes=71)) == [batches[1]]
    assert names(replace(LIMITS, max_bytes=70)) == []
    assert names(most=1) == batches[:1]
    second = world.of(KEY)  # a rewritten batch waits for gold again
    due_batch = world.claim("newer.csv")
    second.climb(Layer.STAGED)
    second.climb(Layer.BRONZE)
    second.climb(Layer.BRONZE)
    due = second.due(Layer.SILVER)
    rewritten = BatchOutcome(
        transition("again", batches[0], Layer.SILVER, 4), layer_file(batches[0], 4, "g2.parquet")
    )
    second.commit(due, second.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    assert due_batch not in names()
    assert names() == [batches[1], batches[3]]


def test_a_merged_file_takes_the_place_of_those_it_holds_and_no_row_changes(world: World) -> None:
    batches = [world.deliver(f"{number}.csv", rows=number + 1) for number in range(3)]
    before = world.ledger.rebuilds.layer(KEY, Layer.STAGED)
    merge(world, batches[0], batches[2])
    promotions, compaction = world.ledger.promotions, world.ledger.compaction
    whole = LayerFile(batches[0], "merged.parquet", 4, 70, "cd" * 32, merged=True)
    assert promotions.published(KEY, Layer.STAGED) == (whole, layer_file(batches[1], 2))
    assert promotions.by_batch(KEY, Layer.STAGED) == (
        replace(whole, rows=1),
        layer_file(batches[1], 2),
        replace(whole, batch_id=batches[2], rows=3),
    )
    assert promotions.layer_file(KEY, Layer.STAGED, batches[2]) == replace(whole, batch_id=batches[2], rows=3)
    assert compaction.names(KEY, Layer.STAGED) == (2, ("merged.parquet", f"{batches[1]}.parquet"))
    assert compaction.holding(KEY, Layer.STAGED, batches) == {"merged.parquet": {batches[0], batches[2]}}
    assert compaction.holding(KEY, Layer.STAGED, batches[1:]) == {"merged.parquet": {batches[2]}}
    assert compaction.merged(KEY, Layer.STAGED, ["merged.parquet", f"{batches[1]}.parquet"]) == (whole,)
    after = world.ledger.rebuilds.layer(KEY, Layer.STAGED)
    assert (after.generation, after.version) == (2, before.version)
    assert world.ledger.rest.removals(NOW) == []
    assert world.ledger.rest.removals(LATER) == [Path("data/.generations/staged/sales/orders/1")]
    log = promotions.transition(KEY, Layer.STAGED, batches[2])
    assert log is not None
    assert log.row_count_out == 3


def test_merged_files_are_merged_again_and_a_batch_is_taken_out_of_them(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(3)]
    merge(world, *batches[:2])
    compaction, promotions = world.ledger.compaction, world.ledger.promotions
    state = replace(STATE, generation=2)
    both = frozenset(["merged.parquet", f"{batches[2]}.parquet"])
    large = Repacked("large.parquet", 90, "ef" * 32, dict.fromkeys(batches, 5), merged=True)
    compaction.commit(state, {"large.parquet"}, RepackOutcome((large,), both), 3, LATER)
    (file,) = promotions.published(KEY, Layer.STAGED)
    assert (file.name, file.rows, file.batch_id) == ("large.parquet", 15, batches[0])
    with LedgerInventory.open(world.path) as inventory:
        assert inventory.mismerged() == []
    alone = Repacked(f"{batches[1]}.parquet", 50, "aa" * 32, {batches[1]: 5}, merged=False)
    rest = Repacked("rest.parquet", 80, "bb" * 32, {batches[0]: 5, batches[2]: 5}, merged=True)
    outcome = RepackOutcome((alone, rest), frozenset(["large.parquet"]))
    compaction.commit(replace(STATE, generation=3), {alone.name, rest.name}, outcome, 4, LATER)
    assert promotions.layer_file(KEY, Layer.STAGED, batches[1]) == LayerFile(
        batches[1], alone.name, 5, 50, "aa" * 32
    )
    assert [file.name for file in promotions.published(KEY, Layer.STAGED)] == ["rest.parquet", alone.name]


def test_nothing_is_merged_when_the_layer_holds_other_files_by_now(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(2)]
    names = [f"{batch}.parquet" for batch in batches]
    made = Repacked("merged.parquet", 70, "cd" * 32, dict.fromkeys(batches, 5), merged=True)
    good = RepackOutcome((made,), frozenset(names))
    compaction = world.ledger.compaction
    for state, standing, outcome in (
        (replace(STATE, generation=2), {"merged.parquet"}, good),
        (STATE, {"merged.parquet", "added.parquet"}, good),
        (STATE, {"merged.parquet"}, replace(good, replaced=frozenset([*names, "gone.parquet"]))),
        (STATE, {"merged.parquet", names[1]}, replace(good, replaced=frozenset(names[:1]))),
        (STATE, {"merged.parquet"}, replace(good, made=(replace(made, rows={batches[0]: 5}),))),
        (
            STATE,
            {"merged.parquet"},
            replace(good, made=(replace(made, rows={batches[0]: 5, batches[1]: 4}),)),
        ),
        (STATE, {"merged.parquet"}, replace(good, made=(replace(made, rows={batches[0]: 5, "other": 5}),))),
    ):
        with pytest.raises(StaleSourceError):
            compaction.commit(state, standing, outcome, 2, LATER)
    assert compaction.names(KEY, Layer.STAGED) == (1, tuple(names))
    compaction.commit(STATE, {"merged.parquet"}, good, 2, LATER)
    assert compaction.names(KEY, Layer.STAGED) == (2, ("merged.parquet",))


def test_nothing_is_merged_while_a_rebuild_counts_on_the_files(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(2)]
    rebuild = world.ask(Rebuild("r1", KEY, "rebuild", Layer.SILVER))
    assert world.ledger.compaction.is_held(KEY)
    merge(world, *batches)
    world.begin(rebuild)
    assert world.ledger.compaction.is_held(KEY)
    assert not world.ledger.compaction.is_held(KEY.shadow)
    with pytest.raises(StaleSourceError, match=r"sales\.orders"):
        merge(world, *batches, name="again.parquet", state=replace(STATE, generation=2))
    assert [file.name for file in world.ledger.promotions.published(KEY, Layer.STAGED)] == ["merged.parquet"]
    world.ledger.shadows.drop(rebuild, "failed", "no", NOW)
    assert not world.ledger.compaction.is_held(KEY)


def test_a_rebuild_takes_merged_files_over_as_they_are(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(3)]
    merge(world, *batches[:2])
    merge(world, *batches[:2], state=LayerState(KEY, Layer.SILVER, 1))
    rebuild = world.ask(Rebuild("r1", KEY, "rebuild", Layer.BRONZE, batches=frozenset(batches[2:])))
    world.begin(rebuild, kept=batches[:2], hops=[(batches[2], Layer.SILVER)])
    promotions = world.ledger.promotions
    for layer in (Layer.STAGED, Layer.SILVER):
        assert promotions.published(KEY.shadow, layer)[0] == promotions.published(KEY, layer)[0]
    shadow = world.of(KEY.shadow)
    shadow.climb(Layer.SILVER, rows=1)
    shadow.climb(Layer.GOLD, rows=1)
    world.ledger.shadows.show(rebuild, NOW, LATER)
    assert [(file.name, file.rows) for file in promotions.published(KEY, Layer.SILVER)] == [
        ("merged.parquet", 10),
        (f"{batches[2]}.parquet", 1),
    ]
    assert promotions.published(KEY.shadow, Layer.SILVER) == ()
    with LedgerInventory.open(world.path) as inventory:
        assert (inventory.mismerged(), inventory.miscounted()) == ([], [])


def test_a_batch_whose_rows_are_in_a_merged_file_is_not_rewritten_there(world: World) -> None:
    batches = [world.deliver(f"{number}.csv") for number in range(2)]
    merge(world, *batches, state=LayerState(KEY, Layer.SILVER, 1))
    world.claim("newer.csv")
    world.climb(Layer.STAGED)
    world.climb(Layer.BRONZE)
    due = world.due(Layer.SILVER)
    rewritten = BatchOutcome(
        transition("again", batches[0], Layer.SILVER, 4), layer_file(batches[0], 4, "g2.parquet")
    )
    with pytest.raises(StaleSourceError, match=batches[0]):
        world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    assert world.due(Layer.SILVER) == due
