"""Which characters a file's bytes are: UTF-8, UTF-16 and UTF-32 with and without BOM, Windows, Mac and Asian code pages.

`decode` gives a UTF-8 file: the source itself when it is one, a translation in scratch when it is not.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from daemon.readers.codepages import best_code_page

_CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NUL_PATTERNS = (
    ("utf-32-le", (2, 3), (0,)),
    ("utf-32-be", (0, 1), (3,)),
    ("utf-16-le", (1, 3), (0, 2)),
    ("utf-16-be", (0, 2), (1, 3)),
)
"""Of each four bytes, those that are NUL in many characters and those that are in nearly none."""
_MANY_NULS = 0.05
_FEW_NULS = 0.005
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r"
_PLAIN = 0.9
"""Text with some NULs of which more than so much is printable ASCII is damaged ASCII: read by twos it would be Chinese."""
_ENOUGH_SOUND = 10_000
_FOREIGN_PER_SOUND = 5
"""A line that is UTF-8 beyond ASCII is hardly ever so by chance, the less the more characters that takes: for each of them
so many lines that are not may stand beside it as damage."""
_EVIDENCE_BYTES = 1 << 16


@dataclass(frozen=True)
class Text:
    """A text file as UTF-8: `path` holds it, `encoding` is what it was, `note` says so for people ("" for UTF-8)."""

    path: Path
    encoding: str
    note: str = ""


def wide_encoding(head: bytes) -> str:
    """The UTF-16 or UTF-32 that `head` is written in, by its BOM or by where its NULs stand; "" for none."""
    for bom, encoding in _BOMS[1:]:
        if head.startswith(bom):
            return encoding
    size = len(head) // 4 * 4
    if not size or b"\0" not in head or head.startswith(codecs.BOM_UTF8):
        return ""
    nuls = [head[place:size:4].count(0) * 4 / size for place in range(4)]
    if sum(nuls) < 1 and len(head.translate(None, _PRINTABLE)) < (1 - _PLAIN) * size + head.count(0):
        return ""
    for encoding, nul, text in _NUL_PATTERNS:
        if min(nuls[place] for place in nul) > _MANY_NULS and max(nuls[place] for place in text) < _FEW_NULS:
            return encoding
    return ""


def begins_as_utf8(head: bytes) -> bool:
    """Whether `head`, the beginning of a file, is UTF-8 as far as it goes."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def translate(path: Path, encoding: str, target: Path) -> Text:
    """Write the file at `path`, which is in `encoding`, to `target` as UTF-8.

    Raises UnicodeDecodeError for UTF-16 and UTF-32 that is none. Bytes invalid in a code page stay invalid bytes.
    """
    errors = "strict" if encoding.startswith("utf-") else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    with path.open("rb") as source, target.open("wb") as translated:
        while chunk := source.read(_CHUNK):
            translated.write(decoder.decode(chunk).encode("utf-8", "surrogateescape"))
        translated.write(decoder.decode(b"", final=True).encode("utf-8", "surrogateescape"))
    return Text(target, encoding, f"encoding {encoding}")


def _lines_above_ascii(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK) + file.readline():
        if not chunk.isascii():
            yield from (line for line in chunk.splitlines() if not line.isascii())


def code_page(path: Path) -> str:
    """The encoding of a file that is ASCII in the main: `utf-8` unless hardly any of its other bytes are.

    A UTF-8 file with some damaged lines stays `utf-8`: the careful reader sets those lines aside. So does one whose byte
    order mark says what it is.
    """
    sound, foreign = 0, []
    size = 0
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            return "utf-8"
        file.seek(0)
        for line in _lines_above_ascii(file):
            try:
                sound += sum(not character.isascii() for character in line.decode())
            except UnicodeDecodeError:
                foreign.append(line)
                size += len(line)
            if size > _EVIDENCE_BYTES or sound > _ENOUGH_SOUND:
                break
    if _FOREIGN_PER_SOUND * sound >= len(foreign):
        return "utf-8"
    return best_code_page(b"".join(foreign))
