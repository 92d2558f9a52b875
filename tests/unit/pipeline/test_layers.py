"""The layers through the library's face and through the daemon's promotions: what becomes of values, records and rows."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from daemon.catalog.contract import Contract
from daemon.catalog.promotion import (
    ClaimedFile,
    LayerFile,
    ModelInput,
    ModelTask,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    TableKey,
)
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import ContractError, RejectDataError, RetryLaterError
from daemon.lake.durable import remove_leftovers
from daemon.lake.generations import ensure_generation
from daemon.lake.layout import Layout
from daemon.lake.lineage import read_transition, transition_path
from daemon.pipeline import PipelineEngine, add_provenance_columns, generate_batch_id, update_layer_column
from daemon.pipeline.promote import promote, refresh_model
from daemon.pipeline.provenance import labelled, labels

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
KEY = TableKey("sales", "orders")


class World:
    """A root and its table, promoted hop by hop as the chain does it, without the ledger."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.published: dict[Layer, dict[str, LayerFile]] = {layer: {} for layer in Layer}
        self.logs: dict[str, LayerTransitionLog] = {}
        self.generations = dict.fromkeys(Layer, 1)
        self.numbers: Iterator[int] = itertools.count(1)

    def transform(self, code: str) -> None:
        self.layout.transforms.mkdir(parents=True, exist_ok=True)
        (self.layout.transforms / "mine.py").write_text(
            f"import polars as pl\n\n\ndef step(lf):\n    return {code}\n"
        )

    def stage(self, text: str, name: str = "orders.csv", batch: str | None = None) -> PromotionOutcome:
        number = next(self.numbers)
        path = self.root / f"{number}-{name}"
        path.write_text(text)
        facts = path.stat()
        source = ClaimedFile(number, name, path, facts.st_size, facts.st_mtime_ns)
        item = PromotionItem(f"t{number}", batch or f"b{number}", NOW, 1, sources=(source,))
        return self.run(Layer.STAGED, Contract(), item)

    def climb(self, target: Layer, contract: Contract, batch: str) -> PromotionOutcome:
        source = self.published[target.below][batch]
        item = PromotionItem(
            f"t{next(self.numbers)}", batch, NOW, 1, source=source, replaces=self.published[target].get(batch)
        )
        return self.run(target, contract, item)

    def run(self, target: Layer, contract: Contract, *items: PromotionItem) -> PromotionOutcome:
        ensure_generation(self.layout, target, KEY, self.generations[target])
        files = tuple(self.published[target].values())
        task = PromotionTask(
            root=self.root,
            key=KEY,
            target=target,
            items=items,
            contract=contract,
            source_generation=1 if target is Layer.STAGED else self.generations[target.below],
            generation=self.generations[target],
            next_generation=self.generations[target] + 1,
            published=files,
        )
        outcome = promote(task, lambda: NOW).recorded(self.logs.__getitem__, lambda: f"t{next(self.numbers)}")
        self.generations[target] = outcome.generation
        for batch in (*outcome.items, *outcome.rewritten):
            name = batch.transition.batch_id
            if batch.layer_file:
                self.published[target][name] = batch.layer_file
            else:
                self.published[target].pop(name, None)
            if target is Layer.SILVER:
                self.logs[name] = batch.transition
        return outcome

    def rows(self, layer: Layer) -> pl.DataFrame:
        folder = self.layout.generation(layer, KEY, self.generations[layer])
        return pl.read_parquet(folder / "*.parquet").sort("_batch_id", "_source_row")

    def quarantine(self) -> pl.DataFrame:
        return pl.read_parquet(self.layout.quarantine(KEY) / "*.parquet").sort("_source_row", "rule")

    def to_silver(self, text: str, contract: Contract) -> PromotionOutcome:
        batch = self.stage(text).items[0].transition.batch_id
        self.climb(Layer.BRONZE, contract, batch)
        return self.climb(Layer.SILVER, contract, batch)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def contract(**sections: object) -> Contract:
    return Contract.model_validate(sections).stamped(
        version="v1", origin="catalog/contracts/sales/orders.yaml"
    )


# provenance


