"""Sound files of every format, made by our own code from a `random.Random`.

Used by the campaign `hostile`. Every record of a seed holds a token that no damage makes of another one.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import polars as pl
import zstandard

_WORDS = ("alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper")
_ODD = (
    "x, y",
    'a "word" in it',
    "two\nlines",
    "semi; colon",
    "tab\there",
    "pipe|d",
    "né à Köln",
    "",
    "=1+1",
    "00123",
)


@dataclass(frozen=True)
class Table:
    """What a seed says: the names of its columns and its rows, all text; the first column is the token."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Seed:
    """A sound file. `suffix` is how its name ends, `delimiter` and `quoted` how delimited text is written.

    `vouched`: checksums vouch for every byte of its content, so that damage may cost the file but change no value.
    """

    kind: str
    suffix: str
    table: Table
    content: bytes
    delimiter: str = ""
    quoted: bool = False
    vouched: bool = False


def a_table(chance: random.Random, *, odd: bool) -> Table:
    """A table of 2 to 7 columns and 3 to 40 rows; `odd` cells hold quotes, delimiters and line ends."""
    makers: list[tuple[str, Callable[[], str]]] = [
        ("amount", lambda: f"{chance.randrange(10**6) / 100:.2f}"),
        (
            "day",
            lambda: f"20{chance.randrange(10, 30)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
        ),
        ("note", lambda: chance.choice(_ODD) if odd and chance.random() < 0.3 else chance.choice(_WORDS)),
        ("code", lambda: f"{chance.randrange(10**5):05}"),
        ("place", lambda: f"{chance.choice(_WORDS)} {chance.randrange(90)}"),
        ("flag", lambda: chance.choice(["true", "false"])),
    ]
    columns = chance.sample(makers, chance.randrange(1, len(makers) + 1))
    rows = tuple(
        (f"K{chance.getrandbits(40):010X}", *(make() for _, make in columns))
        for _ in range(chance.randrange(3, 41))
    )
    return Table(("key", *(name for name, _ in columns)), rows)


def a_seed(kind: str, chance: random.Random) -> Seed:
    """A sound file of this kind."""
    return _SEEDS[kind](chance)


def _csv(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    delimiter = chance.choice([",", ",", ";", "\t", "|"])
    quoted = chance.random() < 0.3
    end = chance.choice(["\n", "\n", "\r\n"])
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL,
    )
    writer.writerows([table.header, *table.rows])
    content = text.getvalue().encode()
    if chance.random() < 0.2:
        content = b"\xef\xbb\xbf" + content
    if chance.random() < 0.2:
        content = content.removesuffix(end.encode())
    return Seed("csv", ".csv", table, content, delimiter, quoted)


