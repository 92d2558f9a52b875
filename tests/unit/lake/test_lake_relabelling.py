"""A file under other labels holds the same rows, for whoever reads it."""

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from daemon.footers import footer_bytes, parse, read_footer
from daemon.lake.parquet import writing
from daemon.lake.relabelling import relabel

LABELS = pl.select(pl.lit(datetime(2026, 2, 3, tzinfo=UTC)).alias("at"), pl.lit("gold").alias("layer"))
VALUES = st.one_of(st.none(), st.text(max_size=300), st.sampled_from(["a", "b"]))


def write(lf: pl.LazyFrame, path: Path) -> None:
    lf.sink_parquet(path, compression="zstd", row_group_size=70, data_page_size=500)


def rows(values: list[str | None]) -> pl.DataFrame:
    number = pl.int_range(pl.len())
    return pl.DataFrame({"text": values}, schema={"text": pl.String}).select(
        "text",
        pl.lit(datetime(2025, 1, 1, tzinfo=UTC)).alias("at"),
        pl.when(number % 3 > 0).then(number).alias("number"),
        pl.lit(date(2026, 1, 1)).alias("day"),
        pl.struct(number.alias("a"), pl.concat_list(number, number + 1).alias("b")).alias("nested"),
        pl.lit("silver").alias("layer"),
    )


@settings(max_examples=25, deadline=None)
@given(values=st.lists(VALUES, max_size=9), times=st.integers(0, 60))
def test_the_rows_are_those_of_the_source_with_the_labels_in_their_place(
    tmp_path_factory: pytest.TempPathFactory, values: list[str | None], times: int
) -> None:
    folder = tmp_path_factory.mktemp("relabel")
    source, target = folder / "source.parquet", folder / "target.parquet"
    frame = rows(values * times)
    write(frame.lazy(), source)
    relabel(source, target, LABELS, write)
    expected = frame.with_columns(pl.lit(LABELS["at"][0]).alias("at"), pl.lit("gold").alias("layer"))
    assert_frame_equal(pl.read_parquet(target), expected)
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == []


def test_other_readers_find_pages_statistics_and_rows_where_the_footer_says(tmp_path: Path) -> None:
    source, target = tmp_path / "source.parquet", tmp_path / "target.parquet"
    write(rows([f"text {number % 40}" * 20 for number in range(1_000)]).lazy(), source)
    relabel(source, target, LABELS, write)
    query = "SELECT count(*), sum(number), count(number), min(layer), max(layer), sum(length(text)) FROM '{}'"
    before = duckdb.connect().execute(query.format(source)).fetchall()
    assert duckdb.connect().execute(query.format(target)).fetchall() == [
        (*before[0][:3], "gold", "gold", before[0][5])
    ]
    some = pl.scan_parquet(target).filter(pl.col("number") == 500).collect()
    assert some.select("number", "layer").rows() == [(500, "gold")]
    assert pl.scan_parquet(target).slice(333, 5).collect().rows() == pl.read_parquet(target)[333:338].rows()


def test_the_index_of_pages_tells_where_they_are_now(tmp_path: Path) -> None:
    source, target = tmp_path / "source.parquet", tmp_path / "target.parquet"
    write(rows([f"text {number}" * 9 for number in range(300)]).lazy(), source)
    relabel(source, target, LABELS, write)
    content = target.read_bytes()
    entries = [entry for group in read_footer(target)[4][1][1] for entry in group[1][1][1]]
    assert len(entries) > 20
    for entry in entries:
        begin, size = entry[4][1], entry[5][1]
        (first, *_) = parse(content[begin : begin + size])[1][1][1]
        assert (
            first[1][1] == entry[3][1][9][1]
        )  # the first page of the index is the first data page of the chunk


def test_a_footer_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(rows(["x"] * 500).lazy(), path)
    footer = footer_bytes(read_footer(path))
    assert path.read_bytes().endswith(footer)


def test_labels_of_another_type_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    write(rows(["x"]).lazy(), source)
    with pytest.raises(ValueError, match="not the type"):
        relabel(source, tmp_path / "target.parquet", pl.DataFrame({"number": ["one"]}), write)


def test_what_is_no_parquet_file_has_no_footer(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(ValueError, match="no Parquet footer"):
        read_footer(path)


def test_a_pending_file_counts_what_it_was_relabelled_with(tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    write(rows(["x"] * 150).lazy(), source)
    with writing(tmp_path / "final.parquet") as pending:
        assert pending.relabel(source, LABELS) == 150
        assert pending.publish("b", 150).rows == 150
    assert pl.read_parquet(tmp_path / "final.parquet")["layer"].unique().to_list() == ["gold"]
