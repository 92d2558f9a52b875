"""Real and damaged files that nobody here wrote: read right, or set aside with the reason, never silently wrong."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from readers_support import Outcome, Read

_CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(
        not _CORPUS.is_dir(), reason="the corpus is not beside the project (../shared/corpus)"
    ),
]


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in _CORPUS.glob(pattern) if path.is_file())


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file) if row]


def _silently_wrong(outcome: Outcome, name: str, clean: list[list[str]]) -> bool:
    """Whether rows differ from the truth though nothing says so: no set-aside record, no warning, no refusal."""
    if outcome.delivery.refused or "warning" in outcome.note:
        return False
    named = list(outcome.delivery.headers.get(name, outcome.columns))
    rows = [[str(cell) for cell in row] for row in outcome.rows]
    truth = Counter(map(tuple, clean if "no header" in outcome.note else clean[1:]))
    read = Counter(map(tuple, rows))
    lost = sum((truth - read).values())
    header_right = (
        named == clean[0]
        or "no header" in outcome.note
        or any(record.kind == "header_damaged" for record in outcome.damaged)
    )
    return not header_right or bool(read - truth) or lost > len(outcome.damaged)


@pytest.mark.parametrize("part", range(4))
def test_no_pollock_file_is_silently_wrong(read: Read, part: int) -> None:
    files = _files("pollock/csv/*")[part::4]
    wrong = []
    for path in files:
        outcome = read({path.name: path.read_bytes()})
        if _silently_wrong(outcome, path.name, _table(_CORPUS / "pollock" / "clean" / path.name)):
            wrong.append(path.name)
    assert (wrong, len(files) > 60) == ([], True)


def test_few_pollock_files_are_refused_whole(read: Read) -> None:
    refused = [
        path.name
        for path in _files("pollock/csv/file_*")
        if read({path.name: path.read_bytes()}).delivery.refused
    ]
    assert refused == ["file_field_delimiter_0x20.csv", "file_no_payload.csv"]


@pytest.mark.parametrize("path", _files("csv-suites/csv-spectrum/*.csv"), ids=lambda path: path.name)
def test_csv_spectrum_is_read_exactly(read: Read, path: Path) -> None:
    clean = _table(path)
    outcome = read({path.name: path.read_bytes()})
    assert [outcome.columns, *map(list, outcome.rows)] == clean


def test_every_covid_record_is_read_on_the_fast_path(read: Read) -> None:
    outcome = read({path.name: path.read_bytes() for path in _files("covid-daily/*.csv")})
    truth = json.loads((_CORPUS / "covid-daily" / "TRUTH.json").read_text())
    assert truth
    assert outcome.table.height == 132_991
    assert len(outcome.delivery.frames) == 3
    assert outcome.damaged == ()


def test_codes_keep_their_zeros(read: Read) -> None:
    (path,) = _files("labour-market/**/noc_structure_en.csv")
    outcome = read({path.name: path.read_bytes()})
    codes = {value for row in outcome.rows for value in row if str(value).isdigit() and len(str(value)) == 5}
    assert outcome.table.height == 822
    assert "00010" in codes


@pytest.mark.parametrize("kind", ["n", "i"])
def test_no_broken_json_is_accepted(read: Read, kind: str) -> None:
    files = _files(f"json/JSONTestSuite/{kind}_*.json")
    accepted = [path.name for path in files if read({path.name: path.read_bytes()}).delivery.frames]
    assert accepted == ([] if kind == "n" else ["i_structure_UTF-8_BOM_empty_object.json"])


def test_headers_of_workbooks_are_found_below_their_titles(read: Read) -> None:
    firsts = {
        path.name: read({path.name: path.read_bytes()}).columns[:2] for path in _files("excel/workbc/*.xlsx")
    }
    assert firsts["2021 BC Population Distribution.xlsx"] == ["Region", "2021"]
    assert firsts["3.3.1_WorkBC_Career_Profile_Data_2021_2031.xlsx"] == ["NOC", "Description"]
    assert firsts["2022 HOO List.xlsx"][0].startswith("Occupation Title")


def test_no_workbook_and_no_suite_file_makes_the_reader_fail(read: Read) -> None:
    for path in _files("excel/calamine/*", "csv-suites/csvkit/*", "csv-suites/csvlint/*"):
        outcome = read({path.name: path.read_bytes()})
        assert outcome.delivery.frames or outcome.delivery.refused, path.name
