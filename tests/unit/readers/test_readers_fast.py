"""Clean delimited files: every value stays the text it was, and the proof notices what polars would not."""

import csv
import io
import re
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers_support import Read

from daemon.catalog.contract import ReaderOptions
from daemon.readers import Source, read_delivery
from daemon.readers import glance as glances
from daemon.readers.delivery import Proof
from daemon.readers.glance import delimiters_in, glance
from daemon.readers.structure import has_line, measure


def test_every_value_stays_the_text_it_was(read: Read) -> None:
    outcome = read(b'code,rate,note\n00123,1e5,NA\n00010.00,, x \n"","a""b","1,5"\n')
    assert outcome.rows == [("00123", "1e5", "NA"), ("00010.00", "", " x "), ("", 'a"b', "1,5")]
    assert outcome.numbers == [1, 2, 3]


def test_files_of_one_header_share_one_scan_and_count_their_own_rows(read: Read) -> None:
    outcome = read({"d/one.csv": b"a,b\n1,2\n3,4\n", "two*.csv": b"a,b\n5,6\n", "empty.csv": b"a,b\n"})
    assert len(outcome.delivery.frames) == 1
    assert outcome.table.rows() == [
        ("1", "2", "d/one.csv", 1),
        ("3", "4", "d/one.csv", 2),
        ("5", "6", "two*.csv", 1),
    ]


def test_files_of_other_headers_stand_under_the_union_of_the_columns(read: Read) -> None:
    outcome = read({"one.csv": b"a,b\n1,2\n", "two.csv": b"a,c\n3,4\n"})
    assert outcome.columns == ["a", "b", "c"]
    assert outcome.rows == [("1", "2", None), ("3", None, "4")]


def test_a_file_that_begins_alike_but_is_written_otherwise_is_read_as_it_is_written(read: Read) -> None:
    outcome = read({"one.csv": b"a,b\n1,2\n", "two.csv": b'a,b\n3,"4\r\n5"\n', "three.csv": b"a,b\n6,7\n8\n"})
    assert outcome.rows == [("1", "2"), ("3", "4\r\n5"), ("6", "7")]
    assert [record.source for record in outcome.damaged] == ["three.csv"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_quoted_line_end_is_part_of_its_value(read: Read, end: bytes) -> None:
    outcome = read(b"a,b" + end + b'1,"x' + end + b'y"' + end + b"2,z" + end)
    assert outcome.rows == [("1", f"x{end.decode()}y"), ("2", "z")]
    assert outcome.numbers == [1, 2]


def test_a_file_with_only_a_header_keeps_its_columns(read: Read) -> None:
    outcome = read(b"a,b,c\n")
    assert outcome.columns == ["a", "b", "c"]
    assert outcome.rows == []


def test_the_last_line_needs_no_line_end(read: Read) -> None:
    assert read(b"a,b\n1,2\n3,4").rows == [("1", "2"), ("3", "4")]


def test_the_fast_reading_and_the_careful_one_agree(read: Read) -> None:
    content = b'id,text\n1,"a,b"\n2,"say ""hi"""\n3,\n4,"x\ny"\n'
    assert read(content).rows == read(content, careful=True).rows


def test_header_names_are_trimmed_never_empty_and_never_twice(read: Read) -> None:
    outcome = read("\ufeff\u00a0id ,,id,id_2,_source_file\n1,2,3,4,5\n".encode())
    assert outcome.table.columns[:5] == ["id", "column_2", "id_3", "id_2", "_source_file_2"]
    assert outcome.delivery.headers["in.csv"] == ("\u00a0id ", "", "id", "id_2", "_source_file")


def test_the_header_is_kept_only_where_it_differs_from_the_columns(read: Read) -> None:
    assert read(b"a,b\n1,2\n").delivery.headers == {}


def test_a_proof_fails_when_a_row_was_lost_or_padded() -> None:
    assert Proof(3, records=3, delimiters=6).holds_for(3)
    assert not Proof(3, records=3, delimiters=6).holds_for(2)


def test_a_source_that_was_not_written_whole_is_unproved(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n3,4\n")
    delivery = read_delivery([Source("a.csv", path)], ReaderOptions(), tmp_path)
    written = pl.concat(delivery.frames).collect()
    assert delivery.unproved(written.lazy(), {"a.csv": 2}) == frozenset()
    assert delivery.unproved(written.head(1).lazy(), {"a.csv": 1}) == {"a.csv"}
    assert delivery.unproved(written.head(0).lazy(), {}) == {"a.csv"}


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n1,"2\n3,4\n',
        b'a,b\n1,x"y\n',
        b'a,b\n1,"x"y\n',
        b"a,b\n1\r,2\n",
        b"a,b\r1,2\r",
        b"a,b\n\0,1\n",
    ],
    ids=["open quote", "stray quote", "text after a quote", "lone CR", "CR only", "NUL"],
)
def test_bytes_that_polars_may_read_wrong_are_trouble(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert measure(path, b",", b'"', 1).trouble
    assert glance(path, b",", b'"', 1).trouble


@pytest.mark.parametrize("block", [1, 2, 1 << 20])
@pytest.mark.parametrize("delimiter", [b",", b""])
@settings(max_examples=50, deadline=None)
@given(content=st.text('a",\n\r\0é', max_size=12).map(str.encode))
def test_the_glance_and_the_counting_agree_on_every_file(
    block: int, delimiter: bytes, content: bytes
) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patched:
        patched.setattr(glances, "_BLOCK", block)
        patched.setattr(glances._Looking, "_ends_a_record", lambda *_: True)
        path = Path(file.name)
        path.write_bytes(content)
        counted = measure(path, delimiter, b'"', 0)
        seen = glance(path, delimiter, b'"', 0)
        delimiters = delimiters_in(path, delimiter, 0) if delimiter else 0
    if not seen.trouble:
        assert not counted.trouble
        cells = [cell for record in _records(content, delimiter) for cell in record]
        within = sum(cell.count(delimiter.decode()) for cell in cells) if delimiter else 0
        assert delimiters - within == counted.delimiters
        assert seen.quoted == (b'"' in content)
    elif not counted.trouble:  # the glance does not ask whether these stand within quotes
        assert b"\r" in content.replace(b"\r\n", b"") or (not delimiter and re.search(rb"\n\r?\n", content))


def _records(content: bytes, delimiter: bytes) -> list[list[str]]:
    return list(
        csv.reader(
            io.StringIO(content.decode(), newline=""), delimiter=delimiter.decode() or "\x01", strict=True
        )
    )


def test_a_quote_that_stays_open_for_long_is_told_before_polars_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glances, "_BLOCK", 16)
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,"x"\n' + b"2,y\n" * 50)
    assert glance(path, b",", b'"', 1) == ("", True)
    path.write_bytes(b'a,b\n1,"x\n' + b"2,y\n" * 50)
    assert glance(path, b",", b'"', 1).trouble == "a record that does not end"


