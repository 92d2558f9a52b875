"""DuckDB over layer files, reading only: `gold.sales.orders`, or `gold.orders` where one domain alone has that table.

Each layer is an attached in-memory database, each domain a schema of it, each table a view over pinned files.
DuckDB may read below data/ and nothing else. Used by gold models (pipeline).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout


class LayerView(NamedTuple):
    """A table of a layer, as the files that make it up (at least one)."""

    layer: Layer
    key: TableKey
    paths: Sequence[Path]


@contextmanager
def open_views(layout: Layout, views: Sequence[LayerView]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows `views` and can reach no other file, nor the network."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"SET allowed_directories = [{_text(str(layout.data))}]")
        connection.execute("SET enable_external_access = false")
        counts = Counter((view.layer, view.key.table) for view in views)
        for layer in {view.layer for view in views}:
            connection.execute(f"ATTACH ':memory:' AS {layer}")
        for view in views:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {view.layer}.{_name(view.key.domain)}")
            _create(connection, f"{view.layer}.{_name(view.key.domain)}.{_name(view.key.table)}", view.paths)
            if counts[view.layer, view.key.table] == 1 and view.key.domain != "main":
                _create(connection, f"{view.layer}.main.{_name(view.key.table)}", view.paths)
        connection.execute("SET lock_configuration = true")
        yield connection


def _create(connection: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> None:
    files = ", ".join(_text(str(path)) for path in paths)
    view = f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{files}], union_by_name = true)"  # noqa: S608 - quoted
    connection.execute(view)


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
