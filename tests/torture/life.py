"""Scenes that are lived through: what a daemon makes of a small root when nobody harms it, held against what it made.

The scenes themselves are in `scenes` and `corners`.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torture.campaign import Outcome
from torture.shim import NO_FAULT, Fault
from torture.warm import Warm

SETUP = {
    "MEDALLIOND_SETTLE": "0.02",
    "MEDALLIOND_SWEEP_INTERVAL": "1",
    "MEDALLIOND_WORKERS": "1",
    "MEDALLIOND_RETRY_BASE": "0.05",
    "MEDALLIOND_RETRY_CAP": "30",
    "MEDALLIOND_GENERATION_GRACE": "0",
    "MEDALLIOND_INCOMPLETE_WAIT": "0",
    "MEDALLIOND_LOG_FORMAT": "json",
}
"""Short waits, and the grace of old generations over at once, so that their removal is part of every run."""

MEANWHILE_IS = "TORTURE_MEANWHILE"
"""The environment says what happens at one of the fail-points (points.py), once."""

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

LEFT_FOR_LATER = {"MEDALLIOND_RETRY_BASE": "20"}
"""A first wait so long that a drain does not stay for it."""

_CONTRACTS = {
    "sales/orders": """
bronze:
  cast: {version: int64, amount: {type: decimal, precision: 12, scale: 2}}
silver:
  checks:
    - {name: positive, sql: "amount > 0", on_failure: quarantine}
    - {name: wanted, sql: "version % 7 <> 0", on_failure: drop}
  dedup: {keys: [key], keep: last, order_by: [version]}
gold:
  sql: "SELECT *, amount * 2 AS twice FROM silver"
""",
    "sales/by_key": """
model:
  sql: "SELECT key, count(*) AS orders, sum(amount) AS total FROM gold.sales.orders GROUP BY 1 ORDER BY 1"
""",
    "main/prices": "landing: {revisions: replace}\nbronze: {cast: {price: int64}}\n",
    "main/kept": "landing: {archive: keep}\n",
    "main/gone": "landing: {archive: delete}\n",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A root before a run, how it was made, and the run: a command, a fault that belongs to it, more of its environment.

    `meanwhile`: what else happens in it (a name of `meanwhile.MEANWHILE`). `failing`: something is left that fails, by
    itself, so that a drain says 3. `until`: when a `run` is asked to stop.
    """

    name: str
    prepare: Callable[[Warm, Path], None]
    words: tuple[str, ...] = ("drain",)
    fault: Fault = NO_FAULT
    setup: Mapping[str, str] = field(default_factory=dict)
    meanwhile: str = ""
    failing: bool = False
    until: Callable[[Path], bool] | None = None


@dataclass(slots=True)
class Life:
    """A scene ready to be lived through again and again: its root, and the state that a calm run leaves."""

    scene: Scene
    template: Path
    calm: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def prepare(cls, scene: Scene, warm: Warm, work: Path, root: Path) -> "Life":
        """Make the scene's root below `work`, and learn, in `root`, what a run nobody harms makes of it."""
        template = work / f"template-{scene.name}"
        (template / "landing").mkdir(parents=True)
        for table, text in _CONTRACTS.items():
            path = template / f"catalog/contracts/{table}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        scene.prepare(warm, template)
        life = cls(scene, template)
        life.begin(root)
        life.run(warm, root)
        life.expect(warm.run(root, ["drain"], setup={**SETUP, **scene.setup}), warm)
        life.calm = warm.call("torture.life:state", str(root))
        if life.calm["problems"]:
            raise AssertionError(f"a calm run of {scene.name} is not in order: {life.calm['problems']}")
        return life

    def run(self, warm: Warm, root: Path, setup: Mapping[str, str] | None = None) -> int:
        """The scene's run, with the fault that belongs to it, and returns its exit status."""
        scene = self.scene
        return warm.run(
            root,
            scene.words,
            setup={**SETUP, **scene.setup, MEANWHILE_IS: scene.meanwhile, **(setup or {})},
            fault=scene.fault,
            meanwhile=stopping(root, scene.until) if scene.until else lambda _: None,
        )

    def expect(self, status: int, warm: Warm) -> None:
        """A drain that nobody harms ends as the scene says, or the campaign itself is wrong."""
        expect(status, warm, 3 if self.scene.failing else 0)

    def begin(self, root: Path) -> Path:
        """A fresh copy of the scene's root."""
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.template), str(root)], check=True)
        return root

    def judge(self, warm: Warm, root: Path, status: int, what: str) -> Outcome:
        """Hold a root, after a drain that ended with `status`, against the calm one."""
        outcome = Outcome(records=sum(map(len, self.calm.values())) - len(self.calm["problems"]))
        if status != (3 if self.scene.failing else 0):
            outcome.hands = 1
            outcome.findings.append(
                f"{what}: the drain after it ended with {status}: {warm.log.read_text()[-1500:]}"
            )
        found: dict[str, list[str]] = warm.call("torture.life:state", str(root))
        for name in {*self.calm, *found} - {"problems"}:
            before, after = Counter(self.calm.get(name, ())), Counter(found.get(name, ()))
            outcome.lost += [f"{name}: {record}" for record in (before - after).elements()]
            outcome.doubled += [f"{name}: {record}" for record in (after - before).elements()]
        if outcome.lost or outcome.doubled:
            outcome.findings.append(f"{what}: lost {outcome.lost[:3]}, too many {outcome.doubled[:3]}")
        outcome.findings += [f"{what}: {problem}" for problem in found["problems"]]
        return outcome


