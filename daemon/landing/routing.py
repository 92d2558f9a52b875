"""Which table a dropped file belongs to, by where it lies, and what records call it. Used by intake.

`<domain>/<table>/FILE`, `<table>/FILE` (domain `main`), or FILE alone: then a contract's `match` decides,
else its own name.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath

from daemon.catalog.names import slug
from daemon.catalog.promotion import TableKey

DEFAULT_DOMAIN = "main"
_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd")


def route_path(relative: str, by_name: Callable[[str], TableKey | None]) -> TableKey:
    """Return the table of a file at `relative`, its path below landing.

    `by_name` answers for a file straight in landing which table a contract gives its name to; what it raises
    passes.
    """
    *folders, name = relative.split("/")
    if folders:
        return _table_of(*folders[:2])
    return by_name(name) or TableKey(DEFAULT_DOMAIN, slug(_stem(name)))


@lru_cache(1024)
def _table_of(*folders: str) -> TableKey:
    """The table of one folder, or of two; a folder brings many files."""
    *domain, table = map(slug, folders)
    return TableKey(domain[0] if domain else DEFAULT_DOMAIN, table)


def source_name(relative: str) -> str:
    r"""Return the path below landing as `_source_file` holds it: bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _stem(name: str) -> str:
    """Return `a` of `a.csv.gz`."""
    path = PurePath(name)
    return PurePath(path.stem).stem if path.suffix.casefold() in _COMPRESSED else path.stem
