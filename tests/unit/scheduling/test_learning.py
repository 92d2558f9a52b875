"""Types without a contract: learned from what arrives, kept only where every value survives, the same in any order."""

import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refinery import Refinery
from structlog.testing import capture_logs

from daemon.catalog.columns import Candidates, ColumnState, TableColumns
from daemon.catalog.contract import BronzeRules
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.events import Event
from daemon.lake.layout import Layout
from daemon.pipeline.casting import learned_cast
from daemon.pipeline.learning import learn
from daemon.pipeline.provenance import PROVENANCE

TABLE = TableKey("main", "readings")
VALUES = st.sampled_from(
    [
        *(
            "",
            " ",
            "1",
            "-7",
            "00123",
            "1e5",
            "2.5",
            "1.10",
            "3.00",
            "12345678901234567",
            "+33",
            "true",
            "false",
            "True",
        ),
        *(
            "2024-01-05",
            "2024-01-05T10:00",
            "2024-01-05 10:00:00",
            "2024-01-05T10:00:00Z",
            "03/04/2024",
            "13/04/2024",
        ),
        *("31.12.2024", "2024-02-30", "0.1", "0.30000000000000004", "NaN", "abc", "-0", "0.00001"),
        *("1,5", "7,00", "1,234", "1,234,567", "-0,0", "1.234,5"),
    ]
)
DELIVERIES = st.lists(VALUES, min_size=1, max_size=6)


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path))
    yield world
    world.close()


def learned(values: list[str | None], known: Candidates = None) -> Candidates:
    return learn(pl.LazyFrame({"c": values}, schema={"c": pl.String}), {"c": known})["c"]


def type_of(candidates: Candidates) -> str:
    rule = ColumnState(candidates=candidates).rule
    assert rule is not None
    return rule.type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "", "-20"], "int64"),
        (["00123", "1"], "text"),
        (["1e5"], "text"),
        (["12345678901234567"], "text"),
        (["+33123456789"], "text"),
        (["-0"], "text"),
        ([" 1"], "text"),
        (["1,5", "-0,25", "3"], "float64"),
        (["7,00", "8,10"], "decimal"),
        (["1,234"], "text"),
        (["1,234", "0,5"], "float64"),
        (["1,234,567", "20"], "text"),
        (["1,5", "1.5"], "text"),
        (["1.234,5"], "text"),
        (["-0,00"], "text"),
        (["1", "2.5"], "float64"),
        (["4.347826086956522"], "float64"),
        (["NaN", "1.5"], "text"),
        (["1.10", "20.00"], "decimal"),
        (["1.10", "2.5"], "text"),
        (["true", "false"], "bool"),
        (["true", "yes"], "text"),
        (["2024-02-29"], "date"),
        (["2023-02-29"], "text"),
        (["2024-01-05", "2024-01-05T10:00"], "datetime"),
        (["2024-01-05T10:00", "2024-01-05 10:00"], "text"),
        (["2024-01-05T24:00"], "text"),
        (["03/04/2024"], "text"),
        (["03/04/2024", "13/04/2024"], "date"),
        (["03/04/2024", "04/13/2024"], "date"),
        (["31.12.2024"], "date"),
        (["", None], "text"),
    ],
)
def test_a_type_is_taken_only_where_every_value_survives_it(values: list[str | None], kind: str) -> None:
    assert type_of(learned(values)) == kind


@given(DELIVERIES, DELIVERIES)
def test_two_deliveries_teach_what_both_together_would(first: list[str], second: list[str]) -> None:
    state = TableColumns()
    for values in (first, second):
        known = state.columns["c"].candidates if state.columns else None
        state, _ = state.merged({"c": learned(list(values), known)}, BronzeRules())
    assert state.columns["c"].candidates == learned([*first, *second])


