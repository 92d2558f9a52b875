"""Processes brought to a standstill. Used by campaigns that then change what those stand on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PATIENCE = 120.0
"""Seconds in which a process on a busy machine must stand still."""


def freeze(pid: int) -> None:
    """Stop a process and those it started, as SIGSTOP does, and wait until each of their threads stands still.

    A call that has begun, such as a sync, is carried out before. One that has ended is none of them. Raises TimeoutError.
    """
    until = time.monotonic() + _PATIENCE
    while moving := [one for one in _family(pid) if not _stands_still(one)]:
        if time.monotonic() > until:
            raise TimeoutError(f"process {pid} does not stand still after {_PATIENCE:g} s")
        for one in moving:  # again and again: one that was started a moment ago has not been told
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGSTOP)
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """Let a process that was frozen, and those it started, go on."""
    for one in _family(pid):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)


def end(pid: int) -> None:
    """Kill a process that was frozen, and those it started: one that had just begun does not die with it by itself."""
    for one in list(_family(pid)):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield from _family(child)


def _stands_still(pid: int) -> bool:
    try:
        states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return not Path(f"/proc/{pid}").exists()
    return all("\tT (stopped)" in state or "\tZ (zombie)" in state for state in states)
