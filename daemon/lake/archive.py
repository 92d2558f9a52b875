"""Moving files for good: never over a namesake, never lost, never doubled, whatever instant a crash picks.

The caller writes each chosen destination into the ledger first, then moves, and repeats the move after a
crash. Called by scheduling's rest keeper, for the archive, the quarantine and what is handed back to landing.

A thousand files at a time: paths are strings here, since joining and hashing a Path costs more than the call it is for.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from daemon.lake.durable import (
    NAME_MAX,
    StrPath,
    cut,
    make_directories,
    remove_tree,
    sync_directory,
    sync_file,
    sync_files,
    temporary_beside,
    temporary_name,
)

PRIVATE_FOLDER = 0o750
PRIVATE_FILE = 0o640
"""What people sent is not for everyone on the machine to read."""

Moves = Sequence[tuple[StrPath, StrPath]]
"""Where each file lies, and where it is to lie."""

_ENDINGS_MAX = 16
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
"""Another file system, one without hard links, or a file of another user (`fs.protected_hardlinks`)."""


def choose_destination(root: str, folder: str, name: str, taken: Container[str]) -> str:
    """Return a path in `folder`, both relative to `root`, that is neither on disk nor `taken`.

    It is called `name`, else `stem~2.csv`, `stem~3.csv` and so on; cut where a directory entry could not hold
    it. A name that is not UTF-8 keeps its bytes.
    """
    number = 1
    while True:
        path = os.path.join(folder, _fitted(name, f"~{number}" if number > 1 else ""))
        if path not in taken and not os.path.lexists(os.path.join(root, path)):
            return path
        number += 1


def move_all(moves: Moves, *, private: bool = True) -> None:
    """Move each source to its destination, making folders; content, then names are durable on return.

    Safe to repeat after a crash at any point. Every folder is synced once. `private` closes new folders and
    the files to others; False is for what is handed back to landing. Raises FileExistsError, with the
    destination in `filename2`, where that is another file: choose again. Raises FileNotFoundError where both
    are missing.
    """
    for folder in {os.path.dirname(destination) for _, destination in moves}:
        make_directories(Path(folder), PRIVATE_FOLDER if private else 0o777)
    for source, destination in moves:
        _bring(source, destination)
    _make_durable(moves)
    for source, _ in moves:
        with suppress(FileNotFoundError):
            os.unlink(source)
    if private:
        for _, destination in moves:
            _close_to_others(destination)
    for folder in {os.path.dirname(source) for source, _ in moves}:
        if os.path.isdir(folder):
            sync_directory(folder)


def _make_durable(moves: Moves) -> None:
    """Sync content and names of the destinations; where that fails, take them back. Raises OSError."""
    destinations = [destination for _, destination in moves]
    try:
        sync_files(destinations)
        for folder in {os.path.dirname(path) for path in destinations}:
            sync_directory(folder)
    except OSError:
        for source, destination in moves:
            with suppress(OSError):
                _take_back(Path(source), Path(destination))
        raise


def _take_back(source: Path, destination: Path) -> None:
    """Let a repeat make the name and write the content anew: a sync that succeeds after one that failed proves nothing."""
    if os.path.lexists(source):
        destination.unlink(missing_ok=True)
        standing = source
    else:
        standing = destination
    if stat.S_ISREG(standing.lstat().st_mode):
        with temporary_beside(standing) as temporary:
            shutil.copy2(standing, temporary)
            temporary.rename(standing)


def _bring(source: StrPath, destination: StrPath) -> None:
    """Make the destination be the source's file, whatever an earlier attempt did; the source stays."""
    if not os.path.lexists(source):
        if not os.path.lexists(destination):
            what = "neither the file nor its destination is there; restore it from a backup or the sender"
            raise FileNotFoundError(errno.ENOENT, what, str(source), None, str(destination))
        return
    if not _link(source, destination):
        _copy(Path(source), Path(destination))


def _link(source: StrPath, destination: StrPath) -> bool:
    """Give a file a second name, unless it has it already, be it as a copy that a crash left undeleted.

    Return False where only a copy will do. Raises FileExistsError for a namesake; Linux looks for that first.
    """
    try:
        os.link(source, destination, follow_symlinks=False)
    except FileExistsError:
        if os.path.samestat(os.lstat(source), os.lstat(destination)):
            return True
        if not _same_content(Path(source), Path(destination)):
            raise
        temporary_name(Path(destination), "copy").unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def _copy(source: Path, destination: Path) -> None:
    """Copy durably. The temporary name is always the same, so that a repeat takes up what a crash left."""
    temporary = temporary_name(destination, "copy")
    remove_tree(temporary)
    try:
        shutil.copy2(source, temporary, follow_symlinks=False)
        if not temporary.is_symlink():
            sync_file(temporary)
        if not _link(
            temporary, destination
        ):  # without hard links a rename must do; the name was free just now
            temporary.rename(destination)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _same_content(one: Path, other: Path) -> bool:
    """Whether two regular files hold the same bytes: then the second is our own copy, not a namesake."""
    found = (one.lstat(), other.lstat())
    if not all(stat.S_ISREG(status.st_mode) for status in found) or found[0].st_size != found[1].st_size:
        return False
    return _digest(one) == _digest(other)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _close_to_others(path: StrPath) -> None:
    """Take what PRIVATE_FILE does not grant from a file's mode; never add to it."""
    found = os.lstat(path)
    if (
        not stat.S_ISREG(found.st_mode) or found.st_nlink > 1
    ):  # its owner has it elsewhere too: leave it to them
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~PRIVATE_FILE:
        with suppress(PermissionError):  # another user's file; the folder is closed all the same
            os.chmod(path, mode & PRIVATE_FILE)


def _fitted(name: str, mark: str) -> str:
    """Return `name` with `mark` before its endings (`.csv`, `.csv.gz`), the stem cut where it is too long."""
    if not mark and len(os.fsencode(name)) <= NAME_MAX:
        return name
    endings = PurePath(name).suffix
    before = PurePath(PurePath(name).stem).suffix
    if before[1:].isalpha() and len(os.fsencode(before + endings)) <= _ENDINGS_MAX:
        endings = before + endings
    if len(os.fsencode(endings)) > _ENDINGS_MAX:
        endings = ""
    stem = os.fsencode(name.removesuffix(endings))
    tail = os.fsencode(mark + endings)
    return os.fsdecode(cut(stem, NAME_MAX - len(tail)) + tail)
