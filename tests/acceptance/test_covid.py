"""A hundred daily reports in three shapes, without a contract: all records reach gold, under the union of the columns."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest


@pytest.mark.corpus
def test_every_record_of_every_shape_reaches_gold(corpus: Path, tmp_path: Path) -> None:
    reports = corpus / "covid-daily"
    truth = json.loads((reports / "TRUTH.json").read_text())
    landing = tmp_path / "landing" / "covid_daily"
    landing.mkdir(parents=True)
    for report in reports.glob("*.csv"):
        shutil.copy(report, landing)
    command = [sys.executable, "-m", "daemon", "drain", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    gold = pl.scan_parquet(
        tmp_path / "data/gold/main/covid_daily/*.parquet", missing_columns="insert", extra_columns="ignore"
    )
    rows = gold.select("_source_file").collect()
    assert rows.height == truth["rows"] == 132_991
    assert rows["_source_file"].n_unique() == 100
    columns = {
        name
        for file in (tmp_path / "data/gold/main/covid_daily").glob("*.parquet")
        for name in pl.read_parquet_schema(file)
        if not name.startswith("_")
    }
    assert columns == {name for header in truth["headers"] for name in header["columns"]}
