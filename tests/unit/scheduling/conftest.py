"""The chain on paper, for every test of scheduling."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from paper import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.refinery.close()
