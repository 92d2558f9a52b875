"""The cheap proof: looks at a file's bytes for what polars would read wrong, at a few GB/s.

`measure` counts the delimiters and line ends outside quotes of a small file beforehand: one whose counts come out even is
read by polars in one scan with many others. A large one is glanced at before, and while polars reads it, `look` holds bytes
with quotes against the grammar, by one regular expression. Both are exact for the grammar of RFC 4180 or they refuse: a
quote that neither opens nor closes a field, a lone CR, a NUL or an unbalanced quote is trouble, and goes to the careful
reader.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

CHUNK = 1 << 18
_LINE_BUFFER = 1 << 16  # smaller than CHUNK, so that chunks are not copied through it
_AT_ONCE = 32
"""Chunks held against a grammar in one call: each call compiles it anew, which takes a millisecond."""
_CONTROL = re.compile(b"\xc2[\x80-\x84\x86-\x9f]")
_LONGEST_RECORD = 1 << 24
_LONGEST_FAST = 1 << 22
"""Bytes of a record above which the careful reader, which holds it alone, takes less memory than polars."""


@dataclass(slots=True)
class Structure:
    """Counts over the records of a file. `trouble` says why the fast path is not safe, "" if it is."""

    delimiters: int = 0
    lines: int = 0
    trouble: str = ""


class Look(NamedTuple):
    """What the bytes of a file show. `trouble` says why its fast reading is not to be trusted, "" for nothing.

    `even`: that each of its records has as many fields as the table has columns.
    """

    trouble: str
    even: bool


UNTOLD = Look("", even=False)
"""Nothing speaks against a file, and nothing for it."""


def whole_records(path: Path, quote: bytes, skip: int) -> Iterator[bytes]:
    """The file in chunks of about CHUNK bytes, each ending at a line end outside quotes (the last: at the file's end).

    The first `skip` lines come as one chunk before the others.
    """
    with path.open("rb", buffering=_LINE_BUFFER) as file:
        yield b"".join(file.readline() for _ in range(skip))
        while chunk := file.read(CHUNK):
            if chunk[-1:] != b"\n":
                chunk += file.readline(_LONGEST_RECORD)
            if quote and quote in chunk and chunk.count(quote) % 2:
                chunk = _to_the_closing_quote(chunk, file, quote)
            yield chunk


def _to_the_closing_quote(chunk: bytes, file: Iterator[bytes], quote: bytes) -> bytes:
    parts = [chunk]
    size = len(chunk)
    for line in file:
        parts.append(line)
        size += len(line)
        if line.count(quote) % 2 or size > _LONGEST_RECORD:
            break
    return b"".join(parts)


def measure(path: Path, delimiter: bytes, quote: bytes, skip: int) -> Structure:
    """Look for trouble in the file at `path` after its first `skip` lines, and count."""
    found = Structure()
    chunks = whole_records(path, quote, skip)
    skipped = next(chunks)
    found.trouble = _bare_return(skipped)
    header = skipped.rstrip(b"\r\n").rpartition(b"\n")[2]
    for chunk in chunks:
        outside = _outside_quotes(chunk, delimiter, quote) if quote and quote in chunk else chunk
        if outside is None:
            found.trouble = "a quote that neither opens nor closes a field"
            return found
        found.trouble = found.trouble or _trouble(chunk, outside, delimiter)
        if not _is_utf8(chunk):
            found.trouble = "bytes that are not UTF-8"
        elif delimiter and header in chunk and has_line(chunk, header):
            found.trouble = "the header comes again"
        elif delimiter and has_line(outside, delimiter * header.count(delimiter)):
            found.trouble = "an empty record, below which another table may begin"
        elif not chunk.isascii() and _CONTROL.search(chunk):
            found.trouble = "control characters"
        elif len(chunk) > CHUNK + _LONGEST_FAST:
            found.trouble = "a record that is too long"
        if found.trouble:
            return found
        found.delimiters += outside.count(delimiter) if delimiter else 0
        found.lines += outside.count(b"\n") + (not outside.endswith(b"\n"))
    return found


def glance(path: Path, delimiter: bytes, quote: bytes, skip: int) -> tuple[str, bool]:
    """Look for trouble in the file at `path` after its first `skip` lines; tell it ("" for none), and if there are quotes.

    Of quotes it looks only that none stays open for long, since polars would hold all that follows in memory. UTF-8 is
    left to polars, which raises on what is none, and a header that comes again to `Delivery.unproved`.
    """
    quoted = False
    chunks = whole_records(path, quote, skip)
    trouble = _bare_return(next(chunks))
    for chunk in chunks:
        if quote and quote in chunk:
            quoted = True
        else:
            trouble = trouble or _trouble(chunk, chunk, delimiter)
        if len(chunk) > CHUNK + _LONGEST_FAST:
            trouble = "a record that does not end"
        if trouble:
            break
    return trouble, quoted


def look(path: Path, delimiter: bytes, quote: bytes, skip: int, width: int, *, closely: bool) -> Look:
    """Hold records with quotes, all if `closely`, against the grammar of `width` columns: `glance` told the rest.

    Raises PolarsError where a table is too wide for that.
    """
    grammar = _grammar(delimiter, quote, width)
    chunks = whole_records(path, quote, skip)
    next(chunks)
    even = True
    while some := list(islice(chunks, _AT_ONCE)):
        held = some if closely else [chunk for chunk in some if quote and quote in chunk]
        even = even and len(held) == len(some)
        if not all(map(_is_utf8, held)):
            return Look("bytes that are not UTF-8", even=False)
        if not pl.Series([chunk.decode() for chunk in held], dtype=pl.String).str.contains(grammar).all():
            return Look("a record that is none by the grammar", even=False)
    return Look("", even)


def _grammar(delimiter: bytes, quote: bytes, width: int) -> str:
    """The regular expression of whole records of `width` fields, for polars: Rust's, whose time is linear."""
    mark, sign = (f"\\x{{{byte[0]:x}}}" if byte else "" for byte in (delimiter, quote))
    bare = rf"[^{mark}{sign}\r\n\x00]"
    field = (
        rf"(?:{sign}(?:[^{sign}\x00]|{sign}{sign})*{sign}|{bare}{'*' if mark else '+'})"
        if sign
        else f"{bare}*"
    )
    further = f"(?:{mark}{field}){{{width - 1}}}" if mark else ""
    return rf"\A(?:{field}{further}(?:\r?\n|\z))*\z"


def has_line(chunk: bytes, line: bytes) -> bool:
    """Whether `line` is one of the lines of `chunk`: found by plain search, thirty times as fast as by an expression."""
    if not line:
        return False
    for ended in (line + b"\n", line + b"\r\n"):
        if chunk.startswith(ended) or b"\n" + ended in chunk:
            return True
    return any(chunk == last or chunk.endswith(b"\n" + last) for last in (line, line + b"\r"))


def _bare_return(text: bytes) -> str:
    """Trouble with a carriage return that ends no line: polars strips it from a value or reads no rows at all."""
    bare = b"\r" in text and text.count(b"\r") != text.count(b"\r\n")
    return "a carriage return that ends no line" if bare else ""


def _trouble(chunk: bytes, outside: bytes, delimiter: bytes) -> str:
    """What in `chunk` (`outside`: without its quoted fields) polars does not read as it stands, "" for nothing."""
    if b"\0" in chunk:
        return "a NUL byte"
    if not delimiter and (b"\n\n" in outside or b"\n\r\n" in outside or outside[:1] in b"\r\n"):
        return "a blank line"
    return _bare_return(outside)


def _is_utf8(chunk: bytes) -> bool:
    if chunk.isascii():
        return True
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    return True


def _outside_quotes(chunk: bytes, delimiter: bytes, quote: bytes) -> bytes | None:
    """The chunk with each quoted field replaced by a single quote character; None when a quote is out of place."""
    parts = chunk.split(quote)
    if len(parts) % 2 == 0:
        return None
    outside = quote.join(parts[::2])
    twice = quote + quote  # an escaped quote leaves an empty part between two quoted ones
    while twice in outside:
        outside = outside.replace(twice, quote)
    edges = (
        outside.translate(bytes.maketrans(delimiter, b"\n"), b"\r")
        if delimiter
        else outside.replace(b"\r", b"")
    )
    quotes = outside.count(quote)
    opened = edges.count(b"\n" + quote) + edges.startswith(quote)
    closed = edges.count(quote + b"\n") + edges.endswith(quote)
    return outside if opened == closed == quotes else None
