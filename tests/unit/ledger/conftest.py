"""The fixture of the ledger's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import World

from daemon.catalog.ledger.ledger import Ledger


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "state.sqlite3"
    ledger = Ledger.open(path)
    world = World(ledger, path)
    yield world
    world.ledger.close()
