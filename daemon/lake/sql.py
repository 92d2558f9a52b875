"""DuckDB over layer files, reading only: `gold.sales.orders`, or `gold.orders` where one domain alone has that table.

Each layer is an attached in-memory database, each domain a schema of it, each table a view over pinned files.
Used by gold models (pipeline) and by the command `query`.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout

LAYERS = (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)


class LayerView(NamedTuple):
    """A table of a layer, as the files that make it up (at least one)."""

    layer: Layer
    key: TableKey
    paths: Sequence[Path]


@contextmanager
def open_views(layout: Layout, views: Sequence[LayerView]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows `views` and can read no file outside data/, nor reach the network.

    DuckDB lets an allowed folder be written to as well: whoever takes SQL from people refuses all but reading it.
    What does not fit into memory goes to a folder that is removed at the end. Raises duckdb.Error.
    """
    with tempfile.TemporaryDirectory(prefix="medalliond-sql-") as spill, duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        connection.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {quoted(spill)}")
        connection.execute(f"SET allowed_directories = [{quoted(layout.data.resolve())}]")
        for layer in LAYERS:
            connection.execute(f"ATTACH ':memory:' AS {layer}")
        names = Counter((view.layer, view.key.table) for view in views)
        for view in views:
            _create(connection, view, short=names[view.layer, view.key.table] == 1)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection


def _create(connection: duckdb.DuckDBPyConnection, view: LayerView, *, short: bool) -> None:
    files = ", ".join(quoted(path) for path in view.paths)
    schema, name = f"{view.layer}.{_identifier(view.key.domain)}", _identifier(view.key.table)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    connection.execute(f"CREATE VIEW {schema}.{name} AS FROM read_parquet([{files}], union_by_name = true)")
    if short and view.key.domain != "main":  # to DuckDB, gold.orders is gold.main.orders
        connection.execute(f"CREATE VIEW {view.layer}.main.{name} AS FROM {schema}.{name}")


def quoted(text: Path | str) -> str:
    """A text or path as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
