"""The fixture `read`: see readers_support.py."""

from pathlib import Path

import pytest
from readers_support import Read, reader


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read files from their bytes, in this test's own folder."""
    return reader(tmp_path)