@given(st.lists(DELIVERIES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_deliveries_does_not_matter(deliveries: list[list[str]], chance: random.Random) -> None:
    def taught(order: list[list[str]]) -> Candidates:
        state = TableColumns()
        for values in order:
            state, _ = state.merged({"c": learned(list(values))}, BronzeRules())
        return state.columns["c"].candidates

    shuffled = list(deliveries)
    chance.shuffle(shuffled)
    assert taught(deliveries) == taught(shuffled)


@given(DELIVERIES)
def test_what_was_learned_casts_every_value_and_gives_its_text_back(values: list[str]) -> None:
    rule = ColumnState(candidates=learned(list(values))).rule
    assert rule is not None
    frame = pl.DataFrame({"c": values}, schema={"c": pl.String})
    cast = learned_cast("c", pl.String(), rule)
    failed = frame.select(cast.fails(cast.value)).to_series()
    assert not failed.any()
    if rule.type in {"int64", "decimal", "bool"}:
        back = frame.select(
            cast.value.cast(pl.String).str.replace(".", rule.decimal, literal=True)
        ).to_series()
        for value, again in zip(values, back, strict=True):
            assert again is None if not value.strip() else again.casefold() == value.casefold()


def rows(world: Refinery) -> pl.DataFrame:
    paths = sorted(world.layout.layer_link(Layer.GOLD, TABLE).glob("*.parquet"))
    frame = pl.concat([pl.read_parquet(path) for path in paths], how="diagonal")
    return frame.select(sorted(set(frame.columns) - set(PROVENANCE))).sort(pl.all())


def deliver_all(root: Path, texts: list[tuple[str, str]]) -> pl.DataFrame:
    world = Refinery(Layout(root))
    for name, text in texts:
        world.deliver(TABLE, **{name: text})
        world.carry_out(TABLE)
    found = rows(world)
    world.close()
    return found


def test_the_final_table_is_the_same_in_whatever_order_its_files_came(tmp_path: Path) -> None:
    texts = [
        ("a", "id,amount,day\n1,10,03/04/2024\n2,20,04/05/2024\n"),
        ("b", "id,amount,day,note\n3,1.5,13/04/2024,x\n"),
        ("c", "id,amount,day\n4,7,01/02/2024\n"),
    ]
    results = [
        deliver_all(tmp_path / str(number), list(order)) for number, order in enumerate(permutations(texts))
    ]
    assert results[0].schema == {"amount": pl.Float64, "day": pl.Date, "id": pl.Int64, "note": pl.String}
    for result in results[1:]:
        assert result.equals(results[0])


def test_types_widen_and_the_history_tells_it(refinery: Refinery) -> None:
    with capture_logs() as logs:
        refinery.deliver(TABLE, a="id,amount\n1,10\n")
        assert rows(refinery).schema == {"amount": pl.Int64, "id": pl.Int64}
        refinery.deliver(TABLE, b="id,amount,note\n2,1.5,hello\n")
    told = [entry["changes"] for entry in logs if entry["event"] == Event.SCHEMA_CHANGED]
    assert told == [["type amount: int64 -> float64", "added note: text"]]
    refinery.carry_out(TABLE)
    assert rows(refinery).schema == {"amount": pl.Float64, "id": pl.Int64, "note": pl.String}
    refinery.deliver(TABLE, c="ID,amount\n3,n/a\n")
    refinery.carry_out(TABLE)
    frame = rows(refinery)
    assert frame.get_column("amount").to_list() == ["1.5", "10", "n/a"]
    assert frame.columns == ["amount", "id", "note"]
    history = [
        (change["kind"], change["column"], change["before"], change["after"])
        for change in refinery.ledger.views.schema_changes(TABLE)
    ]
    assert history == [
        ("type", "amount", "int64", "float64"),
        ("added", "note", None, "text"),
        ("spelled", "id", "id", "ID"),
        ("type", "amount", "float64", "text"),
        ("missing", "note", None, None),
    ]


@pytest.mark.parametrize(
    ("mode", "columns"),
    [("add", ["_rescued", "id", "new"]), ("rescue", ["_rescued", "id"]), ("ignore", ["id"])],
)
def test_a_new_column_is_treated_as_the_contract_says(
    refinery: Refinery, mode: str, columns: list[str]
) -> None:
    refinery.contract(TABLE, f"bronze:\n  cast: {{id: int64}}\n  drift: {{new_columns: {mode}}}\n")
    refinery.deliver(TABLE, a="id\n1\n")
    refinery.deliver(TABLE, b="id,new\n2,x\n")
    frame = rows(refinery)
    assert frame.columns == [name for name in columns if mode != "add" or name != "_rescued"]
    if mode == "rescue":
        assert frame.get_column("_rescued").to_list() == [None, '{"new":"x"}']


def test_a_file_that_lacks_a_column_or_brings_one_is_set_aside_where_the_contract_says_fail(
    refinery: Refinery,
) -> None:
    refinery.contract(TABLE, "bronze:\n  drift: {new_columns: fail, missing_columns: fail}\n")
    refinery.deliver(TABLE, a="id,name\n1,x\n")
    refinery.deliver(TABLE, b="id,name,new\n2,x,y\n")
    refinery.deliver(TABLE, c="id\n3\n")
    assert rows(refinery).get_column("id").to_list() == ["1"]
    assert [
        (file.kind, "drift" in (file.reason or "")) for file in refinery.ledger.views.files.set_aside(TABLE)
    ] == [
        ("drift", True),
        ("drift", True),
    ]


def test_a_column_goes_by_its_aliases(refinery: Refinery) -> None:
    refinery.contract(TABLE, "bronze:\n  aliases: {id: [Nummer, 'No.']}\n")
    refinery.deliver(TABLE, a="Nummer,name\n1,x\n")
    refinery.deliver(TABLE, b="No.,name\n2,y\n", c="id,name\n3,z\n")
    assert rows(refinery).rows() == [("1", "x"), ("2", "y"), ("3", "z")]


def test_keys_of_json_objects_become_columns_with_all_their_digits(refinery: Refinery) -> None:
    refinery.contract(
        TABLE,
        "bronze:\n  unnest: {place: [city, lat, missing]}\n  cast: {place_lat: {type: decimal, scale: 3}}\n",
    )
    text = (
        '{"id": 1, "place": {"city": "Bern", "lat": 46.950, "tags": ["a"]}}\n{"id": 2, "place": "unknown"}\n'
    )
    refinery.deliver(TABLE, a=text)
    frame = rows(refinery)
    assert frame.columns == ["id", "place", "place_city", "place_lat", "place_missing"]
    assert frame.select("place_city", "place_lat", "place_missing").rows() == [
        ("Bern", Decimal("46.950"), None),
        (None, None, None),
    ]
    assert frame.get_column("place").to_list() == ['{"city":"Bern","lat":46.950,"tags":["a"]}', "unknown"]
