"""The Pollock data-loading benchmark through the real daemon, which is told nothing about the files.

`python -m bench.pollock CORPUS SCORER`: CORPUS holds csv/, clean/ and weights.json, SCORER is pollock_score.py (it needs
python-dateutil and price-parser). Prints the simple (of 10) and the weighted score, and of every file one of: exact;
exact less the damaged row (which is in quarantine); set aside with a reason; wrong with a warning; silently wrong.
Returns 1 when any is silently wrong.
"""

import csv
import importlib.util
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType

from bench.common import keep
from bench.through import Outcome, through_daemon

EXACT, LESS, ASIDE, WARNED, SILENT = (
    "exact",
    "exact less the damaged row",
    "set aside with a reason",
    "wrong with a warning",
    "silently wrong",
)


def main(corpus: Path, scorer: Path) -> int:
    """Run it."""
    files = {path.name: path for path in sorted((corpus / "csv").iterdir())}
    with tempfile.TemporaryDirectory(prefix="medalliond-pollock-") as folder:
        work = Path(folder)
        outcomes = through_daemon(files, work / "root")
        loaded = work / "loaded"
        loaded.mkdir()
        for name, outcome in outcomes.items():
            _write(loaded / f"{name}_converted.csv", outcome)
        scores = _load(scorer)
        rows = scores.score_dir(str(corpus / "clean"), str(loaded), sorted(files))
        weights = json.loads((corpus / "weights.json").read_text())
        means = scores.aggregate(rows, {name: weights.get(name, 1) for name in files})
    verdicts = {name: verdict(outcome, _table(corpus / "clean" / name)) for name, outcome in outcomes.items()}
    counts = Counter(verdicts.values())
    keep(
        "pollock",
        [{"outcome": kind, "files": counts[kind]} for kind in (EXACT, LESS, ASIDE, WARNED, SILENT)],
        {
            "simple score": round(means["simple"], 4),
            "weighted score": round(means["weighted"], 4),
            "not exact": {
                name: f"{found}: {outcomes[name].reason or outcomes[name].note}"
                for name, found in sorted(verdicts.items())
                if found not in {EXACT, LESS}
            },
        },
    )
    return int(bool(counts[SILENT]))


def verdict(outcome: Outcome, clean: list[list[str]]) -> str:
    """Hold what was loaded against what a perfect loader reads."""
    if outcome.state in {"set_aside", "waits"}:
        return ASIDE
    told_no_header = "no header" in outcome.note
    header_is_right = told_no_header or outcome.header == clean[0]
    truth = Counter(tuple(row) for row in (clean if told_no_header else clean[1:]))
    read = Counter(tuple(row) for row in outcome.rows)
    lost = sum((truth - read).values())
    if header_is_right and read == truth:
        return EXACT
    if header_is_right and not read - truth and lost <= len(outcome.quarantined):
        return LESS
    return WARNED if outcome.has_warning else SILENT


def _write(path: Path, outcome: Outcome) -> None:
    """What was loaded, as the scorer wants it."""
    if outcome.state != "ingested":
        path.write_text("Application Error\n")
        return
    header = (
        [] if "no header" in outcome.note else [outcome.header]
    )  # names that we made up are no cells of the file
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([*header, *outcome.rows])


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.reader(file) if row]


def _load(scorer: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pollock_score", scorer)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(scorer)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
