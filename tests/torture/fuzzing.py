"""Damaged files through the readers and the staged layer, many in a batch as in the daemon, in worker processes.

Used by the campaign `hostile`; `fuzz` runs in a worker of the daemon's own pool, under its limits of time and memory.
"""

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from daemon.catalog.promotion import ClaimedFile, TableKey
from daemon.catalog.transition import Layer

SOURCES = Path("data/.fuzz")
GROUP = 20
"""So many damaged copies of one seed make a batch."""


@dataclass(frozen=True)
class Task:
    """Groups `first` to `last` (left out) of a kind. `whole`: instead, one seed cut off at every length.

    `only`: of the copies in each group, the one in this place.
    """

    kind: str
    seed: int
    first: int
    last: int
    folder: Path
    found: tuple[Path, ...] = ()
    whole: bool = False
    only: int | None = None


@dataclass
class Tally:
    """What came of a task."""

    planned: int = 0
    files: int = 0
    lost: int = 0
    doubled: int = 0
    told: int = 0
    refused: int = 0
    with_damage: int = 0
    records: int = 0
    aside: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def refuse(self, kind: str, reason: str) -> str | None:
        """Count a file that was set aside; returns why a person would not understand the reason, or None."""
        from torture.oracle import unreadable_reason

        self.files += 1
        self.refused += 1
        self.kinds[kind] += 1
        return unreadable_reason(reason)

    def add(self, other: "Tally") -> None:
        """Take in what another task gave."""
        self.planned += other.planned
        self.files += other.files
        self.lost += other.lost
        self.doubled += other.doubled
        self.told += other.told
        self.refused += other.refused
        self.with_damage += other.with_damage
        self.records += other.records
        self.aside += other.aside
        self.kinds += other.kinds
        self.findings += other.findings


def fuzz(task: Task) -> Tally:
    """Damage files and judge what becomes of them."""
    if "TORTURE_BREAKAGE" in os.environ:
        import torture.broken  # noqa: F401 - a broken build is asked for
    tally = Tally()
    for number in range(task.first, task.last):
        group = _Group(task, number, tally)
        if task.whole and not group.copies:
            break
        group.run()
    return tally


