"""File systems in files: made, mounted where nobody else sees them, cut off as by a power failure. Needs root."""

import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, linux/fs.h
_NO_LOG_FLUSH = 2  # what is not on the disk yet never gets there
_FORGET = 0x1261  # BLKFLSBUF, linux/fs.h
_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18  # linux/mount.h
_PATIENCE = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Kind:
    """A file system: its type, how it is made, with what options it is mounted, and the least size it comes in."""

    type: str
    make: tuple[str, ...]
    options: str = ""
    size: int = 96 << 20


def missing(*kinds: Kind) -> str | None:
    """Why images of these kinds cannot be had here, None where they can."""
    if os.geteuid() != 0:
        return "it mounts file systems, which needs root"
    tools = [*(kind.make[0] for kind in kinds), "losetup"]
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"there is no {absent[0]}" if absent else None


def keep_mounts_private() -> None:
    """From now on what this process and its children mount is seen by them alone, and gone when the last of them is."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _checked(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate /")


class Image:
    """One file system in the file `path`, mounted on the folder `at`."""

    def __init__(self, kind: Kind, path: Path, at: Path) -> None:
        self._kind = kind
        self._at = at
        with path.open("wb") as file:
            file.truncate(kind.size)
        subprocess.run([*kind.make, str(path)], check=True, stdout=subprocess.DEVNULL)
        attach = ["losetup", "--find", "--show", str(path)]
        self._device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
        self._held = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC)
        # Detached as soon as nobody holds it any more, however this process ends.
        subprocess.run(["losetup", "--detach", self._device], check=True)
        self.mount()

    def mount(self) -> None:
        """Mount it; what a cut left in the journal is replayed.

        The device's cache is emptied before: what was changed in memory alone must not outlive the power.
        """
        fcntl.ioctl(self._held, _FORGET)
        self._at.mkdir(parents=True, exist_ok=True)
        words = (self._device, str(self._at), self._kind.type)
        _checked(
            _libc.mount(*(word.encode() for word in words), 0, self._kind.options.encode() or None),
            f"mount {self._at}",
        )

    def unmount(self) -> None:
        """Unmount it, once those who were killed have let go of it."""
        until = time.monotonic() + _PATIENCE
        while _libc.umount2(str(self._at).encode(), 0) != 0:
            if ctypes.get_errno() != errno.EBUSY or time.monotonic() > until:
                _checked(-1, f"umount {self._at}")
            time.sleep(0.002)

    def cut(self) -> None:
        """Cut the power: from now on every call fails, and what was not made durable is gone."""
        folder = os.open(self._at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    @property
    def is_cut(self) -> bool:
        """Whether the file system is dead: nothing can be made on it."""
        try:
            os.close(os.open(self._at / ".alive", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
        except OSError as error:
            return error.errno == errno.EIO
        return False

    def close(self) -> None:
        """Unmount it and let its device go."""
        self.unmount()
        os.close(self._held)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
