"""Spark: its file stream over small files into one layer; the four layers of one big file."""

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

_COLUMNS = (
    "id STRING, customer STRING, product STRING, quantity STRING, price STRING, day STRING, note STRING"
)


def _session() -> SparkSession:
    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", "6g")
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "4")
    return builder.config("spark.sql.parquet.compression.codec", "zstd").getOrCreate()


def file_stream(source: str, target: str) -> float:
    """All CSV files of a folder through Structured Streaming into Parquet, with its checkpoint."""
    spark = _session()
    began = time.perf_counter()
    read = spark.readStream.schema(_COLUMNS).option("header", "true").csv(source)
    write = read.withColumn("_source_file", f.input_file_name()).writeStream.format("parquet")
    write = write.option("path", f"{target}/out").option("checkpointLocation", f"{target}/checkpoint")
    write.trigger(availableNow=True).start().awaitTermination()
    return time.perf_counter() - began


def four_layers(source: str, target: str) -> float:
    """One CSV to staged, bronze (types), silver (one row per id) and gold, each a Parquet folder."""
    spark = _session()
    began = time.perf_counter()
    staged, bronze, silver, gold = (
        str(Path(target) / name) for name in ("staged", "bronze", "silver", "out")
    )
    spark.read.schema(_COLUMNS).option("header", "true").csv(source).write.parquet(staged)
    typed = spark.read.parquet(staged)
    for column, kind in (("id", "bigint"), ("quantity", "bigint"), ("price", "double"), ("day", "date")):
        typed = typed.withColumn(column, f.col(column).cast(kind))
    typed.write.parquet(bronze)
    spark.read.parquet(bronze).dropDuplicates(["id"]).write.parquet(silver)
    spark.read.parquet(silver).withColumn("_layer", f.lit("gold")).write.parquet(gold)
    return time.perf_counter() - began


if __name__ == "__main__":
    print({"file_stream": file_stream, "four_layers": four_layers}[sys.argv[1]](*sys.argv[2:]))
