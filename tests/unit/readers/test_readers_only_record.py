"""What is never lost without a word: a file's only record, and a file that is no table."""

from pathlib import Path

import polars as pl
import pytest

from daemon.catalog.contract import ReaderOptions
from daemon.readers import Source, read_delivery


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,,\n1,2,3\n", 1),
        ("name,,\nbob,rome,it\n", 1),
        ("a,,,\nb,,,\nc,d,e,f\n", 2),
        ("a,b\n1,2\n", 1),
    ],
)
def test_a_sparse_header_above_the_only_full_record_is_the_header(
    tmp_path: Path, text: str, rows: int
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    delivery = read_delivery([Source("in.csv", path)], ReaderOptions(), tmp_path)
    read = pl.concat(delivery.frames, how="diagonal").collect()
    assert read.height + len(delivery.damaged) == rows


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0" * 4096, "unreadable"),
        (b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>", "not_a_table"),
        (b"\n<TABLE border=1><tr><td>id</td></tr>\n<tr><td>1</td></tr></table>", "not_a_table"),
        (b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook/>', "not_a_table"),
        ('<?xml version="1.0" encoding="utf-16"?>\n<rows>\n</rows>'.encode("utf-16"), "not_a_table"),
        (b"{\\rtf1\\ansi id, name}", "not_a_table"),
    ],
)
def test_what_is_no_table_at_all_is_refused_with_a_reason(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    delivery = read_delivery([Source("in.csv", path)], ReaderOptions(), tmp_path)
    assert [refusal.kind for refusal in delivery.refused] == [kind]


def test_columns_named_in_angle_brackets_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("<TICKER>,<DATE>,<CLOSE>\nA,20240102,1.5\nA,20240103,1.6\n")
    delivery = read_delivery([Source("in.csv", path)], ReaderOptions(), tmp_path)
    assert [frame.collect_schema().names()[:3] for frame in delivery.frames] == [
        ["<TICKER>", "<DATE>", "<CLOSE>"]
    ]
