"""The contract's models: what may be written in which layer, and what is made of it."""

import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from daemon.catalog.contract import NO_CONTRACT, BronzeRules, CastRule, Contract, ModelRules


def test_a_table_without_a_contract_casts_checks_and_drops_nothing() -> None:
    contract = Contract()

    assert contract.version == NO_CONTRACT
    assert contract.origin == ""
    assert contract.bronze == BronzeRules()
    assert contract.silver.clean.strip
    assert contract.silver.clean.empty_as_null
    assert contract.silver.dedup is None
    assert contract.silver.checks == ()
    assert contract.gold.sql is None
    assert contract.model is None


def test_a_type_alone_stands_for_the_whole_cast_rule() -> None:
    rules = BronzeRules.model_validate({"cast": {"population": "int64"}})

    assert rules.cast["population"] == CastRule(type="int64")


def test_sizes_and_durations_may_be_written_with_their_units() -> None:
    contract = Contract.model_validate({"landing": {"settle": "500ms", "batch": {"max_bytes": "256MB"}}})

    assert contract.landing.settle == 0.5
    assert contract.landing.batch.max_bytes == 256_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("1s", 1.0),
        ("5m", 300.0),
        (" 2 h ", 7200.0),
        ("1d", 86400.0),
    ],
)
def test_a_duration_is_seconds_or_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert Contract.model_validate({"landing": {"settle": text}}).landing.settle == seconds


@pytest.mark.parametrize("wrong", ["soon", "-1s", "1w", "", True, -1, float("inf"), float("nan")])
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Contract.model_validate({"landing": {"settle": wrong}})


def test_a_contract_survives_the_way_to_a_worker_with_its_version_and_origin() -> None:
    contract = Contract.model_validate(
        {"bronze": {"cast": {"a": {"type": "decimal", "scale": 2}}}, "silver": {"dedup": {"keys": ["a"]}}}
    ).stamped(version="0123456789ab", origin="catalog/contracts/d/t.yaml")

    arrived = pickle.loads(pickle.dumps(contract))  # noqa: S301 - our own bytes

    assert arrived == contract
    assert (arrived.version, arrived.origin) == ("0123456789ab", "catalog/contracts/d/t.yaml")


def test_stamping_leaves_the_contract_it_was_given_alone() -> None:
    contract = Contract()

    contract.stamped(version="0123456789ab", origin="x")

    assert contract.version == NO_CONTRACT


def test_a_contract_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Contract().description = "other"


