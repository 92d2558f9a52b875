"""The counted calls of a daemon under test: builds faultshim.c, tells it at which call to do what, reads what it saw.

A `Shim` is one file of shared memory; every process that was started with its environment writes into it.
"""

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

_SOURCE = Path(__file__).with_name("faultshim.c")
_HEADER = struct.Struct("=10i3072s")
_RECORD = struct.Struct("=4iq16s480s")
_RECORDS_AT = 4096
_CAPACITY = 20_000
_COUNTERS_AT = 32
"""Where `chosen` and `recorded` stand."""


class Calls(IntFlag):
    """Kinds of calls. What READ names changes nothing, but can fail."""

    CREATE = 1
    WRITE = 2
    SYNC = 4
    RENAME = 8
    LINK = 16
    REMOVE = 32
    MKDIR = 64
    TRUNCATE = 128
    CHMOD = 256
    READ = 512
    SYMLINK = 1024
    CHANGING = 1535


class Action(IntEnum):
    """What to do with the call that is met."""

    NOTHING = 0
    KILL_CALLER = 1
    KILL_DAEMON = 2
    """The daemon's main process and the caller, where that is a worker."""
    FAIL = 3


class Roles(IntFlag):
    """Whose calls."""

    PARENT = 1
    WORKER = 2
    ALL = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Meet the `target`-th call (from 1) of these kinds and roles, and `times - 1` after it, with `action`."""

    action: Action = Action.NOTHING
    target: int = 0
    times: int = 1
    error: int = 0
    calls: Calls = Calls.CHANGING
    roles: Roles = Roles.ALL


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was seen, at its entry. `path` is relative to the folder; `inode` that of the file it is about, or 0."""

    by_parent: bool
    kind: Calls
    name: str
    path: str
    inode: int
    met: Action


def missing() -> str | None:
    """Why the shim cannot be built here."""
    return None if shutil.which("gcc") else "gcc is not installed"


def build(folder: Path) -> Path:
    """Compile the shim and return its path."""
    library = folder / "faultshim.so"
    if not library.exists():
        command = ["gcc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
    return library


class Shim:
    """Shared memory with the processes of one daemon at a time."""

    def __init__(self, work: Path) -> None:
        self._path = work / "shim"
        with self._path.open("wb") as file:
            file.truncate(_RECORDS_AT + _CAPACITY * _RECORD.size)
        with self._path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._library = build(work)
        self._daemon = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be seen."""
        return {"LD_PRELOAD": str(self._library), "TORTURE_SHIM": str(self._path)}

    def arm(self, root: Path, daemon: int, fault: Fault) -> None:
        """Forget what was seen, and do this from now on; `daemon` is the id of the main process."""
        self._daemon = daemon
        self._memory[_RECORDS_AT : _RECORDS_AT + self._seen() * _RECORD.size] = bytes(
            self._seen() * _RECORD.size
        )
        folder = str(root).encode()
        self._memory[: _HEADER.size] = _HEADER.pack(
            _CAPACITY,
            fault.action,
            fault.target,
            fault.times,
            fault.error,
            fault.calls,
            fault.roles,
            daemon,
            0,
            0,
            folder,
        )

    @property
    def changes(self) -> int:
        """How many calls that change something (or that the fault chose from) were seen so far."""
        return int(struct.unpack_from("=i", self._memory, _COUNTERS_AT)[0])

    def calls(self) -> list[Call]:
        """What was seen since `arm`, in the order of its coming."""
        found = []
        for number in range(self._seen()):
            pid, _tid, kind, met, inode, name, path = _RECORD.unpack_from(
                self._memory, _RECORDS_AT + number * _RECORD.size
            )
            found.append(Call(pid == self._daemon, Calls(kind), _text(name), _text(path), inode, Action(met)))
        return found

    def _seen(self) -> int:
        _, recorded = struct.unpack_from("=2i", self._memory, _COUNTERS_AT)
        if recorded > _CAPACITY:
            raise OverflowError(f"{recorded} calls were made, {_CAPACITY} can be recorded")
        return int(recorded)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