def _records(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def _json(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    value: object = _records(table)
    if chance.random() < 0.3:
        value = {"records": value, "count": len(table.rows)}
    return Seed("json", ".json", table, json.dumps(value, indent=chance.choice([None, 1])).encode())


def _ndjson(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    lines = (json.dumps(record, ensure_ascii=chance.random() < 0.5) for record in _records(table))
    return Seed("ndjson", ".ndjson", table, "".join(f"{line}\n" for line in lines).encode())


def _frame(table: Table) -> pl.DataFrame:
    return pl.DataFrame(list(table.rows), schema=dict.fromkeys(table.header, pl.String), orient="row")


_PARQUET: tuple[Literal["zstd", "snappy", "uncompressed", "gzip", "lz4"], ...] = (
    "zstd",
    "snappy",
    "uncompressed",
    "gzip",
    "lz4",
)


def _parquet(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    frame = _frame(table)
    if "amount" in table.header:
        frame = frame.with_columns(pl.col("amount").cast(pl.Float64))
    target = io.BytesIO()
    compression = chance.choice(_PARQUET)
    frame.write_parquet(target, compression=compression, row_group_size=chance.choice([5, 1000]))
    return Seed("parquet", ".parquet", table, target.getvalue())


def _arrow(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    target = io.BytesIO()
    _frame(table).write_ipc(target, compression=chance.choice(["uncompressed", "lz4", "zstd"]))
    return Seed("arrow", ".arrow", table, target.getvalue())


def _avro(chance: random.Random) -> Seed:
    table = a_table(chance, odd=True)
    target = io.BytesIO()
    _frame(table).write_avro(target, compression=chance.choice(["uncompressed", "snappy", "deflate"]))
    return Seed("avro", ".avro", table, target.getvalue())


def zipped(parts: dict[str, bytes], *, packed: bool = True) -> bytes:
    """A zip archive of `parts`."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return target.getvalue()


_OFFICE = "http://schemas.openxmlformats.org"


def xlsx_parts(table: Table, *, shared: bool) -> dict[str, bytes]:
    """The parts of a workbook with one sheet; its texts `shared` in a table of their own, or in the cells."""
    texts: dict[str, int] = {}

    def cell(column: int, row: int, text: str) -> str:
        place = f"{chr(ord('A') + column)}{row}"
        if not shared:
            return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'
        return f'<c r="{place}" t="s"><v>{texts.setdefault(text, len(texts))}</v></c>'

    rows = "".join(
        f'<row r="{number}">{"".join(cell(column, number, text) for column, text in enumerate(row) if text)}</row>'
        for number, row in enumerate([table.header, *table.rows], 1)
    )
    main = f'xmlns="{_OFFICE}/spreadsheetml/2006/main"'
    links = f"{_OFFICE}/officeDocument/2006/relationships"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    strings = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_OFFICE}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kinds}.sharedStrings+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{links}"><sheets><sheet name="Data" sheetId="1" r:id="rId1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{links}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{links}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {main}>{strings}</sst>",
    }
    return {name: f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode() for name, text in parts.items()}


def ods_parts(table: Table) -> dict[str, bytes]:
    """The parts of an OpenDocument sheet."""
    spaces = "urn:oasis:names:tc:opendocument:xmlns"
    rows = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{escape(text)}</text:p></table:table-cell>'
            for text in row
        )
        + "</table:table-row>"
        for row in [table.header, *table.rows]
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return {
        "mimetype": kind.encode(),
        "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{spaces}:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'.encode(),
        "content.xml": f'<office:document-content xmlns:office="{spaces}:office:1.0" xmlns:table="{spaces}:table:1.0" '
        f'xmlns:text="{spaces}:text:1.0"><office:body><office:spreadsheet><table:table table:name="Data">{rows}'
        "</table:table></office:spreadsheet></office:body></office:document-content>".encode(),
    }


def _xlsx(chance: random.Random) -> Seed:
    table = a_table(chance, odd=False)
    return Seed("xlsx", ".xlsx", table, zipped(xlsx_parts(table, shared=chance.random() < 0.7)), vouched=True)


def _ods(chance: random.Random) -> Seed:
    table = a_table(chance, odd=False)
    return Seed("ods", ".ods", table, zipped(ods_parts(table)), vouched=True)


def _packed(kind: str, pack: Callable[[bytes], bytes]) -> Callable[[random.Random], Seed]:
    def make(chance: random.Random) -> Seed:
        inner = _csv(chance)
        suffix = ".zip" if kind == "zip" else f".csv.{kind}"
        return replace(inner, kind=kind, suffix=suffix, content=pack(inner.content), vouched=True)

    return make


_SEEDS: dict[str, Callable[[random.Random], Seed]] = {
    "csv": _csv,
    "json": _json,
    "ndjson": _ndjson,
    "parquet": _parquet,
    "arrow": _arrow,
    "avro": _avro,
    "xlsx": _xlsx,
    "ods": _ods,
    "zip": _packed("zip", lambda content: zipped({"in/table.csv": content})),
    "gz": _packed("gz", lambda content: gzip.compress(content, mtime=0)),
    "bz2": _packed("bz2", bz2.compress),
    "xz": _packed("xz", lzma.compress),
    "zst": _packed("zst", zstandard.ZstdCompressor(write_checksum=True).compress),
}
KINDS = tuple(_SEEDS)
"""The kinds of `a_seed`."""


def found_seeds(folder: str | None) -> dict[str, list[Path]]:
    """Real files below `folder`, as further seeds, by kind; none where there is no such folder."""
    kinds = {
        ".csv": "csv",
        ".json": "json",
        ".parquet": "parquet",
        ".xlsx": "xlsx",
        ".xls": "xls",
        ".ods": "ods",
    }
    found: dict[str, list[Path]] = {}
    for here, _, names in os.walk(folder or os.devnull):
        for name in sorted(names):
            path = Path(here, name)
            if path.suffix in kinds and path.stat().st_size < 200_000:
                found.setdefault(kinds[path.suffix], []).append(path)
    return {kind: sorted(paths) for kind, paths in found.items()}
