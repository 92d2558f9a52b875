"""New ledgers for tests: each is a copy of one that was made once, as making its tables takes longer than most tests."""

import tempfile
from functools import cache
from pathlib import Path

from daemon.catalog.ledger.ledger import Ledger


def open_ledger(path: Path) -> Ledger:
    """The ledger at `path`, an empty one where there is none."""
    if not path.exists():
        path.write_bytes(_empty())
    return Ledger.open(path)


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.sqlite3")
        Ledger.open(path).close()
        return path.read_bytes()
