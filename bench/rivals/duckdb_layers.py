"""DuckDB: the four layers of one big file by hand."""

import sys
import time
from pathlib import Path

import duckdb

_LAYERS = {
    "staged": "SELECT *, 'orders.csv' AS _source_file, row_number() OVER () AS _source_row "
    "FROM read_csv('{below}', all_varchar=true, header=true)",
    "bronze": "SELECT * REPLACE (id::BIGINT AS id, quantity::BIGINT AS quantity, price::DOUBLE AS price, day::DATE AS day) "
    "FROM '{below}'",
    "silver": "SELECT * FROM '{below}' QUALIFY row_number() OVER (PARTITION BY id ORDER BY _source_row) = 1",
    "out": "SELECT *, 'gold' AS _layer FROM '{below}'",
}


def four_layers(source: str, target: str) -> float:
    """Each layer one query and one zstd Parquet file, not synced; rows keep no order in silver."""
    began = time.perf_counter()
    below = source
    connection = duckdb.connect()
    for layer, query in _LAYERS.items():
        path = Path(target) / layer / f"{layer}.parquet"
        path.parent.mkdir()
        connection.execute(
            f"COPY ({query.format(below=below)}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )
        below = str(path)
    return time.perf_counter() - began


if __name__ == "__main__":
    print({"four_layers": four_layers}[sys.argv[1]](*sys.argv[2:]))
