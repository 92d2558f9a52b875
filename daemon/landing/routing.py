"""Which table a dropped file belongs to, by where it lies, and what records call it. Used by intake.

`<domain>/<table>/FILE`, `<table>/FILE` (domain `main`), or FILE alone: then a contract's `match` decides,
else its own name.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePath

from daemon.catalog.promotion import TableKey

DEFAULT_DOMAIN = "main"
_UNNAMED = "unnamed"
_LONGEST_SLUG = 100
"""Bytes. `<domain>.<table>.json` and what is added while it is written must fit the 255 of a folder entry."""
_DIGEST = 8
_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd")
_APART = re.compile(r"\0+")


def route_path(relative: Path, by_name: Callable[[str], TableKey | None]) -> TableKey:
    """Return the table of a file at `relative`, its path below landing.

    `by_name` answers for a file straight in landing which table a contract gives its name to; what it raises
    passes.
    """
    folders = relative.parts[:-1]
    if len(folders) > 1:
        return TableKey(slug(folders[0]), slug(folders[1]))
    if folders:
        return TableKey(DEFAULT_DOMAIN, slug(folders[0]))
    return by_name(relative.name) or TableKey(DEFAULT_DOMAIN, slug(_stem(relative.name)))


def source_name(relative: Path) -> str:
    r"""Return the path below landing as `_source_file` holds it: bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def slug(name: str) -> str:
    """Return `name` as it can name a table and its folder: folded, `_` for what is no letter, mark or digit.

    At most 100 bytes of UTF-8; of a longer name the end is replaced by a digest of it, so that different
    names stay different.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    marked = "".join(letter if _is_word(letter) else "\0" for letter in folded)
    words = _APART.sub("_", marked).strip("_") or _UNNAMED
    content = words.encode()
    if len(content) <= _LONGEST_SLUG:
        return words
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST]
    start = content[: _LONGEST_SLUG - _DIGEST - 1].decode("utf-8", "ignore")
    return f"{start}_{digest}"


def _is_word(letter: str) -> bool:
    # marks are part of the words of many scripts; without them different names would become the same
    return letter.isalnum() or letter == "_" or unicodedata.category(letter).startswith("M")


def _stem(name: str) -> str:
    """Return `a` of `a.csv.gz`."""
    path = PurePath(name)
    return PurePath(path.stem).stem if path.suffix.casefold() in _COMPRESSED else path.stem
