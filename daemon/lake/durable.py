"""Atomic and durable steps on files: write, publish, remove, with every sync that a power cut asks for.

Used by the rest of the lake, by landing's claims and by scheduling. OSError passes through: the machine is at
fault. A failed fsync is never tried again and trusted (the kernel may have dropped the pages): the whole step
fails, and what it had written is removed.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

TEMPORARY = ".tmp"
"""How a name ends that is not published yet; what a crash leaves under such a name is removed at start."""

NAME_MAX = 255
"""Bytes that a directory entry holds."""

StrPath = str | os.PathLike[str]
"""A path in either form: where a thousand files are gone through, Path costs more than the calls it is for."""

_FEW = 8
_libc = ctypes.CDLL(None, use_errno=True)


def sync_file(path: StrPath) -> None:
    """Make a file's content durable."""
    _sync(path, os.O_RDONLY)


def sync_files(paths: Iterable[StrPath]) -> None:
    """Make the content of regular files durable, however many they are; what else is among them is left out.

    Many are synced by one syncfs: 40 ms for 1,000 new files of 64 kB, where an fsync each takes 290 ms.
    """
    by_device: dict[int, list[StrPath]] = {}
    for path in paths:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            by_device.setdefault(found.st_dev, []).append(path)
    for files in by_device.values():
        if len(files) > _FEW:
            _sync(files[0], os.O_RDONLY, _sync_file_system)
        else:
            for file in files:
                sync_file(file)


def sync_directory(path: StrPath) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, each name durable in its parent.

    `mode` is of the new ones, less the umask. Raises FileExistsError where something else has the name.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        make_directory(folder, mode)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make one folder, its name durable on return; where it could not be synced, there is none.

    Whoever finds it there takes its name for durable, and a sync that succeeds after one that failed proves nothing.
    """
    path.mkdir(mode, exist_ok=True)  # another process may have been faster
    try:
        sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            path.rmdir()
        raise


def temporary_name(final: Path, mark: str) -> Path:
    """Return `<final>.<mark>.tmp`, the name cut where a directory entry could not hold it."""
    ending = f".{mark}{TEMPORARY}"
    room = NAME_MAX - len(ending)
    return final.with_name(os.fsdecode(cut(os.fsencode(final.name), room)) + ending)


@contextlib.contextmanager
def temporary_beside(final: Path) -> Iterator[Path]:
    """Offer a name beside `final` to write to first, unlike that of any other call or process.

    What is left under that name when the block ends, however it ends, is removed. Raises OSError where that is refused.
    """
    temporary = temporary_name(final, secrets.token_hex(8))
    try:
        yield temporary
    except BaseException:
        # on a disk that fails, the block's own error is the one to tell; whoever answers it removes what is left
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    temporary.unlink(missing_ok=True)  # nobody would look for it again


@contextlib.contextmanager
def scratch_beside(final: Path) -> Iterator[Path]:
    """Offer a name beside `final` for a folder of intermediate files, to be made by whoever needs it first.

    The folder is removed when the block ends.
    """
    scratch = temporary_name(final, f"{secrets.token_hex(8)}.scratch")
    try:
        yield scratch
    finally:
        if scratch.exists():
            remove_tree(scratch)


def publish(temporary: Path, final: Path) -> None:
    """Make a finished temporary file the file `final`, over any before it; durable on return."""
    sync_file(temporary)
    rename(temporary, final)


def rename(temporary: Path, final: Path) -> None:
    """Rename within a folder, over any namesake; the names are durable on return, the content as it was."""
    temporary.rename(final)
    sync_directory(final.parent)


def write_bytes(final: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a whole file, atomically and durably. `mode` is the new file's, less the umask."""
    with temporary_beside(final) as temporary:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with open(os.open(temporary, flags, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = str(final)  # a disk that is full does not say whose bytes it refused
            raise
        rename(temporary, final)


def write_unsynced(final: str, temporary: str, content: bytes) -> None:
    """Write a file whole or not at all, by way of a name that nobody else uses. It may not outlast a power cut."""
    try:
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, final)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there. A symbolic link is not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, begin: str = "") -> int:
    """Remove what a crash left unpublished in a folder: files, links and scratch folders named `<begin>*.tmp`.

    Returns how many there were, 0 where there is no such folder. Only for names that nobody writes under now.
    """
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(TEMPORARY)]
    leftovers = [folder / name for name in names if name.startswith(begin)]
    for leftover in leftovers:
        remove_tree(leftover)
    return len(leftovers)


def cut(name: bytes, room: int) -> bytes:
    """Return the first `room` bytes of a file name, without half a UTF-8 character at their end."""
    while room < len(name) and name[room] & 0xC0 == 0x80:  # noqa: PLR2004 - 10xxxxxx continues a character
        room -= 1
    return name[:room]


def _sync(path: StrPath, flags: int, sync: Callable[[int], None] | None = None) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        (sync or os.fsync)(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(descriptor: int) -> None:
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"syncfs: {os.strerror(number)}")
