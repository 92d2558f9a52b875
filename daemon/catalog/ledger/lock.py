"""One daemon per root: an exclusive lock that dies with its process.

Taken by the service before the ledger is opened.
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Self

from daemon.errors import HaltError

_FLOCK = "hhqqi4x"
"""struct flock of Linux on 64 bits: l_type, l_whence, l_start, l_len, l_pid."""


class RootLock:
    """Holds `catalog/daemon.lock`; the file is empty and never removed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock. Raises HaltError, naming the other process, when it is held."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HaltError(
                f"{path}: another medalliond (pid {lock_holder(path) or 'unknown'}) works on this root. "
                "Stop it first, or give this one another --root."
            ) from None
        return cls(descriptor)

    def release(self) -> None:
        """Let the next daemon in."""
        os.close(self._descriptor)


def lock_holder(path: Path) -> int | None:
    """The pid of the process that works on the root, None when nobody does.

    Asks without locking, so it is in nobody's way.

    Not for the holder itself: closing a second descriptor of the file would drop its lock (fcntl(2)).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
