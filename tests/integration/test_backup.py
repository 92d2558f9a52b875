"""Backups taken under load: each is a root that proves, and one that is carried on ends where the original ends."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from daemon_process import drain, medalliond, running, wait_for
from test_kill import drop, prepare, quarantined, rows

ROUNDS = 3
ROUND_FILES = 10


def tool(root: Path, *words: str) -> dict[str, Any]:
    """The answer of a command in JSON."""
    found: dict[str, Any] = json.loads(medalliond(root, *words, "--json"))
    return found


def taken(root: Path) -> set[str]:
    """The last parts of the names of the files that a root's ledger has taken."""
    with sqlite3.connect(root / "catalog/state.sqlite3") as connection:
        names = connection.execute(
            "SELECT name FROM files WHERE state NOT IN ('claiming', 'vanished')"
        ).fetchall()
    connection.close()
    return {Path(name).name for (name,) in names}


@pytest.mark.timeout(120)
def test_a_backup_under_load_proves_and_carried_on_ends_as_the_original(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    prepare(root)
    backups = [tmp_path / f"backup{number}" for number in range(ROUNDS)]
    with running(root) as daemon:
        for number, backup in enumerate(backups):
            drop(root, outside, iter(range(number * ROUND_FILES, (number + 1) * ROUND_FILES)))
            if number:  # the first one may be of a root that has taken nothing yet
                wait_for(lambda: taken(root), 30, daemon.log_path.read_text)
            tool(root, "backup", str(backup))
        assert daemon.stop() == 0
    assert drain(root) == 0
    for backup in backups:
        assert tool(backup, "verify")["proved"], backup
    assert tool(root, "verify")["proved"]
    carried_on = backups[ROUNDS // 2]
    had = taken(carried_on)
    for source in sorted(outside.iterdir()):
        if source.name not in had:
            folder = "landing/sales/orders" if int(source.stem) % 2 else "landing/events"
            (carried_on / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, carried_on / folder / source.name)
    assert 0 < len(had) < ROUNDS * ROUND_FILES
    assert drain(carried_on) == 0
    assert tool(carried_on, "verify")["proved"]
    for table in ("sales/orders", "main/events"):
        assert rows(carried_on, table).equals(rows(root, table)), table
    assert quarantined(carried_on).equals(quarantined(root))
