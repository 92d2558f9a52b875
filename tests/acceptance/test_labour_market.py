"""The example for the labour-market files, by the command line, on the real files: tables, columns, rows, codes."""

import csv
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from daemon_process import medalliond
from ledgers import transitions_of_table

from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import TableKey

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "labour-market"
COPS = (
    "employment",
    "employment_growth",
    "immigration",
    "other_replacement",
    "other_seekers",
    "retirement_rates",
    "retirements",
    "school_leavers",
)
ROWS = {
    "noc.dim_noc": 516,
    "noc.onet_crosswalk": 1467,
    **{f"cops.{table}": 516 for table in COPS},
    "cops.employment_outlook": 516,
    **{f"cops.{table}": 533 for table in ("job_openings", "job_seekers", "summary")},
    "cops.future_conditions": 533,
    "cops.recent_conditions": 533,
    **{
        f"oasis.{table}": 900
        for table in (
            "abilities",
            "knowledges",
            "skills",
            "workactivities",
            "workcontext",
            "personal_attributes",
            "interests",
        )
    },
    "oasis.guide": 423,
    "element.labels": 900,
    "element.lead_statement": 900,
    "element.main_duties": 4991,
    "element.employment_requirements": 2851,
    "element.example_titles": 18666,
    "element.exclusions": 3074,
    "element.additional_information": 1158,
    "element.workplaces_employers": 3418,
    "jobs.job_architecture": 1987,
}
COLUMNS = {
    "noc.dim_noc": 5 + 1,
    **{f"cops.{table}": 14 for table in COPS},
    "oasis.abilities": 51 + 2,
    "oasis.knowledges": 46 + 2,
    "oasis.skills": 35 + 2,
    "oasis.workactivities": 42 + 2,
    "oasis.workcontext": 68 + 2,
    "element.labels": 2 + 2,
    "element.lead_statement": 2 + 2,
    "element.main_duties": 2 + 2,
    "element.employment_requirements": 2 + 2,
    "element.example_titles": 4 + 2,
    "element.exclusions": 3 + 2,
    "element.additional_information": 2 + 2,
    "element.workplaces_employers": 3 + 2,
    "jobs.job_architecture": 25,
}
"""A source's columns, and how many the contract derives from them."""
BLANKS = " \u00a0"

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def root(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty root with the example copied into it and the files dropped, drained by the command."""
    root = tmp_path_factory.mktemp("labour-market") / "root"
    shutil.copytree(EXAMPLE, root)
    (root / "landing").mkdir()
    for source in (corpus / "labour-market").glob("*.csv"):
        shutil.copy(source, root / "landing")
    medalliond(root, "drain")
    return root


def gold(root: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(root / "data" / "gold" / table.replace(".", "/") / "*.parquet")


def own_columns(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if not name.startswith("_")]


def test_every_table_is_there_with_its_rows_and_no_other(root: Path) -> None:
    found = {
        f"{link.parent.name}.{link.name}": gold(root, f"{link.parent.name}.{link.name}").height
        for link in (root / "data/gold").glob("*/*")
    }
    assert found == ROWS


def test_codes_keep_every_zero(root: Path) -> None:
    assert "00010" in gold(root, "noc.dim_noc")["unit_group_id"].to_list()
    skills = gold(root, "oasis.skills").row(0, named=True)
    assert (skills["oasis_code"], skills["unit_group_id"], skills["noc_element_code"]) == (
        "00010.00",
        "00010",
        "00",
    )
    assert "00011.00" in gold(root, "element.exclusions")["excluded_code"].to_list()
    unit_groups = set(gold(root, "noc.dim_noc")["unit_group_id"])
    assert all(set(gold(root, f"cops.{table}")["unit_group_id"]) == unit_groups for table in COPS)
    assert set(gold(root, "noc.onet_crosswalk")["unit_group_id"]) <= unit_groups


def test_profiles_are_the_same_in_every_table_where_a_code_lost_its_trailing_zeros(root: Path) -> None:
    profiles = set(gold(root, "oasis.abilities")["oasis_code"])
    for table in COLUMNS:
        if table.startswith(("oasis.", "element.")):
            codes = gold(root, table).select("oasis_code", "unit_group_id", "noc_element_code")
            derived = {f"{group}.{element}" for _, group, element in codes.iter_rows()}
            assert derived <= profiles, table
            assert all(f"{group}.{element}".startswith(code) for code, group, element in codes.iter_rows()), (
                table
            )


def test_tables_keep_their_columns_and_gain_the_derived_ones(root: Path) -> None:
    assert {table: len(own_columns(gold(root, table))) for table in COLUMNS} == COLUMNS
    for table in COLUMNS:
        if table.startswith(("oasis.", "element.")):
            assert own_columns(gold(root, table))[-2:] == ["unit_group_id", "noc_element_code"]


def test_names_lose_blanks_no_break_spaces_and_byte_order_marks(root: Path) -> None:
    assert "Active Learning" in gold(root, "oasis.personal_attributes").columns
    for table in ROWS:
        assert all(name == name.strip(BLANKS + "\ufeff") for name in gold(root, table).columns)


def test_staged_holds_the_very_text_of_every_file(root: Path, corpus: Path) -> None:
    staged = {
        frame["_source_file"][0]: frame.sort("_source_row")
        for frame in map(pl.read_parquet, (root / "data/staged").glob("*/*/*.parquet"))
    }
    sources = sorted((corpus / "labour-market").glob("*.csv"))
    assert staged.keys() == {source.name for source in sources}
    for source in sources:
        with source.open(encoding="utf-8-sig", newline="") as file:
            header, *records = csv.reader(file)
        frame = staged[source.name]
        names = own_columns(frame)
        assert [name.strip(BLANKS) or f"column_{place}" for place, name in enumerate(header, 1)] == names
        assert [list(row) for row in frame.select(names).iter_rows()] == records, source.name


@pytest.mark.parametrize("table", COPS)
def test_projections_are_numbers_without_the_sum_over_everything(root: Path, table: str) -> None:
    frame = gold(root, f"cops.{table}")
    assert len(own_columns(frame)) == 14
    assert "00000" not in frame["unit_group_id"].to_list()
    assert all(frame[str(year)].dtype.is_numeric() for year in range(2023, 2034))


def test_the_model_joins_projection_and_classification(root: Path) -> None:
    legislators = gold(root, "cops.employment_outlook").filter(unit_group_id="00010").row(0, named=True)
    employment = gold(root, "cops.employment").filter(unit_group_id="00010").row(0, named=True)
    assert legislators["class_title"] == "Legislators"
    assert (legislators["employment_2023"], legislators["employment_2033"]) == (
        employment["2023"],
        employment["2033"],
    )


def test_every_row_is_accounted_for_and_every_file_archived(root: Path, corpus: Path) -> None:
    views = LedgerViews.open(root / "catalog/state.sqlite3")
    assert views.quarantined() == []
    assert views.files.set_aside() == []
    assert views.counts() == {"ingested": 32}
    employment = transitions_of_table(views, TableKey("cops", "employment"))
    views.close()
    assert {log.target_layer: log.rows_filtered for log in employment}["silver"] == 533 - 516
    archived = {path.name for path in (root / "data/archive").glob("*/*/*/*.csv")}
    assert archived == {path.name for path in (corpus / "labour-market").glob("*.csv")}


def test_every_hop_left_a_balanced_lineage_file(root: Path) -> None:
    logs = [json.loads(path.read_text()) for path in (root / "catalog/lineage").glob("*.json")]
    assert len(logs) == 32 * 4 + 1
    for log in logs:
        if log["kind"] == "promotion":
            left = log["rows_quarantined"] + log["rows_deduplicated"] + log["rows_filtered"]
            assert log["row_count_in"] == log["row_count_out"] + left
