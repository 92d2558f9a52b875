"""dlt: the CSV files of a folder into one layer of Parquet files."""

import sys
import time

import dlt
from dlt.sources.filesystem import filesystem, read_csv


def one_layer(source: str, target: str) -> float:
    """Extract, normalize, load."""
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{target}/pipelines",
        destination=dlt.destinations.filesystem(bucket_url=f"file://{target}/out"),
        dataset_name="staged",
    )
    began = time.perf_counter()
    files = filesystem(bucket_url=f"file://{source}", file_glob="*.csv")
    pipeline.run((files | read_csv(dtype=str)).with_name("orders"), loader_file_format="parquet")
    return time.perf_counter() - began


if __name__ == "__main__":
    print({"one_layer": one_layer}[sys.argv[1]](*sys.argv[2:]))
