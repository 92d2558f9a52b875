"""The reason beside a file that was set aside: `<file>.reason.json`; and how such notes are written.

Called by scheduling's rest keeper before the move: nothing lies in quarantine without its reason.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from daemon.lake.archive import PRIVATE_FILE, PRIVATE_FOLDER
from daemon.lake.durable import NAME_MAX, cut, make_directories, write_bytes

_ENDING = ".reason.json"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",\n  ", ": ")).encode
"""A line for each key: with an indent json's encoder in C does not work."""


def reason_path(file: Path) -> Path:
    """Return where the reason for `file` stands; a name too long for the ending is cut."""
    return file.with_name(os.fsdecode(cut(os.fsencode(file.name), NAME_MAX - len(_ENDING))) + _ENDING)


def write_reason(file: Path, reason: Mapping[str, object]) -> None:
    """Write why `file` is about to be set aside there, durably, in the place of an earlier attempt's.

    `reason` is plain data, described in docs/on-disk-format.md. Raises OSError.
    """
    make_directories(file.parent, PRIVATE_FOLDER)
    write_bytes(reason_path(file), json_document(reason), PRIVATE_FILE)


def json_document(content: Mapping[str, object]) -> bytes:
    r"""Return a note about a file as JSON in UTF-8, a line for each of its keys.

    Bytes of a file name that are not UTF-8 become JSON's \udcxx, which json.loads and os.fsencode turn back.
    """
    return f"{{\n  {_encode(content)[1:-1]}\n}}\n".encode(errors="backslashreplace")
