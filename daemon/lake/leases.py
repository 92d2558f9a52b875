"""Asks the kernel whether any process has a file open for writing. Used by intake, claims, planning and `doctor`.

A read lease is only given on a file that nobody has open for writing: exact, and a few microseconds. It is
refused on most network file systems, and to those who neither own the file nor have CAP_LEASE.
"""

import errno
import fcntl
import os
import signal
from typing import Literal

from daemon.lake.durable import StrPath

LeaseAnswer = Literal["free", "open_for_writing", "unknown"]

_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def lease_answer(path: StrPath) -> LeaseAnswer:
    """Whether a process has `path` open for writing; "unknown" when the kernel will not tell.

    Never waits, not even on a fifo. Raises FileNotFoundError when there is no such file (any more).
    """
    try:
        descriptor = os.open(path, _LOOK)
    except FileNotFoundError:
        raise
    except BlockingIOError:  # somebody else's write lease is on it
        return "open_for_writing"
    except OSError:  # unreadable, a symbolic link, a socket
        return "unknown"
    try:
        return _ask(descriptor)
    finally:
        os.close(descriptor)


def _ask(descriptor: int) -> LeaseAnswer:
    try:
        # who opens the file in the very moment that we hold the lease makes the kernel signal us: by default SIGIO,
        # which would end the daemon; SIGURG is ignored by whoever does not ask for it
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return "open_for_writing" if error.errno == errno.EAGAIN else "unknown"
    return "free"
