"""Fixtures of the command line's tests: a root as the daemon leaves it, and a way to call a command."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from cli_world import ORDERS, Root, Run, records
from typer.testing import CliRunner, Result

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.transition import Layer
from daemon.cli.main import app
from daemon.lake.layout import Layout


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    layout = Layout(tmp_path / "root")
    for folder in (layout.landing, layout.data, layout.contracts, layout.transforms):
        folder.mkdir(parents=True)
    ledger = Ledger.open(layout.ledger)
    yield Root(layout, ledger)
    ledger.close()


@pytest.fixture
def orders(root: Root) -> Root:
    """The root with `sales.orders`: one delivery of three rows, one of which was set aside on its way to
    bronze.
    """
    rows = pl.DataFrame({"order_id": [1, 2, 3], "amount": ["1.50", "2.50", "3.50"], "_source_row": [1, 2, 3]})
    root.claim(ORDERS, "sales/orders/jan.csv")
    root.climb(ORDERS, Layer.STAGED, rows)
    root.climb(ORDERS, Layer.BRONZE, rows[:2], records("sales/orders/jan.csv", 3))
    root.climb(ORDERS, Layer.SILVER, rows[:2])
    root.climb(ORDERS, Layer.GOLD, rows[:2])
    return root


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line: `run("status", root)` adds `--root`."""
    monkeypatch.delenv("MEDALLIOND_ROOT", raising=False)

    def call(*words: str | Root) -> Result:
        arguments = [word for word in words if isinstance(word, str)]
        for root in words:
            if isinstance(root, Root):
                arguments += ["--root", str(root.path)]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    return call
