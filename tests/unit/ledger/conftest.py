"""The fixture of the ledger's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import World
from ledgers import open_ledger


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "state.sqlite3"
    world = World(open_ledger(path), path)
    yield world
    world.ledger.close()
