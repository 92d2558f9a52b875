"""Dropped files, and what was set aside of them, held against the ledger. Called by `audit.proof`."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from daemon.audit.findings import Problem, Report, difference, side_by_side
from daemon.audit.layers import removing
from daemon.catalog.ledger.inventory import DroppedFile, LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.lake.durable import TEMPORARY
from daemon.lake.layout import Layout
from daemon.lake.parquet import count_rows
from daemon.lake.set_aside import reason_path

_RESTORE = (
    "restore it from a backup, or have the sender deliver it again; the rows in the layers are not affected"
)
_WAITS = "restore it from a backup: its records are not in gold yet"


class SourceAudit:
    """Looks at landing/.claimed, data/archive and data/quarantine."""

    def __init__(self, layout: Layout, inventory: LedgerInventory, tell: Callable[[int], None]) -> None:
        self._layout = layout
        self._inventory = inventory
        self._tell = tell
        self._claimed: set[Path] = set()
        self._set_aside: set[Path] = set()
        self._counts: Counter[tuple[TableKey, str]] = Counter()

    def run(self, report: Report) -> None:
        """Add to `report` what is there and what is wrong."""
        report.problems.extend(side_by_side(self._look, self._dropped(report.checked)))
        report.problems.extend(self._miscounted())
        report.problems.extend(self._unknown_claims())
        report.problems.extend(self._quarantine(report.checked))

    def _dropped(self, checked: Counter[str]) -> Iterator[DroppedFile]:
        for file in self._inventory.dropped_files():
            if not file.at_rest:
                self._claimed.add(file.claimed_path)
            if file.state == "set_aside" and file.resting_path is not None:
                self._set_aside.update((file.resting_path, reason_path(file.resting_path)))
            if file.state in {"replayed", "discarded"} and not file.at_rest:  # about to leave quarantine
                self._set_aside.update((file.claimed_path, reason_path(file.claimed_path)))
            checked["dropped files"] += 1
            self._counts[file.key, file.state] += 1
            yield file

    def _miscounted(self) -> Iterator[Problem]:
        if self._inventory.file_counts() != self._counts:
            yield Problem(
                "totals",
                self._layout.relative(self._layout.ledger),
                "its counts of dropped files by state are not what its files say",
                "restore the ledger from a backup",
            )

    def _look(self, file: DroppedFile) -> list[Problem]:
        self._tell(file.size)
        # a claim that was cut short is put right at the next start; what was handed back belongs to people
        if file.state == "claiming" or file.is_kept or not file.places:
            return []
        problems = []
        differences = [difference(self._layout.root / place, file.size, file.sha256) for place in file.places]
        if None not in differences:
            next_step = _RESTORE if file.at_rest or file.state == "duplicate" else _WAITS
            problems.append(Problem("dropped file", str(file.places[-1]), differences[-1] or "", next_step))
        if file.at_rest and file.state == "set_aside" and file.resting_path is not None:
            reason = reason_path(self._layout.root / file.resting_path)
            if not reason.is_file():
                next_step = f"`medalliond lineage {file.batch_id}` still tells the reason"
                problems.append(
                    Problem("dropped file", self._layout.relative(reason), "is missing", next_step)
                )
        return problems

    def _unknown_claims(self) -> Iterator[Problem]:
        intended = {file.claimed_path for file in self._inventory.dropped_files() if file.state == "claiming"}
        for path in sorted((self._layout.landing / ".claimed").glob("*/*")):
            place = path.relative_to(self._layout.root)
            if place not in self._claimed and place not in intended:
                yield Problem(
                    "orphan",
                    str(place),
                    "is claimed by no batch of the ledger, so nothing will read it",
                    "move it into its table's folder in landing/",
                )

    def _quarantine(self, checked: Counter[str]) -> Iterator[Problem]:
        known = set()
        for name, rows in self._inventory.quarantine_files():
            known.add(Path(name))
            checked["quarantine files"] += 1
            found = _miscounted(self._layout.root / name, rows)
            if found is not None:
                next_step = "restore it from a backup; the records stand in the dropped files as well"
                yield Problem("quarantine", name, found, next_step)
        for path in sorted(self._layout.data.glob("quarantine/*/*/*")):
            place = path.relative_to(self._layout.root)
            if place in known or place in self._set_aside:
                continue
            if path.name.endswith(TEMPORARY):
                next_step = "`--repair` removes it"
                yield Problem("leftover", str(place), "was never finished", next_step, removing(path))
            elif not self._was_withdrawn(path):
                found = "is not in the ledger"
                yield Problem("orphan", str(place), found, "move it away: the daemon did not put it there")

    def _was_withdrawn(self, path: Path) -> bool:
        """Whether these are records of a batch that was split or set aside since, or whose hop is not committed yet."""
        batch = self._inventory.views.batch(path.name[:_ID])
        return batch is not None and batch["state"] in {"split", "set_aside", "open"}


_ID = len("019b8a00-0000-7000-8000-000000000000")


def _miscounted(path: Path, rows: int) -> str | None:
    if not os.path.lexists(path):
        return "is missing"
    try:
        found = count_rows(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        return f"cannot be read as Parquet: {error}"
    return None if found == rows else f"has {found} records, the ledger says {rows}"