def test_provenance_numbers_the_records_of_a_file_and_a_promotion_renews_time_and_layer() -> None:
    batch = generate_batch_id()
    lf = add_provenance_columns(
        pl.LazyFrame({"a": ["x", "y"]}), "in.csv", batch, Layer.STAGED, ingested_at=NOW
    )
    staged = lf.collect()
    assert staged.columns == ["a", "_source_file", "_source_row", "_ingested_at", "_batch_id", "_layer"]
    assert staged["_source_row"].to_list() == [1, 2]
    bronze = update_layer_column(lf, Layer.BRONZE, ingested_at=LATER).collect()
    assert bronze.row(1) == ("y", "in.csv", 2, LATER, batch, "bronze")


def test_rows_in_memory_get_the_labels_that_a_query_gives_them() -> None:
    lf = add_provenance_columns(
        pl.LazyFrame({"a": ["x", "y"]}), "in.csv", "b", Layer.STAGED, ingested_at=NOW
    ).with_columns(pl.lit(1).alias("made later"))
    bronze = update_layer_column(lf, Layer.BRONZE, ingested_at=LATER).collect()
    assert labelled(lf.collect(), labels(Layer.BRONZE, ingested_at=LATER)).equals(bronze)
    assert bronze.columns[1] == "made later"


def test_batch_ids_sort_by_the_time_they_were_made() -> None:
    made = [generate_batch_id() for _ in range(100)]
    assert made == sorted(made)


def test_layers_that_change_nothing_change_the_labels_alone(world: World) -> None:
    rules = contract(silver={"clean": {"strip": False, "empty_as_null": False}})
    batch = world.stage("code,note\n00123, x \n,\n").items[0].transition.batch_id
    for layer in (Layer.BRONZE, Layer.SILVER, Layer.GOLD):
        world.climb(layer, rules, batch)
    staged = world.rows(Layer.STAGED)
    assert staged.height == 2
    for layer in (Layer.BRONZE, Layer.SILVER, Layer.GOLD):
        assert world.rows(layer).equals(staged.with_columns(pl.lit(str(layer)).alias("_layer")))


# staged


def test_staged_keeps_every_value_as_the_text_it_was(world: World) -> None:
    world.stage("code,amount,word,note\n00123,00010.00,NA,trailing  \n1e5,,null,\n")
    own = world.rows(Layer.STAGED).select("code", "amount", "word", "note")
    assert own.rows() == [("00123", "00010.00", "NA", "trailing  "), ("1e5", "", "null", "")]


def test_a_damaged_record_is_set_aside_with_its_line_and_the_others_keep_their_numbers(world: World) -> None:
    outcome = world.stage("a,b\n1,2\n3\n5,6\n")
    log = outcome.items[0].transition
    assert (log.row_count_in, log.row_count_out, log.rows_quarantined, log.status) == (3, 2, 1, "partial")
    assert world.rows(Layer.STAGED)["_source_row"].to_list() == [1, 3]
    (damaged,) = world.quarantine().to_dicts()
    assert (damaged["_source_row"], damaged["line"], damaged["raw"], damaged["rule"]) == (
        2,
        3,
        "3",
        "too_few_fields",
    )


def test_content_the_table_has_already_is_a_duplicate(world: World) -> None:
    first = world.stage("a\n1\n").items[0].files[0]
    path = world.root / "again.csv"
    path.write_text("a\n1\n")
    facts = path.stat()
    source = ClaimedFile(9, "again.csv", path, facts.st_size, facts.st_mtime_ns)
    item = PromotionItem("t9", "b9", NOW, 1, sources=(source,))
    task = PromotionTask(
        world.root, KEY, Layer.STAGED, (item,), Contract(), 1, 1, known_hashes=frozenset({first.sha256})
    )
    (outcome,) = promote(task, lambda: NOW).items
    assert (outcome.files[0].fate, outcome.layer_file) == ("duplicate", None)


def test_a_file_that_changed_since_it_was_claimed_is_tried_again_later(world: World) -> None:
    path = world.root / "growing.csv"
    path.write_text("a\n1\n")
    source = ClaimedFile(1, "growing.csv", path, 3, path.stat().st_mtime_ns)
    with pytest.raises(RetryLaterError, match=r"growing\.csv: somebody still writes to it"):
        world.run(Layer.STAGED, Contract(), PromotionItem("t", "b", NOW, 1, sources=(source,)))