@pytest.mark.parametrize("key", ["filter", "where", "sql", "transforms", "checks", "dedup"])
def test_there_is_nowhere_to_write_business_logic_in_bronze(key: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Contract.model_validate({"bronze": {key: "x"}})


def test_the_exact_column_name_wins_over_a_glob_and_the_first_glob_over_the_next() -> None:
    rules = BronzeRules.model_validate(
        {"cast": {"20*": "int64", "2024": "text", "2*": "float64", "a[b]": "bool"}}
    )

    types = {
        name: rule.type
        for name in ("2023", "2024", "21", "ab", "a[b]", "x")
        if (rule := rules.cast_for(name))
    }

    assert types == {"2023": "int64", "2024": "text", "21": "float64", "ab": "bool", "a[b]": "bool"}


@pytest.mark.parametrize(
    ("cast", "reason"),
    [
        ({"type": "int64", "formats": ["%Y"]}, "'formats' means nothing for type int64"),
        ({"type": "date", "time_zone": "UTC"}, "'time_zone' means nothing for type date"),
        ({"type": "text", "thousands": ","}, "'thousands' means nothing for type text"),
        ({"type": "float64", "scale": 2}, "'scale' means nothing for type float64"),
        ({"type": "decimal"}, "type decimal needs 'scale'"),
        ({"type": "decimal", "precision": 3, "scale": 4}, "scale 4 is more than precision 3"),
        ({"type": "float64", "thousands": "."}, "cannot be both the decimal sign and the thousands sign"),
        ({"type": "datetime", "time_zone": "Mars/Base"}, "no time zone is called 'Mars/Base'"),
    ],
)
def test_a_cast_that_contradicts_itself_is_refused(cast: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BronzeRules.model_validate({"cast": {"a": cast}})


def test_whole_numbers_may_have_points_between_thousands() -> None:
    assert CastRule(type="int64", thousands=".").thousands == "."


@pytest.mark.parametrize(
    ("bronze", "reason"),
    [
        ({"rename": {"a": "c", "b": "c"}}, "'a' and 'b' cannot both be renamed to 'c'"),
        ({"rename": {"a": "b"}, "cast": {"a": "int64"}}, "write 'b', not 'a'"),
        ({"rename": {"a": "_batch_id"}}, "'_batch_id' is a provenance column"),
        ({"cast": {"_source_row": "text"}}, "'_source_row' is a provenance column"),
    ],
)
def test_column_names_that_cannot_work_are_refused(bronze: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Contract.model_validate({"bronze": bronze})


def test_two_columns_may_swap_their_names_and_be_cast() -> None:
    rules = BronzeRules.model_validate({"rename": {"a": "b", "b": "a"}, "cast": {"a": "int64", "b": "text"}})

    assert rules.cast["a"].type == "int64"


@pytest.mark.parametrize(
    ("contract", "reason"),
    [
        ({"gold": {"sql": "SELECT 1", "transforms": ["a:b"]}}, "either 'sql' or 'transforms'"),
        ({"model": {}}, "either 'sql' or 'function'"),
        ({"model": {"sql": "SELECT * FROM gold.a.b", "function": "m:f"}}, "either 'sql' or 'function'"),
        ({"model": {"function": "m:f"}}, "'function' and 'inputs' go together"),
        (
            {"model": {"sql": "SELECT * FROM gold.a.b", "inputs": ["gold.a.b"]}},
            "'function' and 'inputs' go together",
        ),
        ({"model": {"function": "m:f", "inputs": ["a.b"]}}, "'a.b' must be a table such as"),
        ({"model": {"function": "m:f", "inputs": ["staged.a.b"]}}, "reads silver and gold tables only"),
        (
            {"model": {"sql": "SELECT * FROM bronze.a.b"}},
            "reads silver and gold tables only, not 'bronze.a.b'",
        ),
        ({"model": {"sql": "SELECT 1"}}, "the SQL reads no table"),
        ({"model": {"sql": "SELECT * FROM gold.a.b"}, "silver": {}}, "remove 'silver'"),
        (
            {"silver": {"checks": [{"name": "a", "sql": "x"}, {"name": "a", "sql": "y"}]}},
            "two checks are called 'a'",
        ),
        ({"silver": {"dedup": {"keys": []}}}, "at least 1 item"),
        ({"silver": {"transforms": ["path/to:f"]}}, "must be module:function"),
        ({"match": ["in/*.csv"]}, "without folders"),
        ({"reader": {"encoding": "utf-88"}}, "no encoding is called 'utf-88'"),
    ],
)
def test_a_contract_that_cannot_work_is_refused(contract: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Contract.model_validate(contract)


def test_a_model_names_the_tables_it_reads() -> None:
    by_sql = ModelRules(
        sql="SELECT * FROM gold.noc.dim_noc JOIN silver.x.y USING (code) JOIN gold.z USING (code)"
    )
    by_function = ModelRules(function="m:f", inputs=("gold.noc.dim_noc", "silver.y"))

    assert [str(table) for table in by_sql.reads] == ["gold.noc.dim_noc", "silver.x.y", "gold.z"]
    assert [str(table) for table in by_function.reads] == ["gold.noc.dim_noc", "silver.y"]


def test_reading_contracts_does_not_import_polars_or_an_sql_engine() -> None:
    heavy = "{'polars', 'duckdb', 'pyarrow'} & set(sys.modules)"
    code = f"import sys, daemon.catalog.contract_store; sys.exit(str({heavy}) if {heavy} else 0)"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
