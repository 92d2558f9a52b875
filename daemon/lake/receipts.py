"""Receipts: `.receipts/<file>.json` beside where a file was dropped says what became of it, to whoever dropped it.

Written by scheduling when the file has come to rest. People who drop files need no access to logs, catalog or data.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from daemon.lake.durable import NAME_MAX, TEMPORARY, cut, make_directories, temporary_beside
from daemon.lake.set_aside import json_document

RECEIPTS = ".receipts"
"""The folder of the receipts, beside the files."""
_ENDING = ".json"
_ROOM = NAME_MAX - len(_ENDING) - len(TEMPORARY) - 20


def write_receipt(dropped: Path, content: Mapping[str, object]) -> None:
    """Write the receipt of the file dropped as `dropped`, over that of an earlier one of its name. Raises OSError.

    Not synced: what a power cut takes can be asked of the ledger. Nothing is written where the folder is gone.
    """
    if not dropped.parent.is_dir():
        return
    folder = dropped.parent / RECEIPTS
    make_directories(folder)
    name = os.fsdecode(cut(os.fsencode(dropped.name), _ROOM))
    final = folder / f"{name}{_ENDING}"
    with temporary_beside(final) as temporary:
        temporary.write_bytes(json_document(content))
        temporary.rename(final)
