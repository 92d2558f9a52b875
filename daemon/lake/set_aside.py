"""The reason beside a file that was set aside: `<file>.reason.json`.

Called by scheduling's rest keeper, before the move.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from daemon.lake.archive import PRIVATE_FOLDER
from daemon.lake.durable import make_directories, write_bytes

_ENDING = ".reason.json"
_NAME_MAX = 255


def reason_path(file: Path) -> Path:
    """Where the reason for `file` stands; a name too long for the ending is cut."""
    room = _NAME_MAX - len(_ENDING)
    return file.with_name(file.name.encode(errors="surrogateescape")[:room].decode(errors="ignore") + _ENDING)


def write_reason(file: Path, reason: Mapping[str, object]) -> None:
    """Write why `file` is about to be set aside there, durably.

    `reason` is plain data, described in docs/on-disk-format.md.
    """
    make_directories(file.parent, PRIVATE_FOLDER)
    write_bytes(reason_path(file), json.dumps(reason, indent=2, ensure_ascii=False).encode() + b"\n")