# bronze


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("int8", " 127 ", 127),
        ("int64", "+5", 5),
        ("uint16", "65535", 65535),
        ("float64", "-inf", float("-inf")),
        ({"type": "int64", "thousands": "."}, "-1.234.567", -1234567),
        ({"type": "int64", "thousands": "."}, "1234567", 1234567),
        ("datetime", "2026-01-02 03:04:05.1234560", datetime(2026, 1, 2, 3, 4, 5, 123456)),  # noqa: DTZ001 - as above
        ("float64", "1e5", 100000.0),
        ({"type": "float64", "decimal": ",", "thousands": "."}, '"1.234,5"', 1234.5),
        ({"type": "decimal", "precision": 6, "scale": 2}, "1234.5", Decimal("1234.50")),
        ({"type": "decimal", "precision": 6, "scale": 2, "decimal": ","}, '"-0,25"', Decimal("-0.25")),
        ("bool", "Yes", True),
        ("bool", "0", False),
        ("date", "2026-02-28", date(2026, 2, 28)),
        ({"type": "date", "formats": ["%d.%m.%Y", "%Y/%m/%d"]}, "2026/03/01", date(2026, 3, 1)),
        ("datetime", "2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - naive is what was asked
        ("text", " kept ", " kept "),
        ("int64", "   ", None),
        ("int64", "N/A", None),
    ],
)
def test_a_value_that_fits_is_cast(world: World, rule: object, text: str, value: object) -> None:
    batch = world.stage(f"id,v\n1,{text}\n").items[0].transition.batch_id
    world.climb(Layer.BRONZE, contract(bronze={"cast": {"v": rule}, "null_values": ["N/A"]}), batch)
    assert world.rows(Layer.BRONZE)["v"].to_list() == [value]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("int8", "128"),
        ("int64", "1.0"),
        ("int64", "9223372036854775808"),
        ("uint8", "-1"),
        ("float64", "1.2.3"),
        ("float64", "1e400"),
        ("float32", "1e39"),
        ("int64", "+-5"),
        ("int64", "++5"),
        ({"type": "int64", "thousands": "."}, "1.5"),
        ({"type": "int64", "thousands": "."}, "1..500"),
        ({"type": "int64", "thousands": "."}, ".500"),
        ({"type": "float64", "thousands": "'"}, "1234'567.5'6"),
        ({"type": "float64", "decimal": ",", "thousands": "."}, "1.5"),
        ("datetime", "2026-01-02 03:04:05.1234567"),
        ("datetime", "2026-01-02 03:04:60"),
        ("time", "03:04:60"),
        ({"type": "float64", "decimal": ","}, "1.5"),
        ({"type": "decimal", "precision": 6, "scale": 2}, "1.239"),
        ({"type": "decimal", "precision": 6, "scale": 2}, "123456.7"),
        ("bool", "perhaps"),
        ("date", "2026-02-30"),
        ({"type": "datetime", "time_zone": "Europe/Paris"}, "2026-10-25 02:30:00"),
        ({"type": "datetime", "time_zone": "Europe/Paris"}, "2026-03-29 02:30:00"),
    ],
)
def test_a_value_that_does_not_fit_takes_its_record_to_quarantine(
    world: World, rule: object, text: str
) -> None:
    batch = world.stage(f"id,v\n1,{text}\n2,\n").items[0].transition.batch_id
    (outcome,) = world.climb(Layer.BRONZE, contract(bronze={"cast": {"v": rule}}), batch).items
    log = outcome.transition
    assert (log.row_count_in, log.row_count_out, log.rows_quarantined) == (2, 1, 1)
    (record,) = world.quarantine().to_dicts()
    assert record["rule"] == "cast:v"
    assert f"'{text}'" in record["reason"]
    assert text in record["raw"]
    assert record["_source_row"] == 1


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("target", [Layer.BRONZE, Layer.SILVER, Layer.GOLD])
def test_a_layer_file_that_cannot_be_read_is_not_the_datas_fault(
    world: World, monkeypatch: pytest.MonkeyPatch, target: Layer, *, large: bool
) -> None:
    if large:
        monkeypatch.setattr("daemon.pipeline.promote._HELD_ROWS", 0)
    rules = contract(
        bronze={"cast": {"v": "int64"}},
        silver={"checks": [{"name": "some", "sql": "v > 0", "on_failure": "quarantine"}]},
        gold={"sql": "SELECT *, v * 2 AS twice FROM silver"},
    )
    batch = world.stage("id,v\n1,2\n").items[0].transition.batch_id
    for layer in (Layer.BRONZE, Layer.SILVER):
        if target in layer.all_above:
            world.climb(layer, rules, batch)
    below = world.layout.generation(target.below, KEY, 1) / world.published[target.below][batch].name
    sound = below.read_bytes()
    below.write_bytes(sound[:4] + b"\xff" * (len(sound) - 12) + sound[-8:])
    with pytest.raises(RetryLaterError):
        world.climb(target, rules, batch)
    with pytest.raises(RetryLaterError):
        world.climb(target, contract(), batch)
    below.write_bytes(sound)
    assert world.climb(target, rules, batch).items[0].transition.row_count_out == 1