class _Group:
    """Damaged copies of one seed, promoted together."""

    def __init__(self, task: Task, number: int, tally: Tally) -> None:
        from torture import mutations, seeds

        self._task = task
        self._tally = tally
        self._name = f"{task.kind} group {number} of seed {task.seed}"
        chance = random.Random(f"{task.seed}-{task.kind}-{'' if task.whole else number}")
        if task.found and number % 2 and not task.whole:
            path = chance.choice(task.found)
            empty = seeds.Table((), ())
            self._seed = seeds.Seed("found", path.suffix, empty, path.read_bytes())
            self._name += f" ({path.name})"
        else:
            self._seed = seeds.a_seed(task.kind, chance)
        content = self._seed.content
        if task.whole:
            start = number * GROUP + 1
            copies = [content[:size] for size in range(start, min(start + GROUP, len(content)))]
        else:
            within = task.kind in ("xlsx", "ods") and content.startswith(b"PK") and chance.random() < 0.5
            damage = mutations.damage_within if within else mutations.damage
            copies = [damage(content, chance) for _ in range(GROUP)]
            if within:
                self._seed = replace(self._seed, kind="within", vouched=False)
        distinct = dict.fromkeys(copy for copy in copies if copy and copy != content)
        self.copies = {
            f"{place:03}{self._seed.suffix}": copy
            for place, copy in enumerate(distinct)
            if task.only in (None, place)
        }

    def run(self) -> None:
        """Promote the copies, and judge."""
        self._tally.planned += len(self.copies)
        if self.copies:
            self._promote(list(self.copies))

    def _promote(self, names: Sequence[str]) -> None:
        """Promote some of the copies; like the daemon, each alone when the batch as a whole is refused."""
        from daemon.errors import RejectDataError

        root = Path(tempfile.mkdtemp(dir=self._task.folder))
        try:
            self._judge(names, *self._staged(names, root))
        except RejectDataError as error:
            if len(names) > 1:
                for name in names:
                    self._promote([name])
            else:
                self._refused(names[0], error.kind, error.reason)
        except BaseException as error:  # noqa: BLE001 - nothing else may come out of a promotion
            if len(names) > 1:
                for name in names:
                    self._promote([name])
            else:
                self._tally.files += 1
                self._find(names[0], f"raises {type(error).__name__}: {str(error)[:300]}")
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _staged(self, names: Sequence[str], root: Path) -> tuple["StagedResult", Path]:  # type: ignore[name-defined]  # noqa: F821
        from daemon.lake.generations import ensure_generation
        from daemon.lake.layout import Layout
        from daemon.pipeline.results import Place
        from daemon.pipeline.staged import StagedLayer

        layout, key = Layout(root), TableKey("main", "fuzz")
        ensure_generation(layout, Layer.STAGED, key, 1)
        place = Place(layout, key, Layer.STAGED, "B", 1, datetime.now(UTC), "B.parquet")
        files = []
        for number, name in enumerate(names):
            path = root / f"{number}.dat"
            path.write_bytes(self.copies[name])
            facts = path.stat()
            files.append(ClaimedFile(number, name, path, facts.st_size, facts.st_mtime_ns))
        return StagedLayer().promote(files, place), place.quarantine_path

    def _judge(self, names: Sequence[str], staged: "StagedResult", quarantine: Path) -> None:  # type: ignore[name-defined]  # noqa: F821
        import polars as pl

        from torture.oracle import TOLD, Read, Row, faults

        rows: dict[str, list[Row]] = {name: [] for name in names}
        aside: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
        if staged.layer.path is not None:
            told = self._seed.vouched or self._seed.kind in ("csv", "json", "ndjson")
            wanted = None if told else ["_source_file", "_source_row"]  # of other kinds any type may come
            for record in pl.read_parquet(staged.layer.path, glob=False, columns=wanted).iter_rows(
                named=True
            ):
                name, number = record["_source_file"].partition("!")[0], record["_source_row"]
                values = {
                    key: str(value) for key, value in record.items() if key not in _OURS and value is not None
                }
                rows[name].append(Row(number, values))
        if quarantine.exists():
            for record in pl.read_parquet(quarantine, glob=False).iter_rows(named=True):
                aside[record["_source_file"].partition("!")[0]].append((record["_source_row"], record["raw"]))
        for name, outcome in zip(names, staged.files, strict=True):
            if outcome.fate == "set_aside":
                self._refused(name, outcome.kind or "", (outcome.reason or "").removeprefix(f"{name}: "))
                continue
            self._tally.files += 1
            read = Read(rows[name], aside[name], staged.notes.get(name, ""))
            if outcome.rows != len(read.rows) + len(read.aside):
                self._find(
                    name, f"{outcome.rows} records are told, {len(read.rows) + len(read.aside)} are there"
                )
            self._tally.records += outcome.rows
            self._tally.aside += len(read.aside)
            self._tally.with_damage += bool(read.aside)
            for fault in faults(self._seed, self.copies[name], read):
                if fault.startswith(TOLD):
                    self._tally.told += 1
                else:
                    self._find(name, f"{fault} (notes: {read.notes})")

    def _refused(self, name: str, kind: str, reason: str) -> None:
        trouble = self._tally.refuse(kind, reason)
        if trouble:
            self._find(name, f"nobody understands its reason ({trouble}): {reason}")

    def _find(self, name: str, what: str) -> None:
        self._tally.lost += what.startswith("lost")
        self._tally.doubled += what.startswith("doubled")
        self._tally.findings.append(f"{self._name}, {name}: {what}")
        if "TORTURE_KEEP" in os.environ:
            folder = Path(os.environ["TORTURE_KEEP"])
            folder.mkdir(exist_ok=True)
            label = f"{self._task.kind}-{len(list(folder.iterdir())):04}"
            (folder / f"{label}{self._seed.suffix}").write_bytes(self.copies[name])
            (folder / f"{label}.txt").write_text(what)
            (folder / f"{label}.seed").write_bytes(self._seed.content)


_OURS = frozenset({"_source_file", "_source_row", "_ingested_at", "_batch_id", "_layer"})
