"""How names of folders, files and sheets become names of tables. Used by landing and the pipeline."""

import hashlib
import re
import unicodedata

_UNNAMED = "unnamed"
_LONGEST_SLUG = 100
"""Bytes. `<domain>.<table>.json` and what is added while it is written must fit the 255 of a folder entry."""
_DIGEST = 8
_APART = re.compile(r"\0+")


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