def test_the_reason_names_every_column_that_does_not_fit(world: World) -> None:
    batch = world.stage("a,b\nx,y\n").items[0].transition.batch_id
    (outcome,) = world.climb(
        Layer.BRONZE, contract(bronze={"cast": {"a": "int64", "b": "date"}}), batch
    ).items
    assert outcome.layer_file is None
    assert world.quarantine()["reason"].to_list() == ["a: 'x' is not an int64; b: 'y' is not a date"]


def test_columns_are_renamed_cast_by_glob_and_added_where_the_file_lacks_them(world: World) -> None:
    batch = world.stage("Order No,2023,2024\n7,1,2\n").items[0].transition.batch_id
    rules = {"rename": {"Order No": "id"}, "cast": {"id": "int64", "20*": "int32", "later": "date"}}
    world.climb(Layer.BRONZE, contract(bronze=rules), batch)
    own = world.rows(Layer.BRONZE).select(pl.exclude("^_.*$"))
    assert own.schema == {"id": pl.Int64, "2023": pl.Int32, "2024": pl.Int32, "later": pl.Date}


# silver


def test_without_a_contract_silver_trims_blanks_and_makes_empty_text_null(world: World) -> None:
    world.to_silver("a,b\n x ,\n", Contract())
    assert world.rows(Layer.SILVER).select("a", "b").rows() == [("x", None)]


def test_checks_quarantine_drop_and_pass_null(world: World) -> None:
    rules = {
        "checks": [
            {"name": "positive", "sql": "n > 0", "on_failure": "quarantine"},
            {"name": "small", "sql": "n < 100", "on_failure": "drop"},
        ]
    }
    outcome = world.to_silver(
        "id,n\n1,5\n2,-1\n3,500\n4,\n", contract(bronze={"cast": {"n": "int64"}}, silver=rules)
    )
    log = outcome.items[0].transition
    assert (log.row_count_out, log.rows_quarantined, log.rows_filtered) == (2, 1, 1)
    assert world.rows(Layer.SILVER)["_source_row"].to_list() == [1, 4]
    (record,) = world.quarantine().to_dicts()
    assert (record["rule"], record["_source_row"]) == ("check:positive", 2)


def test_a_check_that_warns_keeps_the_rows_and_says_how_many(world: World) -> None:
    rules = {"checks": [{"name": "positive", "sql": "n > 0", "on_failure": "warn"}]}
    outcome = world.to_silver("n\n5\n-1\n", contract(bronze={"cast": {"n": "int64"}}, silver=rules))
    assert outcome.warnings == ("check 'positive' is not met by 1 rows: n > 0",)
    assert outcome.items[0].transition.row_count_out == 2


def test_a_check_that_fails_refuses_the_file_and_names_the_record(world: World) -> None:
    rules = {"checks": [{"name": "positive", "sql": "n > 0", "on_failure": "fail"}]}
    with pytest.raises(
        RejectDataError, match=r"check 'positive' failed for 1 rows, first for orders\.csv record 2"
    ):
        world.to_silver("n\n5\n-1\n", contract(bronze={"cast": {"n": "int64"}}, silver=rules))


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"keys": ["k"]}, [1, 3, 4]),
        ({"keys": ["k"], "keep": "last"}, [2, 3, 5]),
        ({"keys": ["k"], "keep": "last", "order_by": ["v"]}, [1, 3, 5]),
        ({"keys": ["k", "v"]}, [1, 2, 3, 4, 5]),
    ],
)
def test_one_row_per_key_stays_and_null_is_a_key_like_another(
    world: World, rule: dict[str, object], kept: list[int]
) -> None:
    rules = contract(bronze={"cast": {"v": "int64"}}, silver={"dedup": rule})
    log = world.to_silver("k,v\na,9\na,1\nb,1\n,1\n,2\n", rules).items[0].transition
    assert world.rows(Layer.SILVER)["_source_row"].to_list() == kept
    assert log.rows_deduplicated == 5 - len(kept)


