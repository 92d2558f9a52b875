"""Atomic and durable steps on files: write, publish, remove, with every sync that a power cut asks for.

Used by the rest of the lake, by landing's claims and by scheduling. OSError passes through: it is the
machine's fault. A failed fsync is never tried again and trusted (the kernel may have dropped the pages): the
step fails as a whole.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".tmp"
"""How the name of a file ends that is not published yet; what a crash leaves with this ending is removed at start."""


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, each name durable in its parent.

    `mode` is of the new ones, less the umask.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode)
        sync_directory(folder.parent)


@contextlib.contextmanager
def temporary_beside(final: Path) -> Iterator[Path]:
    """A name beside `final` to write to first, unlike that of any other process; what is left of it is removed."""
    temporary = final.with_name(f"{final.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> None:
    """Make a finished temporary file the file `final`, in the place of any before it; durable when it returns."""
    sync_file(temporary)
    temporary.rename(final)
    sync_directory(final.parent)


def write_bytes(final: Path, content: bytes) -> None:
    """Write a whole file, atomically and durably."""
    with temporary_beside(final) as temporary:
        temporary.write_bytes(content)
        publish(temporary, final)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there. A symbolic link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove what a crash left unpublished in a folder. Returns how many files that were."""
    leftovers = list(folder.glob(f"*{TEMPORARY}")) if folder.is_dir() else []
    for leftover in leftovers:
        remove_tree(leftover)
    return len(leftovers)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
