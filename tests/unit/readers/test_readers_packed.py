"""Packed files by content: streams are unpacked, archives member by member, bombs and damage refused."""

import bz2
import gzip
import io
import lzma
import zipfile
from datetime import date
from decimal import Decimal

import fastavro
import polars as pl
import pytest
import zstandard
from readers_support import Read
from workbooks import workbook

_CSV = b"a,b\n1,2\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_read_under_its_own_name(read: Read, pack: object) -> None:
    outcome = read({"in.csv.packed": pack(_CSV)})  # type: ignore[operator]
    assert outcome.table.rows() == [("1", "2", "in.csv.packed", 1)]


def test_the_members_of_an_archive_are_files_of_the_delivery(read: Read) -> None:
    packed = _zipped(
        {
            "x/one.csv": _CSV,
            "two.json": b'[{"a": 3}]',
            "__MACOSX/._two": b"x",
            "inner.zip": _zipped({"three.csv": _CSV}),
        }
    )
    outcome = read({"all.zip": packed})
    assert outcome.table["_source_file"].to_list() == [
        "all.zip!x/one.csv",
        "all.zip!inner.zip!three.csv",
        "all.zip!two.json",
    ]


def test_a_member_that_cannot_be_read_is_refused_alone(read: Read) -> None:
    outcome = read({"all.zip": _zipped({"good.csv": _CSV, "bad.csv": b""})})
    assert outcome.rows == [("1", "2")]
    assert outcome.refusal.source == "all.zip!bad.csv"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_that_is_cut_short_is_refused(read: Read, pack: object) -> None:
    content: bytes = pack(_CSV * 1000)  # type: ignore[operator]
    assert read({"in.csv": content[: len(content) // 2]}).refusal.kind in ("incomplete", "unreadable")


def test_a_zip_without_its_directory_is_incomplete(read: Read) -> None:
    assert read({"all.zip": _zipped({"a.csv": _CSV * 1000})[:-30]}).refusal.kind == "incomplete"


def test_an_archive_with_nothing_in_it_is_empty(read: Read) -> None:
    assert read({"all.zip": _zipped({})}).refusal.kind == "empty"


def test_a_bomb_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.readers.compressed._ALWAYS_ALLOWED_BYTES", 100)
    monkeypatch.setattr("daemon.readers.compressed.MOST_TIMES_LARGER", 10)
    refusal = read({"in.csv.gz": gzip.compress(b"a" * 100_000)}).refusal
    assert refusal.kind == "too_large"


def _columnar(kind: str) -> bytes:
    frame = pl.DataFrame({"n": [1, 2], "_source_file": ["x", "y"]})
    buffer = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(buffer)
    elif kind == "arrow":
        frame.write_ipc(buffer)
    elif kind == "arrow stream":
        frame.write_ipc_stream(buffer)
    else:
        frame.write_avro(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow stream", "avro"])
@pytest.mark.parametrize("careful", [False, True])
def test_files_with_types_keep_them(read: Read, kind: str, careful: bool) -> None:  # noqa: FBT001 - a parameter of the test
    outcome = read({"in.bin": _columnar(kind)}, careful=careful)
    assert outcome.table.rows() == [(1, "x", "in.bin", 1), (2, "y", "in.bin", 2)]
    assert outcome.table.columns == ["n", "_source_file_2", "_source_file", "_source_row"]
    assert outcome.table.schema["n"] == pl.Int64


@pytest.mark.parametrize("kind", ["parquet", "arrow", "avro"])
def test_a_file_with_types_that_is_cut_short_is_incomplete(read: Read, kind: str) -> None:
    refusal = read({"in.bin": _columnar(kind)[:-20]}).refusal
    assert refusal.kind == "incomplete"
    assert "cut short" in refusal.reason


def test_an_encrypted_parquet_file_is_refused_as_such(read: Read) -> None:
    assert read({"in.parquet": b"PARE" + bytes(60) + b"PARE"}).refusal.kind == "encrypted"


def test_avro_whose_length_is_damaged_is_cut_short_and_no_want_of_memory(read: Read) -> None:
    target = io.BytesIO()
    schema = {"type": "record", "name": "row", "fields": [{"name": "id", "type": "long"}]}
    fastavro.writer(target, schema, [{"id": 1}, {"id": 2}])
    content = target.getvalue()
    head = content.index(content[-16:]) + 16  # the marker that ends the head ends every block
    exabyte = b"\x80\x80\x80\x80\x80\x80\x80\x80\x20"
    refusal = read({"in.avro": content[: head + 1] + exabyte + content[head + 2 :]}).refusal
    assert refusal.kind == "incomplete"


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_avro_of_every_codec_and_type_is_read(read: Read, codec: str) -> None:
    fields = {
        "id": "long",
        "price": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        "day": ["null", {"type": "int", "logicalType": "date"}],
        "kind": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]},
        "either": ["null", "string", "long"],
        "place": {"type": "record", "name": "Place", "fields": [{"name": "city", "type": "string"}]},
        "tags": {"type": "map", "values": "int"},
    }
    schema = {
        "type": "record",
        "name": "Order",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }
    record = {"id": 1, "price": Decimal("12.50"), "day": date(2024, 1, 2), "kind": "B", "either": 7}
    nothing = {"day": None, "either": "x"}
    nested = {"place": {"city": "Köln"}, "tags": {"a": 1}}
    target = io.BytesIO()
    fastavro.writer(target, schema, [record | nested, record | nested | nothing], codec=codec)
    outcome = read({"in.avro": target.getvalue()})
    assert outcome.rows == [
        (1, Decimal("12.50"), date(2024, 1, 2), "B", "7", '{"city": "Köln"}', '{"a": 1}'),
        (1, Decimal("12.50"), None, "B", "x", '{"city": "Köln"}', '{"a": 1}'),
    ]


def test_a_parquet_file_with_a_damaged_page_is_refused(read: Read) -> None:
    content = bytearray(_columnar("parquet"))
    content[8:60] = bytes(52)
    assert read({"in.parquet": bytes(content)}).refusal.kind == "unreadable"


def test_an_archive_named_as_careful_has_its_members_read_carefully(read: Read) -> None:
    outcome = read({"all.zip": _zipped({"a.csv": _CSV})}, careful=True)
    assert "record by record" in outcome.delivery.notes["all.zip!a.csv"]


def test_a_zip_archive_whose_directory_breaks_off_is_damaged(read: Read) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n")
        archive.writestr("b.csv", "a,b\n3,4\n")
    content = packed.getvalue()
    comment = content.index(b"PK\x01\x02") + 32
    outcome = read({"two.zip": content[:comment] + b"\xff" + content[comment + 1 :]})
    assert outcome.refusal.kind == "incomplete"
    assert outcome.rows == []


def test_a_zip_archive_whose_directory_points_nowhere_is_damaged_and_not_the_machine_at_fault(
    read: Read,
) -> None:
    packed = bytearray(_zipped({"in.csv": _CSV}))
    end = packed.index(b"PK\x05\x06")
    packed[end + 16 : end + 20] = b"\xff\xff\xff\x7f"  # where the directory begins
    refusal = read({"in.zip": bytes(packed)}).refusal
    assert (refusal.kind, refusal.reason) == ("unreadable", "this zip file is damaged; send it again")


def test_a_member_without_a_name_is_read(read: Read) -> None:
    packed = _zipped({"??.csv": _CSV}).replace(b"??.csv", b"\0?.csv")  # a name ends at its first NUL
    assert read({"in.zip": packed}).rows == [("1", "2")]


def test_a_zip_archive_of_an_unknown_version_is_refused(read: Read) -> None:
    packed = bytearray(_zipped({"in.csv": _CSV}))
    packed[packed.index(b"PK\x01\x02") + 6] = 99  # the version that is needed to read it
    assert read({"in.zip": bytes(packed)}).refusal.kind == "unreadable"


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("in.csv", workbook({"S": [["a", "b"], [1, 2]]}), "its name ends in .csv, its content is a workbook"),
        ("in.xls", _CSV, "its name ends in .xls, its content is delimited text"),
        ("in.json.gz", gzip.compress(_columnar("parquet")), "its name ends in .json, its content is Parquet"),
        ("in.csv", gzip.compress(_CSV), "its name ends in .csv, its content is gzip"),
    ],
    ids=["workbook", "text", "parquet", "gzip"],
)
def test_a_name_that_ends_as_another_format_does_is_noted_and_does_not_matter(
    read: Read, name: str, content: bytes, note: str
) -> None:
    outcome = read({name: content})
    assert outcome.table.height > 0
    assert outcome.delivery.notes[name].startswith(note)


def test_a_name_that_ends_as_it_should_is_not_noted(read: Read) -> None:
    outcome = read({"in.csv.gz": gzip.compress(_CSV), "in.txt": _CSV, "in": _CSV})
    assert not any("its name" in note for note in outcome.delivery.notes.values())
