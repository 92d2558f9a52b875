"""Small roots in four situations, what a daemon makes of each when nobody harms it, and the comparison with what it made.

Each scene is a root as it stands before a run of `drain`, in which every kind of durable step happens somewhere: a ledger
is made, files are claimed, set aside, found to be duplicates, replaced and undone, newer rows take older ones' places, a
model is made anew, generations go, and a crash is recovered from.
"""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torture.campaign import Report
from torture.shim import NO_FAULT, Action, Calls, Fault
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

    `meanwhile`: what else happens in it (a name of `corners.MEANWHILE`). `failing`: something is left that fails, by
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
class Outcome:
    """What one harmed run came to, held against the calm one."""

    records: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    hands: int = 0
    findings: list[str] = field(default_factory=list)

    def add_to(self, report: Report) -> None:
        """Count this run in."""
        report.records_in += self.records
        report.lost += len(self.lost)
        report.doubled += len(self.doubled)
        report.hands += self.hands
        report.findings += self.findings


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


def orders(number: int) -> str:
    """Twenty orders; some do not cast, fail a check or are dropped; most are newer versions of earlier ones."""
    chance = random.Random(number)
    lines = ["id,key,version,amount"]
    for row in range(20):
        amount = chance.choice(
            ["abc", "-1.00", *(f"{chance.randrange(1, 99999) / 100:.2f}" for _ in range(8))]
        )
        lines.append(f"T{number}-{row},k{chance.randrange(15)},{number * 100 + row},{amount}")
    return "\n".join(lines) + "\n"


def events(number: int) -> str:
    """Ten events, of which one has a field too few."""
    lines = ["id,code,text", *(f"T{number}-{row},{row:05},event {row} of {number}" for row in range(10))]
    lines[5] = f"T{number}-short"
    return "\n".join(lines) + "\n"


def drop(root: Path, name: str, content: str | bytes) -> None:
    """Put a file into landing by rename, as a careful sender does."""
    path = root / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = root / "dropping"
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    beside.rename(path)


def deliver(warm: Warm, root: Path, *numbers: int) -> None:
    """Carry orders to gold, one delivery after the other."""
    for number in numbers:
        drop(root, f"sales/orders/{number}.csv", orders(number))
        expect(warm.run(root, ["drain"], setup=SETUP), warm)


def _birth(_: Warm, root: Path) -> None:
    """Nothing was ever done here."""
    drop(root, "events/0.csv", events(0))
    drop(root, "kept/0.csv", "id,code\nT0,1\n")


def _arrival(warm: Warm, root: Path) -> None:
    """New deliveries for tables that have some: good, double, broken, with newer rows for older keys."""
    drop(root, "events/0.csv", events(0))
    drop(root, "sales/orders/1.csv", orders(1))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    drop(root, "events/2.csv", events(2))
    drop(root, "events/double.csv", events(0))
    drop(root, "events/broken.xlsx", b"PK\x03\x04" + bytes(range(256)))
    drop(root, "sales/orders/3.csv", orders(3))


def _changes(warm: Warm, root: Path) -> None:
    """A delivery is undone, another replaced, a third deleted once it is in gold; models follow."""
    drop(root, "sales/orders/1.csv", orders(1))
    drop(root, "prices/prices.csv", "id,price\na,1\nb,2\n")
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    drop(root, "sales/orders/3.csv", orders(3))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    ask(root, "undo", files=file_ids(root, "1.csv"))
    drop(root, "prices/prices.csv", "id,price\na,3\nc,4\n")
    drop(root, "gone/0.csv", "id,code\nT0,1\n")


def _recovery(warm: Warm, root: Path) -> None:
    """A daemon was killed as it was about to publish a rewritten silver file."""
    _arrival(warm, root)
    status = warm.run(root, ["drain"], setup=SETUP, fault=Fault(Action.KILL_DAEMON, 9, calls=Calls.RENAME))
    if status != -9:
        raise AssertionError(f"the kill that recovery starts from did not fire: {status}")


def ask(root: Path, act: str, table: str = "orders", **what: Any) -> None:
    """Ask for something to be done to a table of `sales`, as the commands of people do."""
    from daemon.catalog.identity import new_id
    from daemon.catalog.requests import Request
    from daemon.lake.layout import Layout
    from daemon.lake.requests import post

    request = {
        "request_id": new_id(),
        "act": act,
        "domain": "sales",
        "table": table,
        "asked_at": datetime.now(UTC),
    }
    post(Layout(root), Request.model_validate(request | what))


def looked_up(root: Path, sql: str) -> list[Any]:
    """The first column of what the ledger answers."""
    connection = sqlite3.connect(f"{(root / 'catalog/state.sqlite3').as_uri()}?mode=ro", uri=True)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return [row[0] for row in rows]


def file_ids(root: Path, name: str) -> tuple[int, ...]:
    """The ledger's numbers of the files dropped for sales.orders as `name`."""
    return tuple(looked_up(root, f"SELECT file_id FROM files WHERE name = 'sales/orders/{name}'"))  # noqa: S608 - our own names


SCENES = (
    Scene("arrival", _arrival),
    Scene("changes", _changes),
    Scene("recovery", _recovery),
    Scene("birth", _birth),
)
