"""The ledger's part for gold models: due when an input or the contract differs from what the model was last made from."""

from ledger_world import KEY, World, layer_file, transition
from ledgers import transitions_of_table

from daemon.catalog.promotion import BatchOutcome, TableKey
from daemon.catalog.transition import Layer

MODEL = TableKey("main", "totals")
INPUTS = [(Layer.GOLD, KEY), (Layer.SILVER, TableKey("hr", "people"))]


def refreshed(number: int, rows: int, version: str | None = "v1") -> BatchOutcome:
    log = transition(
        f"t{number}", f"b{number}", Layer.GOLD, rows, MODEL, kind="model", contract_version=version
    )
    return BatchOutcome(log, layer_file(f"b{number}", rows, "totals.parquet"))


def test_a_model_waits_until_each_of_its_inputs_has_had_data(world: World) -> None:
    models = world.ledger.models
    assert models.versions(INPUTS) == {"gold.sales.orders": 0, "silver.hr.people": 0}
    world.deliver("a.csv")
    versions = models.versions(INPUTS)
    assert versions == {"gold.sales.orders": 1, "silver.hr.people": 0}
    assert not models.is_due(MODEL, "v1", versions)
    world.of(TableKey("hr", "people")).deliver("p.csv")
    world.deliver("b.csv")
    versions = models.versions(INPUTS)
    assert versions == {"gold.sales.orders": 2, "silver.hr.people": 1}
    assert models.is_due(MODEL, "v1", versions)
    assert models.known(Layer.SILVER) == [TableKey("hr", "people"), KEY]
    assert models.known(Layer.LANDING) == []


def test_a_model_is_due_again_when_an_input_or_its_contract_changes(world: World) -> None:
    models, versions = world.ledger.models, {"gold.sales.orders": 2}
    models.commit(MODEL, refreshed(1, 3), versions)
    assert not models.is_due(MODEL, "v1", versions)
    assert models.is_due(MODEL, "v2", versions)
    assert models.is_due(MODEL, "v1", {"gold.sales.orders": 3})
    assert models.is_due(MODEL, "v1", {"gold.sales.orders": 2, "gold.sales.more": 1})
    models.commit(MODEL, refreshed(2, 4, None), versions)
    assert not models.is_due(MODEL, "none", versions)


def test_a_refreshed_model_takes_the_place_of_the_one_before(world: World) -> None:
    models = world.ledger.models
    world.deliver("a.csv")
    models.commit(MODEL, refreshed(1, 3), {"gold.sales.orders": 1})
    models.commit(MODEL, refreshed(2, 4), {"gold.sales.orders": 2})
    assert world.ledger.promotions.published(MODEL, Layer.GOLD) == (layer_file("b2", 4, "totals.parquet"),)
    totals = [found for found in world.ledger.views.layers() if found.key == MODEL]
    assert [(found.layer, found.rows, found.files) for found in totals] == [(Layer.GOLD, 4, 1)]
    assert models.versions([(Layer.GOLD, MODEL)]) == {"gold.main.totals": 2}
    assert [log.transition_id for log in transitions_of_table(world.ledger.views, MODEL)] == ["t2", "t1"]
    assert world.ledger.views.batches_of_table(MODEL, 9) == ["b2", "b1"]
    assert [file.rows for file in world.ledger.promotions.published(KEY, Layer.GOLD)] == [5]


def test_a_model_that_failed_stays_due_and_says_why_until_it_is_made(world: World) -> None:
    models, versions = world.ledger.models, {"gold.sales.orders": 1}
    models.fail(MODEL, "no such column")
    assert world.ledger.views.model_failures() == {MODEL: "no such column"}
    assert models.is_due(MODEL, "", versions)
    assert models.is_due(MODEL, "v1", versions)
    models.commit(MODEL, refreshed(1, 3), versions)
    assert world.ledger.views.model_failures() == {}
    models.fail(MODEL, "once more")
    models.fail(MODEL, "and again")
    assert world.ledger.views.model_failures() == {MODEL: "and again"}
    assert not models.is_due(MODEL, "v1", versions)