def test_a_key_that_is_published_already_is_dropped_with_keep_first(world: World) -> None:
    rules = contract(silver={"dedup": {"keys": ["k"]}})
    world.to_silver("k,v\na,1\nb,1\n", rules)
    log = world.to_silver("k,v\nb,2\nc,2\n", rules).items[0].transition
    assert (log.row_count_out, log.rows_deduplicated) == (1, 1)
    assert world.rows(Layer.SILVER).select("k", "v").rows() == [("a", "1"), ("b", "1"), ("c", "2")]


def test_a_newer_row_takes_the_older_one_out_with_keep_last_in_a_new_generation(world: World) -> None:
    rules = contract(silver={"dedup": {"keys": ["k"], "keep": "last"}})
    world.to_silver("k,v\na,1\nb,1\n", rules)
    world.to_silver("k,v\nz,1\n", rules)
    outcome = world.to_silver("k,v\nb,2\nc,2\n", rules)
    (older,) = outcome.rewritten
    assert outcome.generation == 2
    assert (
        older.transition.row_count_in,
        older.transition.row_count_out,
        older.transition.rows_deduplicated,
    ) == (2, 1, 1)
    assert world.rows(Layer.SILVER).select("k", "v").rows() == [
        ("a", "1"),
        ("z", "1"),
        ("b", "2"),
        ("c", "2"),
    ]
    assert pl.read_parquet(world.layout.generation(Layer.SILVER, KEY, 1) / "*.parquet").height == 3


def test_a_batch_whose_every_row_was_superseded_leaves_silver_and_gold(world: World) -> None:
    rules = contract(silver={"dedup": {"keys": ["k"], "keep": "last"}})
    world.to_silver("k,v\na,1\n", rules)
    world.climb(Layer.GOLD, rules, "b1")
    outcome = world.to_silver("k,v\na,2\n", rules)
    newer = outcome.items[0].transition.batch_id
    items = (
        PromotionItem("g1", "b1", NOW, 1, source=None, replaces=world.published[Layer.GOLD]["b1"]),
        PromotionItem("g2", newer, NOW, 1, source=world.published[Layer.SILVER][newer]),
    )
    world.run(Layer.GOLD, rules, *items)
    assert world.rows(Layer.GOLD).select("k", "v").rows() == [("a", "2")]


def test_rows_a_transform_leaves_out_are_counted_as_filtered(world: World) -> None:
    world.transform("lf.filter(pl.col('n') != '2')")
    log = world.to_silver("n\n1\n2\n3\n", contract(silver={"transforms": ["mine:step"]})).items[0].transition
    assert (log.row_count_out, log.rows_filtered, log.transforms_applied) == (2, 1, ("mine:step",))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("pl.concat([lf, lf])", "makes rows: 2 in, 4 out"),
        ("pl.concat([lf.head(1), lf.head(1)])", "makes rows: 2 in, 2 out, 1 of them distinct"),
        ("lf.drop('_source_row')", "lost the columns _source_row"),
        ("lf.collect()", "must return a LazyFrame, not DataFrame"),
        ("lf.select(pl.col('no_such_column'))", "no_such_column"),
    ],
)
def test_a_transform_that_breaks_the_rules_is_the_contracts_fault(
    world: World, code: str, message: str
) -> None:
    world.transform(code)
    with pytest.raises(ContractError, match=message) as caught:
        world.to_silver("n\n1\n2\n", contract(silver={"transforms": ["mine:step"]}))
    assert "catalog/contracts/sales/orders.yaml" in str(caught.value)


def test_a_transform_that_fails_on_data_only_is_the_datas_fault(world: World) -> None:
    world.transform("lf.with_columns(pl.col('n').cast(pl.Int64))")
    with pytest.raises(RejectDataError) as caught:
        world.to_silver("n\n1\nx\n", contract(silver={"transforms": ["mine:step"]}))
    assert caught.value.kind == "transform_failed"


def test_an_error_in_a_transform_names_its_file_and_line(world: World) -> None:
    world.transform("lf.with_columns(undefined_name)")
    with pytest.raises(ContractError, match=r"mine\.py:5: NameError"):
        world.to_silver("n\n1\n", contract(silver={"transforms": ["mine:step"]}))


