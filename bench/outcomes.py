"""Real files that nobody here wrote through the real daemon: what became of each, and why.

`python -m bench.outcomes CORPUS`: CORPUS holds the folders named in `SUITES`. Every file goes into a table of its own.
Prints the outcomes by suite, keeps every file's in bench/results/outcomes.json, and returns 1 when something must not
be: a broken JSON that was accepted, a file of csv-spectrum not read exactly, a code of NOC 2021 lost.
"""

import csv
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.common import keep
from bench.through import Outcome, through_daemon

SUITES = (
    "csv-suites/csv-spectrum",
    "csv-suites/csvkit",
    "csv-suites/csvlint",
    "csv-suites/duckdb",
    "json",
    "excel/calamine",
    "excel/workbc",
    "parquet",
    "noc2021",
)
_NOC_CODES = 822
_PROSE = {".md", ".txt", ".rst"}


def main(corpus: Path) -> int:
    """Run it."""
    rows: list[dict[str, object]] = []
    each: dict[str, dict[str, str]] = {}
    problems: list[str] = []
    reasons: Counter[str] = Counter()
    for suite in SUITES:
        files = {
            str(path.relative_to(corpus)): path
            for path in sorted((corpus / suite).rglob("*"))
            if path.is_file() and path.suffix not in _PROSE
        }
        with tempfile.TemporaryDirectory(prefix="medalliond-outcomes-") as folder:
            outcomes = through_daemon(files, Path(folder) / "root")
        counts = Counter(_kind(outcome) for outcome in outcomes.values())
        rows.append({"suite": suite, "files": len(files), **{kind: counts[kind] for kind in _KINDS}})
        told = {name: _told(outcome) for name, outcome in outcomes.items()}
        reasons.update(map(_kind_of_reason, told.values()))
        each[suite] = {name: text for name, text in told.items() if not text.startswith("read whole")}
        problems += _forbidden(suite, corpus, outcomes)
    keep(
        "outcomes",
        rows,
        {"problems": problems, "reasons": dict(reasons.most_common()), "not read whole": each},
    )
    return int(bool(problems))


_KINDS = ("read whole", "read, with records set aside", "read, with a warning", "set aside", "waits")


def _kind(outcome: Outcome) -> str:
    if outcome.state == "waits":
        return "waits"
    if outcome.state != "ingested":
        return "set aside"
    if outcome.quarantined:
        return "read, with records set aside"
    return "read, with a warning" if outcome.has_warning else "read whole"


def _told(outcome: Outcome) -> str:
    """Everything a person is told of a file."""
    rows = f"{len(outcome.rows)} rows"
    aside = Counter(rule for _, rule in outcome.quarantined)
    rules = f", {sum(aside.values())} set aside ({', '.join(sorted(aside))})" if aside else ""
    return (
        f"{_kind(outcome)}: {outcome.kind}: {outcome.reason}"
        if outcome.reason
        else f"{_kind(outcome)}: {rows}{rules}; {outcome.note}"
    )


def _kind_of_reason(told: str) -> str:
    parts = told.split(": ")
    return f"{parts[0]}: {parts[1]}" if parts[0] in {"set aside", "waits"} else parts[0]


def _forbidden(suite: str, corpus: Path, outcomes: dict[str, Outcome]) -> list[str]:
    problems = []
    for name, outcome in outcomes.items():
        stem = Path(name).name
        if suite == "json" and stem.startswith("n_") and outcome.rows:
            problems.append(f"{name}: broken JSON was accepted")
        if suite == "csv-suites/csv-spectrum" and [outcome.header, *outcome.rows] != _table(corpus / name):
            problems.append(f"{name}: not read exactly")
    if suite == "noc2021":
        structure = outcomes["noc2021/noc_2021_version_1.0_-_classification_structure.csv"]
        place = next(place for place, name in enumerate(structure.header) if name.startswith("Code"))
        codes = {row[place] for row in structure.rows}
        if len(codes) != _NOC_CODES:
            problems.append(f"noc2021: {len(codes)} distinct codes, not {_NOC_CODES}")
    return problems


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file) if row]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
