"""Receipts: `.receipts/<file>.json` beside where a file was dropped says what became of it, to whoever dropped it.

Written by scheduling when the file has come to rest. People who drop files need no access to logs, catalog or data.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from daemon.lake.durable import NAME_MAX, TEMPORARY, cut, make_directories
from daemon.lake.set_aside import json_document

RECEIPTS = ".receipts"
"""The folder of the receipts, beside the files."""
_ENDING = ".json"
_ROOM = NAME_MAX - len(_ENDING) - len(TEMPORARY) - 20


def write_receipts(receipts: Iterable[tuple[Path, Mapping[str, object]]]) -> None:
    """Write the receipt of each file (as it was dropped), over that of an earlier one of its name. Raises OSError.

    Not synced: what a power cut takes can be asked of the ledger. Nothing is written where the folder is gone.
    """
    mark = secrets.token_hex(8)
    folders: dict[Path, Path | None] = {}
    for dropped, content in receipts:
        if dropped.parent not in folders:
            folders[dropped.parent] = _receipts_in(dropped.parent)
        folder = folders[dropped.parent]
        if folder is not None:
            name = os.fsdecode(cut(os.fsencode(dropped.name), _ROOM))
            _write(folder / f"{name}{_ENDING}", mark, json_document(content))


def _receipts_in(folder: Path) -> Path | None:
    """The folder of the receipts of what was dropped into `folder`, made where it is missing; None without `folder`."""
    if not folder.is_dir():
        return None
    receipts = folder / RECEIPTS
    make_directories(receipts)
    return receipts


def _write(final: Path, mark: str, content: bytes) -> None:
    # as `temporary_beside`, less what it does for each of a thousand files and no receipt needs
    temporary = final.with_name(f"{final.name}.{mark}{TEMPORARY}")
    try:
        temporary.write_bytes(content)
        temporary.rename(final)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