# gold


def test_gold_sql_derives_columns_and_keeps_provenance_that_it_does_not_name(world: World) -> None:
    rules = contract(gold={"sql": "SELECT code, SUBSTR(code, 1, 2) AS head FROM silver WHERE code <> '99'"})
    outcome = world.to_silver("code\n0010\n99\n", rules)
    log = world.climb(Layer.GOLD, rules, outcome.items[0].transition.batch_id).items[0].transition
    (row,) = world.rows(Layer.GOLD).to_dicts()
    assert (row["code"], row["head"], row["_source_file"], row["_source_row"]) == (
        "0010",
        "00",
        "orders.csv",
        1,
    )
    assert (log.row_count_out, log.rows_filtered, log.transforms_applied) == (1, 1, ("gold.sql",))


def test_gold_sql_that_aggregates_is_told_to_be_a_model(world: World) -> None:
    rules = contract(gold={"sql": "SELECT count(*) AS n FROM silver GROUP BY code"})
    outcome = world.to_silver("code\n1\n1\n", rules)
    with pytest.raises(ContractError, match="write a gold model"):
        world.climb(Layer.GOLD, rules, outcome.items[0].transition.batch_id)


def test_what_a_models_sql_spills_lies_beside_its_file_where_a_start_removes_it(world: World) -> None:
    world.to_silver("k\na\n", contract())
    inputs = (ModelInput(Layer.SILVER, KEY, 1, tuple(world.published[Layer.SILVER].values())),)
    key = TableKey("sales", "spills")
    ensure_generation(world.layout, Layer.GOLD, key, 1)
    sql = "SELECT current_setting('temp_directory') AS place FROM silver.orders"
    refresh_model(
        ModelTask(world.root, key, "t", "b", NOW, contract(model={"sql": sql}), inputs, 1), lambda: NOW
    )
    folder = world.layout.generation(Layer.GOLD, key, 1)
    place = Path(pl.read_parquet(folder / "spills.parquet")["place"][0])
    assert place.parent == folder
    place.mkdir()  # as a worker leaves it that is killed
    assert remove_leftovers(folder) == 1


def test_a_model_joins_and_aggregates_and_says_what_it_was_made_from(world: World) -> None:
    outcome = world.to_silver("k,v\na,1\na,2\nb,3\n", Contract())
    world.climb(Layer.GOLD, Contract(), outcome.items[0].transition.batch_id)
    inputs = (ModelInput(Layer.GOLD, KEY, 1, tuple(world.published[Layer.GOLD].values())),)
    key = TableKey("sales", "by_k")
    ensure_generation(world.layout, Layer.GOLD, key, 1)
    sql = "SELECT k, count(*) AS n FROM gold.orders GROUP BY k ORDER BY k"
    task = ModelTask(world.root, key, "t", "b", NOW, contract(model={"sql": sql}), inputs, 1)
    made = refresh_model(task, lambda: NOW)
    rows = pl.read_parquet(world.layout.layer_link(Layer.GOLD, key) / "by_k.parquet")
    assert rows.select("k", "n", "_source_file", "_source_row").rows() == [
        ("a", 2, "model:sales.by_k", 1),
        ("b", 1, "model:sales.by_k", 2),
    ]
    assert (made.transition.kind, made.transition.row_count_in, made.transition.row_count_out) == (
        "model",
        3,
        2,
    )
    with pytest.raises(ContractError, match="no_such_column"):
        refresh_model(
            replace(task, contract=contract(model={"sql": "SELECT no_such_column FROM gold.orders"})),
            lambda: NOW,
        )


# doing it again


def test_a_hop_done_again_writes_the_same_rows(world: World) -> None:
    rules = contract(bronze={"cast": {"n": "int64"}}, silver={"dedup": {"keys": ["n"]}})
    world.to_silver("n\n3\n1\n3\nx\n", rules)
    before = {layer: world.rows(layer) for layer in (Layer.BRONZE, Layer.SILVER)}
    for layer in (Layer.BRONZE, Layer.SILVER):
        world.published[layer].clear()
        world.climb(layer, rules, "b1")
        assert world.rows(layer).equals(before[layer])


# the library


