"""The damage that the campaign `hostile` does to seeds, all from a `random.Random`."""

import io
import random
import zipfile
from collections.abc import Callable

from torture.seeds import zipped

_TELLING = (
    b"\0",
    b"\xff",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"|",
    b"\n",
    b"\r",
    b"\r\n",
    b"\\",
    b"\xef\xbb\xbf",
    b"\xc3",
)
_NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\0\0\0\x80",
    b"\xff" * 8,
)


def damage(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to three blows."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        content = chance.choice(_BLOWS)(content, chance)
    return content


def damage_within(content: bytes, chance: random.Random) -> bytes:
    """A zip archive with a part of it damaged and every checksum right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(list(parts))
    parts[name] = damage(parts[name], chance)
    if chance.random() < 0.1:
        del parts[chance.choice(list(parts))]
    return zipped(parts)


def _span(content: bytes, chance: random.Random, most: int = 64) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.randrange(1, most))


def _put(new: Callable[[random.Random], bytes], *, over: bool) -> Callable[[bytes, random.Random], bytes]:
    def blow(content: bytes, chance: random.Random) -> bytes:
        place, piece = chance.randrange(len(content) + 1), new(chance)
        return content[:place] + piece + content[place + (len(piece) if over else 0) :]

    return blow


def _flip(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return content
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _cut_out(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def _cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _double(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance, 256)
    return content[:end] + content[start:]


def _swap(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    later = min(len(content), end + chance.randrange(64))
    return content[:start] + content[end:later] + content[start:end] + content[later:]


def _blank(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + b"\0" * (end - start) + content[end:]


def _swap_marks(content: bytes, chance: random.Random) -> bytes:
    """One character becomes another wherever it stands in a stretch."""
    start, end = _span(content, chance, 400)
    old, new = chance.choice(_TELLING), chance.choice(_TELLING)
    return content[:start] + content[start:end].replace(old, new) + content[end:]


def _lines(content: bytes, chance: random.Random) -> bytes:
    """Lines shuffled, doubled, joined or taken out; a foot or a title added."""
    lines = content.splitlines(keepends=True) or [b""]
    place = chance.randrange(len(lines))
    line = lines[place]
    lines[place : place + 1] = chance.choice(
        [
            [],
            [line, line],
            [line.rstrip(b"\r\n")],
            [line, b"\n"],
            [line, lines[0]],
            [line[: len(line) // 2]],
            [line[: len(line) // 2], b"\n"],
            [b"# a remark\n", line],
            [b"Total,,,\n", line],
            [line[::-1]],
        ]
    )
    return b"".join(lines)


_BLOWS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _put(lambda chance: chance.choice(_TELLING), over=True),
    _put(lambda chance: chance.choice(_TELLING), over=False),
    _put(lambda chance: chance.choice(_NUMBERS), over=True),
    _put(lambda chance: chance.randbytes(chance.randrange(1, 40)), over=False),
    _cut_out,
    _cut_off,
    _double,
    _swap,
    _blank,
    _swap_marks,
    _lines,
)
