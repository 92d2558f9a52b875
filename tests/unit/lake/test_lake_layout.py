"""Where things lie."""

from datetime import date
from pathlib import Path

import pytest

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout


def test_the_layout_is_the_one_on_the_page_of_the_disk_format(layout: Layout, key: TableKey) -> None:
    shown = [
        layout.landing,
        layout.claimed("b1"),
        layout.layer_link(Layer.GOLD, key),
        layout.generation(Layer.GOLD, key, 3),
        layout.archive(key, date(2026, 3, 1)),
        layout.quarantine(key),
        layout.lineage,
        layout.tables,
        layout.contracts,
        layout.transforms,
        layout.ledger,
        layout.lock,
    ]
    assert [layout.relative(path) for path in shown] == [
        "landing",
        "landing/.claimed/b1",
        "data/gold/sales/orders",
        "data/.generations/gold/sales/orders/3",
        "data/archive/sales/orders/2026-03-01",
        "data/quarantine/sales/orders",
        "catalog/lineage",
        "catalog/tables",
        "catalog/contracts",
        "catalog/transforms",
        "catalog/state.sqlite3",
        "catalog/daemon.lock",
    ]


def test_a_path_outside_the_root_has_no_relative_name(layout: Layout) -> None:
    with pytest.raises(ValueError, match="etc"):
        layout.relative(Path("/etc"))