@pytest.mark.parametrize("content", [b"1,\xff\n", b'1,"\xff"\n', b'"1",2\xc3\n'])
def test_a_large_file_that_is_no_utf8_is_not_read_as_if_it_were(
    read: Read, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("daemon.readers.fast._COUNTED_BELOW", 10)
    whole = b"a,b\n" + b'1,"2"\n' * 20 + content
    assert read(whole).rows == read(whole, careful=True).rows


def test_counting_goes_on_over_chunks_and_quoted_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.readers.structure._CHUNK", 16)
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" + b'1,"x\n,\n""y"\n' * 50 + b"2,3\n" * 50)
    found = measure(path, b",", b'"', 1)
    assert (found.trouble, found.lines, found.delimiters) == ("", 100, 100)


@pytest.mark.parametrize("damage", [b"3\n", b'3,x"y\n', b'3,"x"y\n', b'"3",4,"5"\n', b'"3"\n'])
@pytest.mark.parametrize("row", [b"1,2\n", b'1,"2"\n', b'"1",\n', b"1,\n"])
def test_a_large_file_is_proved_by_what_was_written(
    read: Read, monkeypatch: pytest.MonkeyPatch, row: bytes, damage: bytes
) -> None:
    monkeypatch.setattr("daemon.readers.fast._COUNTED_BELOW", 10)
    outcome = read({"a.csv": b"a,b\n" + row * 20, "b.csv": b"a,b\n" + row * 20 + damage + row})
    assert outcome.table["_source_file"].value_counts().sort("_source_file").rows() == [
        ("a.csv", 20),
        ("b.csv", 21),
    ]
    assert outcome.table.filter(pl.col("_source_file") == "a.csv")["_source_row"].to_list() == [*range(1, 21)]
    assert [record.raw for record in outcome.damaged] == [damage.decode().strip()]


def test_a_table_of_one_column_is_read(read: Read) -> None:
    outcome = read(b"name\nalpha\nbeta\n")
    assert (outcome.columns, outcome.rows) == (["name"], [("alpha",), ("beta",)])


def test_where_the_table_begins_in_one_file_says_nothing_about_another_that_begins_alike(read: Read) -> None:
    header = b"name,size,weight\n"
    units = header + b"unit,m,kg\n" + b"".join(b"u%d,%d,%d\n" % (n, n, n) for n in range(9))
    plain = header + b"".join(b"p%d,%d,%d\n" % (n, n, n) for n in range(9))
    outcome = read({"units.csv": units, "plain.csv": plain})
    rows = outcome.table.filter(pl.col("_source_file") == "plain.csv")
    assert rows["name"].to_list() == [f"p{number}" for number in range(9)]


@given(chunk=st.text("a,\r\n", max_size=9).map(str.encode), line=st.text("a,", max_size=2).map(str.encode))
def test_a_line_is_found_wherever_it_stands_and_however_it_ends(chunk: bytes, line: bytes) -> None:
    lines = [found.removesuffix(b"\r") for found in re.sub(rb"\n\Z", b"", chunk).split(b"\n")]
    assert has_line(chunk, line) == (bool(line) and line in lines)
