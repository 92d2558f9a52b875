"""A hundred daily reports in three shapes, without a contract: all records reach gold, under the union of the columns."""

import csv
import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from daemon_process import medalliond

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def gold(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The gold table of a root into which the reports were dropped, with the columns of all its files."""
    return refined(tmp_path_factory.mktemp("covid"), sorted((corpus / "covid-daily").glob("*.csv"), key=_day))


def refined(root: Path, reports: Sequence[Path]) -> pl.DataFrame:
    """Gold of a root into which reports were dropped in this order, twenty-five a batch."""
    landing = root / "landing" / "covid_daily"
    landing.mkdir(parents=True)
    for report in reports:
        shutil.copy(report, landing)
    medalliond(root, "drain", batch_max_files="25")
    files = sorted((root / "data/gold/main/covid_daily").glob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files], how="diagonal")


def _day(report: Path) -> tuple[str, ...]:
    """Reports are called MM-DD-YYYY.csv."""
    month, day, year = report.stem.split("-")
    return year, month, day


def test_every_record_reaches_gold_once_under_the_union_of_the_columns(
    corpus: Path, gold: pl.DataFrame
) -> None:
    truth = json.loads((corpus / "covid-daily" / "TRUTH.json").read_text())
    assert gold.height == truth["rows"] == 132_991
    assert gold.n_unique(["_source_file", "_source_row"]) == gold.height
    columns = {name for name in gold.columns if not name.startswith("_")}
    assert columns == {name for header in truth["headers"] for name in header["columns"]}


def test_each_shape_of_header_brings_its_files_and_records(corpus: Path, gold: pl.DataFrame) -> None:
    truth = json.loads((corpus / "covid-daily" / "TRUTH.json").read_text())
    rows: Counter[tuple[str, ...]] = Counter()
    files: Counter[tuple[str, ...]] = Counter()
    for name, count in gold.group_by("_source_file").len().iter_rows():
        header, _ = _read(corpus / "covid-daily" / Path(name).name)
        rows[header] += count
        files[header] += 1
    wanted = {tuple(header["columns"]): header for header in truth["headers"]}
    assert rows == {header: found["rows"] for header, found in wanted.items()}
    assert files == {header: found["files"] for header, found in wanted.items()}


def test_every_file_brings_the_numbers_that_stand_in_it(corpus: Path, gold: pl.DataFrame) -> None:
    numbers = ["Confirmed", "Deaths", "Recovered"]
    sums = gold.group_by("_source_file").agg(pl.col(numbers).cast(pl.Float64).sum())
    found = {Path(row["_source_file"]).name: row for row in sums.iter_rows(named=True)}
    for report in (corpus / "covid-daily").glob("*.csv"):
        header, records = _read(report)
        for number in numbers:
            place = header.index(number)
            expected = sum(float(record[place] or 0) for record in records)
            assert found[report.name][number] == expected, (report.name, number)


def _read(report: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """A report's header and records, as Python's own reader sees them."""
    with report.open(encoding="utf-8-sig", newline="") as file:
        header, *records = [record for record in csv.reader(file) if record]
    return tuple(header), records


@pytest.mark.timeout(150)
def test_the_final_table_does_not_depend_on_the_order_of_arrival(
    corpus: Path, gold: pl.DataFrame, tmp_path: Path
) -> None:
    reports = sorted((corpus / "covid-daily").glob("*.csv"))
    seed = random.randrange(10**6)
    random.Random(seed).shuffle(reports)
    shuffled = refined(tmp_path, reports)
    assert dict(shuffled.schema) == dict(gold.schema), f"seed {seed}"
    assert any(dtype.is_numeric() for name, dtype in gold.schema.items() if not name.startswith("_"))
    own = ["_source_file", "_source_row", *sorted(name for name in gold.columns if not name.startswith("_"))]
    ordered = [frame.select(own).sort("_source_file", "_source_row") for frame in (gold, shuffled)]
    assert ordered[0].equals(ordered[1]), f"seed {seed}"
