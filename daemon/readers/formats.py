"""What a file is, by its first bytes; the extension is only a tie-break. Used by `read_delivery`."""

import zipfile
from enum import Enum
from pathlib import Path, PurePath

from daemon.readers.text import wide_encoding

HEAD = 1 << 12


class Kind(Enum):
    """The sort of content; the packed sorts are unpacked and looked at again."""

    EMPTY = "empty"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZ2 = "bz2"
    XZ = "xz"
    ZIP = "zip"
    PARQUET = "Parquet"
    ARROW = "Arrow IPC"
    ARROW_STREAM = "Arrow IPC stream"
    AVRO = "Avro"
    EXCEL = "excel"
    JSON = "json"
    TEXT = "text"
    OTHER = "other"


COMPRESSED = frozenset({Kind.GZIP, Kind.ZSTD, Kind.BZ2, Kind.XZ})

_MAGIC = (
    (b"\x1f\x8b", Kind.GZIP),
    (b"\x28\xb5\x2f\xfd", Kind.ZSTD),
    (b"BZh", Kind.BZ2),
    (b"\xfd7zXZ\x00", Kind.XZ),
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"PAR1", Kind.PARQUET),
    (b"PARE", Kind.PARQUET),
    (b"ARROW1", Kind.ARROW),
    (b"\xff\xff\xff\xff", Kind.ARROW_STREAM),
    (b"Obj\x01", Kind.AVRO),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.EXCEL),
    (b"%PDF-", Kind.OTHER),
    (b"\x89PNG", Kind.OTHER),
    (b"\xff\xd8\xff", Kind.OTHER),
    (b"GIF8", Kind.OTHER),
    (b"\x7fELF", Kind.OTHER),
    (b"SQLite format 3\x00", Kind.OTHER),
    (b"7z\xbc\xaf\x27\x1c", Kind.OTHER),
    (b"Rar!", Kind.OTHER),
)
_WORKBOOKS = dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), (Kind.EXCEL,))
_ENDINGS: dict[str, tuple[Kind, ...]] = {
    **_WORKBOOKS,
    ".csv": (Kind.TEXT,),
    ".tsv": (Kind.TEXT,),
    ".json": (Kind.JSON,),
    ".ndjson": (Kind.JSON,),
    ".jsonl": (Kind.JSON,),
    ".parquet": (Kind.PARQUET,),
    ".arrow": (Kind.ARROW, Kind.ARROW_STREAM),
    ".feather": (Kind.ARROW,),
    ".avro": (Kind.AVRO,),
    ".gz": (Kind.GZIP,),
    ".zst": (Kind.ZSTD,),
    ".bz2": (Kind.BZ2,),
    ".xz": (Kind.XZ,),
    ".zip": (Kind.ZIP,),
}
"""What a file is by its name. Its content decides."""
_WORDS = {Kind.EXCEL: "a workbook", Kind.TEXT: "delimited text", Kind.JSON: "JSON"}
_JSON_NAMES = (".json", ".ndjson", ".jsonl", ".geojson")
_WORKBOOK_PARTS = ("xl/", "[content_types].xml", "content.xml")
_CONTROLS = bytes((*range(3, 9), *range(14, 27), 127))
_CONTROLS_BORNE = 4
_BINARY_SHARE = 0.05


def kind_of(path: Path, head: bytes, name: str) -> Kind:
    """What the file at `path` is, which begins with `head`; `name` breaks ties between JSON and text."""
    if not head.strip(b"\xef\xbb\xbf \t\r\n") and len(head) < HEAD:
        return Kind.EMPTY
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if kind is Kind.ZIP:
        return Kind.EXCEL if _is_workbook(path) else Kind.ZIP
    if kind is not None:
        return kind
    wide = wide_encoding(head)
    if wide:
        head = head.decode(wide, "ignore").removeprefix("\ufeff").encode()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    named_json = PurePath(name).suffix.lower() in _JSON_NAMES
    if start[:1] in (b"{", b"[") and (named_json or _opens_json(start)):
        return Kind.JSON
    if named_json:
        return Kind.JSON
    return Kind.OTHER if _is_binary(head) else Kind.TEXT


def misnamed(name: str, kind: Kind) -> str | None:
    """A note where a file's name ends as if it were something else than `kind`."""
    ending = PurePath(name).suffix.lower()
    if kind in _ENDINGS.get(ending, (kind,)):
        return None
    return f"its name ends in {ending}, its content is {_WORDS.get(kind, kind.value)}"


def _opens_json(start: bytes) -> bool:
    inner = start[1:].lstrip()
    return start[:1] + inner[:1] in (b'{"', b"{}", b"[{", b"[]")


def _is_workbook(path: Path) -> bool:
    """Whether a zip file is a workbook; one whose directory is missing is judged by its first member alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.lower() for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError):  # or a version of the format that is not known
        with path.open("rb") as file:
            return any(part.encode() in file.read(256).lower() for part in ("xl/", "[content_types].xml"))
    return any(name.startswith(part) for name in names for part in _WORKBOOK_PARTS)


def _is_binary(head: bytes) -> bool:
    """Whether many of the bytes are control characters that no text holds: neither line ends nor delimiters nor NULs."""
    return len(head) - len(head.translate(None, _CONTROLS)) > max(_CONTROLS_BORNE, _BINARY_SHARE * len(head))
