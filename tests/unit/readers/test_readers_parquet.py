"""Parquet and Arrow files that polars alone would read wrong, or not at all."""

import datetime as dt
import io
from struct import pack

import polars as pl
import pytest
from readers_support import Read

from daemon.footers import MAGIC, Struct, footer_bytes, unparse

_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12
_INT96 = 3
_JULIAN_1970 = 2_440_588


def _parquet(
    times: list[tuple[int, int]],
    *,
    rows: int | None = None,
    group_rows: int | None = None,
    values: tuple[int, object] | None = None,
) -> bytes:
    """A Parquet file with the one column `at` of INT96, as Spark writes it: days since 1970 and nanoseconds of the day.

    `rows`, `group_rows`, `values`: what the footer says of them, if that is not what they are.
    """
    count = len(times)
    data = b"".join(pack("<qI", nanoseconds, days + _JULIAN_1970) for days, nanoseconds in times)
    described: Struct = {1: (_I32, count), 2: (_I32, 0), 3: (_I32, 3), 4: (_I32, 3)}
    page = unparse({1: (_I32, 0), 2: (_I32, len(data)), 3: (_I32, len(data)), 5: (_STRUCT, described)}) + data
    meta: Struct = {
        1: (_I32, _INT96),
        2: (_LIST, (_I32, [0])),
        3: (_LIST, (_BINARY, [b"at"])),
        4: (_I32, 0),
        5: (_I64, count) if values is None else values,
        6: (_I64, len(page)),
        7: (_I64, len(page)),
        9: (_I64, len(MAGIC)),
    }
    group: Struct = {
        1: (_LIST, (_STRUCT, [{2: (_I64, len(MAGIC)), 3: (_STRUCT, meta)}])),
        2: (_I64, len(page)),
        3: (_I64, count if group_rows is None else group_rows),
    }
    footer: Struct = {
        1: (_I32, 1),
        2: (
            _LIST,
            (
                _STRUCT,
                [
                    {4: (_BINARY, b"root"), 5: (_I32, 1)},
                    {1: (_I32, _INT96), 3: (_I32, 0), 4: (_BINARY, b"at")},
                ],
            ),
        ),
        3: (_I64, count if rows is None else rows),
        4: (_LIST, (_STRUCT, [group])),
    }
    return MAGIC + page + footer_bytes(footer)


def test_old_timestamps_of_any_year_are_read_as_they_are(read: Read) -> None:
    far = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
    outcome = read({"spark.parquet": _parquet([(far, 3_600 * 10**9), (-719_162, 0), (0, 1_000)])})
    assert outcome.table["at"].cast(pl.String).to_list() == [
        "9999-12-31 01:00:00.000000",
        "0001-01-01 00:00:00.000000",
        "1970-01-01 00:00:00.000001",
    ]


def test_old_timestamps_keep_their_nanoseconds_where_all_fit(read: Read) -> None:
    outcome = read({"impala.parquet": _parquet([(19_000, 1), (0, 0)])})
    assert outcome.table["at"].dtype == pl.Datetime("ns")
    assert outcome.table["at"].to_physical().to_list() == [19_000 * 86_400 * 10**9 + 1, 0]


@pytest.mark.parametrize("days", [107_000_000, 213_600_000, 4_000_000_000])
def test_a_timestamp_that_no_type_can_hold_sets_its_file_aside(read: Read, days: int) -> None:
    outcome = read({"spark.parquet": _parquet([(days, 0)])})
    assert outcome.delivery.refused[0].reason == (
        "this Parquet file cannot be read: it holds a time after the year 294,000; write and send it anew"
    )


@pytest.mark.parametrize(
    "said", [{"rows": 0}, {"group_rows": 0}, {"rows": 0, "group_rows": 0}, {"rows": 3, "group_rows": 3}]
)
def test_a_file_whose_counts_contradict_each_other_is_set_aside(read: Read, said: dict[str, int]) -> None:
    counts = said.get("rows"), said.get("group_rows")
    outcome = read({"odd.parquet": _parquet([(0, 0), (1, 0)], rows=counts[0], group_rows=counts[1])})
    assert outcome.delivery.refused[0].reason.startswith(
        "this Parquet file cannot be read: its footer tells of "
    )


def test_a_footer_with_something_else_for_a_number_is_told_so(read: Read) -> None:
    outcome = read({"odd.parquet": _parquet([(0, 0)], values=(_TRUE, b""))})
    assert outcome.delivery.refused[0].reason == (
        "this Parquet file cannot be read: its footer holds something else where a number belongs; send it anew"
    )


def test_times_of_a_zone_that_polars_does_not_know_keep_their_instant(read: Read) -> None:
    written = io.BytesIO()
    times = pl.Series("at", [0, None]).cast(pl.Datetime("us", "Turkey"))
    frame = pl.DataFrame([times, pl.Series("within", [[0], None]).cast(pl.List(pl.Datetime("us", "Turkey")))])
    frame.write_ipc(written)
    outcome = read({"zoned.arrow": written.getvalue().replace(b"Turkey", b"+05:30")})
    assert outcome.table["at"].to_list() == [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), None]
    assert outcome.table.schema["within"] == pl.List(pl.Datetime("us", "UTC"))


@pytest.mark.parametrize("end", [b"PAR1", b"\xff\xff\xff\x7fPAR1", b"\x1c\x1c\x1c\x05\x00\x00\x00PAR1"])
def test_a_footer_that_is_none_sets_its_file_aside(read: Read, end: bytes) -> None:
    outcome = read({"damaged.parquet": b"PAR1" + end})
    assert outcome.delivery.refused[0].reason.startswith("this Parquet file cannot be read: ")
