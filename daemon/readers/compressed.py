"""Packed files, unpacked into scratch: gzip, zstd, bz2 and xz as streams, zip member by member, all with limits.

Used by `read_delivery`.
"""

import bz2
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

from daemon.errors import is_machine_fault
from daemon.readers.delivery import Refusal, Source
from daemon.readers.formats import Kind

MOST_MEMBERS = 10_000
MOST_UNPACKED_BYTES = 1 << 36
MOST_TIMES_LARGER = 1_100
"""deflate cannot pack tighter than 1:1032; what claims to is a bomb. bz2 and xz can, on runs of one character."""
_ALWAYS_ALLOWED_BYTES = 1 << 30
_CHUNK = 1 << 20
_SUFFIXES = {
    Kind.GZIP: (".gz", ".gzip"),
    Kind.ZSTD: (".zst", ".zstd"),
    Kind.BZ2: (".bz2",),
    Kind.XZ: (".xz",),
}


_TOLD_ELSEWHERE = 0xFFFF
"""A zip64 archive says how many members it has in another place."""
_LONGEST_END = 22 + (1 << 16)
"""Bytes of the record at the end of a zip archive, with the longest comment."""


class PackedError(Exception):
    """A packed file that cannot be unpacked; `kind` and the message go into the refusal."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def unpack(source: Source, kind: Kind, target: Path) -> Source | Refusal:
    """The unpacked file, at `target`, under the same name; or why it cannot be unpacked."""
    try:
        with _explained(kind.value), source.path.open("rb") as packed:
            chunks = _unzstd(packed) if kind is Kind.ZSTD else _chunks(_opened(packed, kind))
            _write(chunks, target, _allowed(source.path.stat().st_size))
    except PackedError as error:
        return Refusal(source.name, error.kind, str(error))
    return Source(source.name, target)


def members(source: Source, scratch: Path, stem: str) -> list[Source] | Refusal:
    """The files in a zip archive, unpacked to `scratch`, named `archive.zip!path/in/it`; or why there are none."""
    try:
        with _explained("zip"), zipfile.ZipFile(source.path) as archive:
            return list(_members(source, archive, scratch, stem))
    except PackedError as error:
        return Refusal(source.name, error.kind, str(error))


def begins_as_zip(path: Path) -> bool:
    """Whether a file is a zip archive from its first byte on: an xls file may have one in it, or behind it."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def unsound(source: Source) -> Refusal | None:
    """Why the content of a workbook that is a zip archive cannot be trusted; None when its checksums vouch for all of it.

    The library that reads workbooks does not look at them.
    """
    try:
        with _explained("zip"), zipfile.ZipFile(source.path) as archive:
            left = _allowed(source.path.stat().st_size)
            for info in _listed(archive):
                with archive.open(info) as member:
                    for chunk in _chunks(member):
                        left -= len(chunk)
                        _refuse_bomb(left)
    except PackedError as error:
        return Refusal(source.name, error.kind, str(error))
    return None


def _listed(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """What an archive holds. Raises PackedError when that is not to be unpacked."""
    inside = archive.infolist()
    if _told(archive) not in {len(inside), _TOLD_ELSEWHERE}:
        raise zipfile.BadZipFile(
            "its directory breaks off"
        )  # or is longer than it says: the library takes what it gets
    if len(inside) > MOST_MEMBERS:
        raise PackedError(
            "too_large", f"this zip archive holds {len(inside)} files; at most {MOST_MEMBERS} are unpacked"
        )
    if any(info.flag_bits & 1 for info in inside):
        raise PackedError("encrypted", "this zip archive is protected by a password; send it without one")
    return inside


def _told(archive: zipfile.ZipFile) -> int:
    """How many members the record at an archive's end tells of (APPNOTE 4.3.16: two bytes, ten after its signature)."""
    file = archive.fp
    if file is None:
        raise zipfile.BadZipFile("it is closed")
    file.seek(-min(_LONGEST_END, file.seek(0, os.SEEK_END)), os.SEEK_END)
    _, _, end = file.read().rpartition(b"PK\x05\x06")
    return int.from_bytes(end[6:8], "little")


def _members(source: Source, archive: zipfile.ZipFile, scratch: Path, stem: str) -> Iterator[Source]:
    files = [
        info for info in _listed(archive) if not info.filename.endswith("/") and not _is_litter(info.filename)
    ]
    if not files:
        raise PackedError("empty", "there is no file in this zip archive")
    left = _allowed(source.path.stat().st_size)
    for place, info in enumerate(files):
        target = scratch / f"{stem}-member-{place}"
        with archive.open(info) as member:
            left -= _write(_chunks(member), target, left)
        yield Source(f"{source.name}!{info.filename}", target)


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in (".DS_Store", "Thumbs.db")


def _opened(packed: IO[bytes], kind: Kind) -> IO[bytes]:
    if kind is Kind.GZIP:
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value] # a GzipFile is an IO[bytes] in all but name
    return bz2.BZ2File(packed) if kind is Kind.BZ2 else lzma.LZMAFile(packed)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")


def _unzstd(packed: IO[bytes]) -> Iterator[bytes]:
    """The content frame by frame: zstandard's own stream reader ends without a word where a frame is cut short."""
    frame = None
    rest = packed.read(_CHUNK)
    while rest:
        frame = frame or zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(rest)
        rest = frame.unused_data if frame.eof else b""
        frame = None if frame.eof else frame
        rest = rest or packed.read(_CHUNK)
    if frame is not None:
        raise EOFError


def _allowed(packed_size: int) -> int:
    return min(MOST_UNPACKED_BYTES, max(_ALWAYS_ALLOWED_BYTES, packed_size * MOST_TIMES_LARGER))


def _write(chunks: Iterator[bytes], target: Path, most: int) -> int:
    size = 0
    with target.open("wb") as unpacked:
        for chunk in chunks:
            size += len(chunk)
            _refuse_bomb(most - size)
            unpacked.write(chunk)
    return size


def _refuse_bomb(left: int) -> None:
    if left < 0:
        raise PackedError(
            "too_large", "this file unpacks to more than its size accounts for: it is refused as a bomb"
        )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise PackedError("incomplete", f"this {what} file is cut short; send it again") from error
    except zipfile.BadZipFile as error:
        raise PackedError("incomplete", "this zip archive is damaged or cut short; send it again") from error
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, lzma.LZMAError, NotImplementedError) as error:
        raise PackedError("unreadable", f"this {what} file is damaged; send it again") from error
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise PackedError("unreadable", f"this {what} file is damaged; send it again") from error


def bare_name(name: str, kind: Kind) -> str:
    """`name` without the suffix of the compression, for the tie-break by extension."""
    suffix = next((suffix for suffix in _SUFFIXES.get(kind, ()) if name.lower().endswith(suffix)), "")
    return name.removesuffix(name[len(name) - len(suffix) :]) if suffix else name
