"""Fixtures of the command line's tests: a root as the daemon leaves it, and a way to call a command."""

import itertools
import shutil
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


def opened(path: Path) -> Root:
    """A root there, made where there is none."""
    layout = Layout(path)
    for folder in (layout.landing, layout.data, layout.contracts, layout.transforms):
        folder.mkdir(parents=True, exist_ok=True)
    return Root(layout, Ledger.open(layout.ledger))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    root = opened(tmp_path / "root")
    yield root
    root.ledger.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A root with `sales.orders`: one delivery of three rows, one of which was set aside on its way to
    bronze.
    """
    root = opened(tmp_path_factory.mktemp("orders") / "root")
    rows = pl.DataFrame({"order_id": [1, 2, 3], "amount": ["1.50", "2.50", "3.50"], "_source_row": [1, 2, 3]})
    root.claim(ORDERS, "sales/orders/jan.csv")
    root.climb(ORDERS, Layer.STAGED, rows)
    root.climb(ORDERS, Layer.BRONZE, rows[:2], records("sales/orders/jan.csv", 3))
    root.climb(ORDERS, Layer.SILVER, rows[:2])
    root.climb(ORDERS, Layer.GOLD, rows[:2])
    root.ledger.close()
    return root


@pytest.fixture
def orders(template: Root, tmp_path: Path) -> Iterator[Root]:
    """A copy of that root."""
    shutil.copytree(template.path, tmp_path / "root", symlinks=True)
    root = opened(tmp_path / "root")
    root.numbers = itertools.count(100)
    yield root
    root.ledger.close()


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