def test_the_engine_promotes_a_file_to_gold_and_leaves_a_record_of_every_hop(tmp_path: Path) -> None:
    source = tmp_path / "orders.csv"
    source.write_text("code,amount\n00123,1.50\n00124,abc\n")
    engine = PipelineEngine(tmp_path / "root", clock=lambda: NOW)

    def doubled(lf: pl.LazyFrame) -> pl.LazyFrame:
        return lf.with_columns((pl.col("amount") * 2).alias("twice"))

    hops = engine.run_full_pipeline(
        source, "orders", "sales", schema={"amount": pl.Float64()}, gold_transforms=[doubled]
    )
    assert [hop.transition.source_layer for hop in hops] == ["landing", "staged", "bronze", "silver"]
    assert [(hop.rows_in, hop.rows_out) for hop in hops] == [(2, 2), (2, 1), (1, 1), (1, 1)]
    assert hops[-1].transition.transforms_applied[0].endswith("doubled")
    gold = pl.read_parquet(tmp_path / "root/data/gold/sales/orders/*.parquet")
    assert gold.select("code", "twice").rows() == [("00123", 3.0)]
    for hop in hops:
        path = transition_path(Layout(tmp_path / "root"), hop.transition.transition_id)
        assert read_transition(path) == hop.transition


def test_the_engine_refuses_a_file_nothing_can_read(tmp_path: Path) -> None:
    source = tmp_path / "empty.csv"
    source.write_text("")
    with pytest.raises(RejectDataError, match="empty"):
        PipelineEngine(tmp_path / "root").ingest(source, "orders")


def test_values_that_name_their_offset_are_taken_beside_those_that_do_not(world: World) -> None:
    text = "at\n2026-01-01T10:00:00Z\n2026-01-01T10:00:00+05:00\n2026-01-01 11:00:00\n"
    batch = world.stage(text).items[0].transition.batch_id
    world.climb(
        Layer.BRONZE,
        contract(bronze={"cast": {"at": {"type": "datetime", "time_zone": "Europe/Paris"}}}),
        batch,
    )
    utc = world.rows(Layer.BRONZE)["at"].dt.convert_time_zone("UTC").dt.hour().to_list()
    assert utc == [10, 5, 10]


def test_the_reason_says_which_limit_a_decimal_broke(world: World) -> None:
    rule = {"type": "decimal", "precision": 8, "scale": 2}
    batch = world.stage("v\n1.555\n").items[0].transition.batch_id
    world.climb(Layer.BRONZE, contract(bronze={"cast": {"v": rule}}), batch)
    assert world.quarantine()["reason"].to_list() == [
        "v: '1.555' is not a decimal with at most 8 digits, 2 of them after the '.'"
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"dedup": {"keys": ["no_such_column"]}},
        {"dedup": {"keys": ["n"], "order_by": ["no_such_column"]}},
        {"checks": [{"name": "c", "sql": "no_such_column > 1"}]},
    ],
)
def test_a_rule_over_a_column_that_is_not_there_is_the_contracts_fault(
    world: World, rules: dict[str, object]
) -> None:
    with pytest.raises(ContractError, match="no_such_column"):
        world.to_silver("n\n1\n", contract(silver=rules))


def test_a_transform_that_forges_where_rows_are_from_is_refused(world: World) -> None:
    world.transform("lf.with_columns(pl.lit('forged').alias('_source_file'))")
    with pytest.raises(ContractError, match="changes _source_file or _source_row"):
        world.to_silver("n\n1\n", contract(silver={"transforms": ["mine:step"]}))


def test_columns_like_our_own_helpers_and_bytes_are_kept_in_quarantine(world: World) -> None:
    frame = pl.DataFrame(
        {"__fate": ["kept"], "__row": [1], "__cast v": ["x"], "b": [b"\x00\xff"], "v": ["no number"]}
    )
    path = world.root / "helpers.parquet"
    frame.write_parquet(path)
    facts = path.stat()
    source = ClaimedFile(77, "helpers.parquet", path, facts.st_size, facts.st_mtime_ns)
    world.run(Layer.STAGED, Contract(), PromotionItem("t77", "b77", NOW, 1, sources=(source,)))
    world.climb(Layer.BRONZE, contract(bronze={"cast": {"v": "int64"}}), "b77")
    (record,) = world.quarantine().to_dicts()
    assert json.loads(record["raw"]) == {
        "__fate": "kept",
        "__row": 1,
        "__cast v": "x",
        "b": "00ff",
        "v": "no number",
    }
