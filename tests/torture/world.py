"""A root under attack: what was dropped into it, and the account of what became of every record.

Every record carries a token of its own (`id`), so the account needs no second run to compare with: each token must be
exactly once in gold, in quarantine, or in a file that was set aside or archived as a duplicate.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
from daemon_process import QUIET

from torture import broken
from torture.campaign import Outcome, Report

CONTRACT = """
bronze:
  cast: {amount: {type: decimal, precision: 12, scale: 2}}
silver:
  checks:
    - {name: positive, sql: "amount > 0", on_failure: quarantine}
gold:
  sql: "SELECT *, amount * 2 AS twice FROM silver"
"""
_TOKEN = re.compile(r"\bT\d{6}-\d{4}\b")


class World:
    """A root with two tables: `main.events` (no contract) and `sales.orders` (casts, a check, derived columns)."""

    def __init__(self, work: Path, breakage: str | None = None, root: Path | None = None) -> None:
        self.root = root or work / "root"
        self.outside = work / "outside"
        self.breakage = breakage
        self.dropped: dict[int, int] = {}
        (self.root / "landing/events").mkdir(parents=True)
        (self.root / "landing/sales/orders").mkdir(parents=True)
        contracts = self.root / "catalog/contracts/sales"
        contracts.mkdir(parents=True)
        (contracts / "orders.yaml").write_text(CONTRACT)
        self.outside.mkdir(exist_ok=True)

    def command(self, *words: str) -> list[str]:
        """A medalliond command line for this root and build."""
        module = "torture.broken" if self.breakage else "daemon"
        return [sys.executable, "-m", module, *words, "--root", str(self.root)]

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of a daemon of this build whose waits are short."""
        ours = {f"MEDALLIOND_{name.upper()}": value for name, value in settings.items()}
        return {**os.environ, **QUIET, **broken.environment(self.breakage), **ours}

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a medalliond command to its end."""
        return subprocess.run(
            self.command(*words),
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,  # for the proof of 200,000 files on a busy machine
        )

    def drop(self, number: int, rows: int = 20) -> Path:
        """Drop file `number` (under 1,000,000) by rename, as a careful sender does. Odd ones are orders, even ones events.

        Some of the orders do not cast, some fail the check.
        """
        name = f"{number:06}.csv"
        folder = self.root / "landing" / ("sales/orders" if number % 2 else "events")
        (self.outside / name).write_text(content(number, rows))
        self.dropped[number] = rows
        (self.outside / name).rename(folder / name)
        return folder / name

    def drain(self, report: Report, after: str, **settings: str) -> None:
        """Drain; that it does not end well is noted: a person would have to act."""
        drained = self.run("drain", **settings)
        if drained.returncode != 0:
            report.hands += 1
            report.findings.append(
                f"drain after {after} ended with {drained.returncode}: {drained.stdout[-1500:]}"
            )

    def settle(self, report: Report, after: str) -> None:
        """Drain, and account for every record."""
        self.drain(report, after)
        self.account().add_to(report)

    def account(self) -> Outcome:
        """What became of every record dropped so far, once a drain has ended; the root is proved by `verify` as well."""
        account = Outcome(records=sum(self.dropped.values()))
        try:
            found: Counter[str] = Counter(self.tokens())
        except duckdb.Error as error:
            account.findings.append(f"the tables cannot be read: {error}")
            return account
        for number, rows in self.dropped.items():
            for row in range(rows):
                token = f"T{number:06}-{row:04}"
                if found[token] == 0:
                    account.lost.append(token)
                elif found[token] > 1:
                    account.doubled.append(token)
        proof = self.run("verify", "--json")
        if proof.returncode != 0:
            account.findings.append(f"verify: {_problems(proof)}")
        return account

    def tokens(self) -> Iterator[str]:
        """The token of every record in gold and quarantine, and of those in files set aside or called duplicates."""
        for table in ("main/events", "sales/orders"):
            yield from column(f"{self.root}/data/gold/{table}/*.parquet", "id")
            for raw in column(f"{self.root}/data/quarantine/{table}/*.parquet", "raw"):
                yield from _TOKEN.findall(raw)
        for folder in ("quarantine", "archive"):
            for path in (self.root / "data" / folder).rglob("*.csv"):
                if folder == "quarantine" or path.parent.name == "duplicates":
                    yield from _TOKEN.findall(path.read_text())


def content(number: int, rows: int) -> str:
    """The text of file `number`."""
    chance = random.Random(number)
    lines = ["id,amount,note"]
    for row in range(rows):
        amount = chance.choice(
            ["abc", "-1.00", *(f"{chance.randrange(1, 99999) / 100:.2f}" for _ in range(10))]
        )
        lines.append(f"T{number:06}-{row:04},{amount},row {row} of file {number}")
    return "\n".join(lines) + "\n"


def column(glob: str, name: str) -> list[str]:
    """All values of a column, as text, in the Parquet files that `glob` (absolute) names.

    Where a living daemon replaces a file between the listing and the reading, they are listed again, as
    docs/on-disk-format.md tells readers of a folder to do. Raises duckdb.IOException for files that are there
    and cannot be read.
    """
    while files := sorted(str(path) for path in Path("/").glob(glob.lstrip("/"))):
        try:
            with duckdb.connect() as connection:  # lanes read side by side, which one connection refuses
                rows = connection.execute(
                    f"SELECT {name} FROM read_parquet($1, union_by_name=true)",  # noqa: S608 - our own names
                    [files],
                ).fetchall()
        except duckdb.IOException:
            if all(Path(file).exists() for file in files):
                raise
        else:
            return [str(row[0]) for row in rows]
    return []


def _problems(proof: subprocess.CompletedProcess[str]) -> str:
    try:
        problems = json.loads(proof.stdout)["problems"]
    except (ValueError, KeyError):
        return (proof.stdout + proof.stderr)[-2000:]
    return json.dumps(problems)[:2000]
