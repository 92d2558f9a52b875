"""What file system a folder is on, and whether its events tell of all writers. Used by the watcher."""

import re
from pathlib import Path

_REMOTE = re.compile(r"nfs.*|cifs|smb.*|ncpfs|9p|afs|ceph|lustre|virtiofs|vboxsf|prl_fs|gpfs|fuse(\..*)?")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def is_remote(folder: Path) -> bool:
    """Whether others can write to `folder` unseen here: over a network, from a host, through FUSE."""
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    return _REMOTE.fullmatch(file_system_type(table, folder.resolve())) is not None


def file_system_type(mountinfo: str, folder: Path) -> str:
    """Return the type, such as `ext4`, of the file system that holds `folder`; empty if no line fits.

    `mountinfo` is the text of /proc/self/mountinfo, see proc(5): the deepest mount point counts, of equals
    the last.
    """
    deepest, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda escape: chr(int(escape[1], 8)), before.split(" ")[4]))
        if folder.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), after.split(" ")[0]
    return kind