def stopping(root: Path, until: Callable[[Path], bool]) -> Callable[[int], None]:
    """What asks a daemon, by its id, to stop as soon as something is true of its root."""

    def stop(pid: int) -> None:
        with suppress(ProcessLookupError):  # it was killed meanwhile
            while not until(root):
                time.sleep(0.02)
                os.kill(pid, 0)
            os.kill(pid, signal.SIGTERM)

    return stop


def expect(status: int, warm: Warm, wanted: int = 0) -> None:
    """A run that nobody harms ends well, or the campaign itself is wrong."""
    if status != wanted:
        raise AssertionError(f"a calm run ended with {status}: {warm.log.read_text()[-3000:]}")


def state(root_name: str) -> dict[str, list[str]]:
    """What a root holds, as text, without what differs from run to run; and what is not in order. Runs in a fork."""
    root = Path(root_name)
    found: dict[str, list[str]] = {}
    for link in sorted(root.glob("data/gold/*/*")):
        without = {"_ingested_at", "_batch_id"} | ({"_source_row"} if link.name == "by_key" else set())
        found[f"gold {link.parent.name}.{link.name}"] = _rows(link, without)
    for aside in sorted(root.glob("data/quarantine/*/*")):
        found[f"quarantine {aside.parent.name}.{aside.name}"] = _rows(aside, {"_batch_id"})
    for folder in ("archive", "quarantine"):
        found[folder] = [
            f"{path.parent.name if path.parent.name == 'duplicates' else ''}/{path.name.split('-')[-1]}"
            for path in (root / "data" / folder).rglob("*")
            if path.is_file() and path.suffix in {".csv", ".xlsx", ".json"}
        ]
    found["landing"] = [
        _ID.sub("*", str(path.relative_to(root))) for path in (root / "landing").rglob("*") if path.is_file()
    ]
    found["problems"] = _problems(root)
    return found


def _rows(folder: Path, without: set[str]) -> list[str]:
    import polars as pl

    rows = []
    for path in folder.glob("*.parquet"):
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            rows.append(f"{path.name} cannot be read: {error}")
            continue
        rows += [str(row) for row in frame.drop(*without & set(frame.columns)).rows()]
    return sorted(rows)


def _problems(root: Path) -> list[str]:
    """What `verify` would say, and what was never finished."""
    from daemon.audit.proof import prove
    from daemon.catalog.ledger.inventory import LedgerInventory
    from daemon.lake.layout import Layout

    layout = Layout(root)
    with LedgerInventory.open(layout.ledger) as inventory:
        report = prove(layout, inventory, lambda _: None)
    problems = [f"{problem.check} {problem.path} {problem.found}" for problem in report.problems]
    for folder in ("data", "catalog", "landing"):
        problems += [f"left over: {path.relative_to(root)}" for path in (root / folder).rglob("*.tmp")]
    return problems
