"""Moving a file for good without ever writing over a namesake, losing it or doubling it, whatever instant a crash picks.

The caller writes the chosen destination into the ledger before it moves, and repeats the move after a crash.
Called by scheduling's rest keeper, for the archive and the quarantine.
"""

import errno
import os
import shutil
from collections.abc import Container, Sequence
from pathlib import Path

from daemon.lake.durable import make_directories, publish, sync_directory, temporary_beside

PRIVATE_FOLDER = 0o750
PRIVATE_FILE = 0o640
"""What people sent is not for everyone on the machine to read."""

_NAME_MAX = 255
_SUFFIX_MAX = 32


def choose_destination(folder: Path, name: str, taken: Container[Path]) -> Path:
    """A path in `folder` that is neither on disk nor `taken`: `name`, else `stem~2.suffix`, `stem~3.suffix` and so on."""
    number = 1
    while True:
        path = folder / (_fitted(name, "") if number == 1 else _fitted(name, f"~{number}"))
        if path not in taken and not os.path.lexists(path):
            return path
        number += 1


def move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move each source to its destination, making folders, and sync every folder touched once.

    Safe to repeat after a crash. Raises FileExistsError when a destination turns out to be another file.
    """
    for folder in {destination.parent for _, destination in moves}:
        make_directories(folder, PRIVATE_FOLDER)
    for source, destination in moves:
        _move(source, destination)
    for folder in {path.parent for move in moves for path in move}:
        if folder.is_dir():
            sync_directory(folder)


def _move(source: Path, destination: Path) -> None:
    if not os.path.lexists(source):
        if not os.path.lexists(destination):
            raise FileNotFoundError(
                errno.ENOENT, "neither the file nor its destination is there", source, None, destination
            )
        return
    try:
        os.link(source, destination, follow_symlinks=False)
    except FileExistsError:
        if not source.samefile(destination):
            raise
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
            raise
        _copy(source, destination)
    destination.chmod(PRIVATE_FILE)
    sync_directory(destination.parent)
    source.unlink()


def _copy(source: Path, destination: Path) -> None:
    """The way to another file system, or one without hard links."""
    with temporary_beside(destination) as temporary:
        shutil.copy2(source, temporary)
        publish(temporary, destination)


def _fitted(name: str, mark: str) -> str:
    """`name` with `mark` before its endings, cut in the middle where a directory entry could not hold it."""
    raw = os.fsencode(name)
    stem, dot, suffix = raw.partition(b".")
    if not stem or len(suffix) > _SUFFIX_MAX:
        stem, dot, suffix = raw, b"", b""
    tail = mark.encode() + dot + suffix
    return os.fsdecode(stem[: _NAME_MAX - len(tail)] + tail)
