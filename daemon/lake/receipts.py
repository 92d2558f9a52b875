"""Receipts: `.receipts/<file>.json` beside where a file was dropped says what became of it, to whoever dropped it.

Written by scheduling when the file has come to rest. People who drop files need no access to logs, catalog or data.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from daemon.lake.durable import NAME_MAX, TEMPORARY, cut, make_directories, write_unsynced
from daemon.lake.set_aside import json_document

RECEIPTS = ".receipts"
"""The folder of the receipts, beside the files."""
_ENDING = ".json"
_ROOM = NAME_MAX - len(_ENDING) - len(TEMPORARY) - 20


def write_receipts(receipts: Iterable[tuple[str, Mapping[str, object]]]) -> None:
    """Write the receipt of each file (as it was dropped), over that of an earlier one of its name. Raises OSError.

    Not synced: what a power cut takes can be asked of the ledger. Nothing is written where the folder is gone.
    """
    mark = secrets.token_hex(8)
    folders: dict[str, str | None] = {}
    for dropped, content in receipts:
        parent, name = os.path.split(dropped)
        if parent not in folders:
            folders[parent] = _receipts_in(Path(parent))
        folder = folders[parent]
        if folder is not None:
            name = os.fsdecode(cut(os.fsencode(name), _ROOM))
            final = f"{folder}/{name}{_ENDING}"
            write_unsynced(final, f"{final}.{mark}{TEMPORARY}", json_document(content))


def _receipts_in(folder: Path) -> str | None:
    """The folder of the receipts of what was dropped into `folder`, made where it is missing; None without `folder`."""
    if not folder.is_dir():
        return None
    receipts = folder / RECEIPTS
    make_directories(receipts)
    return str(receipts)
