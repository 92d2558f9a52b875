"""One daemon per root: the lock says who holds it, and goes with its holder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.catalog.ledger.lock import RootLock, lock_holder
from daemon.errors import HaltError

OTHER = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
"""Waits for the lock, holds it until its input ends."""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_root_that_another_works_on_is_refused_with_its_process_until_it_is_given_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "daemon.lock"
    assert lock_holder(path) is None
    ours = RootLock.acquire(path)
    with subprocess.Popen(
        [sys.executable, "-S", "-c", OTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        ours.release()
        assert other.stdout.readline() == "held\n"
        before = descriptors()
        assert lock_holder(path) == other.pid
        refusal = (
            rf"daemon\.lock: another medalliond \(pid {other.pid}\) works on this root\. "
            r"Stop it first, or give this one another --root\.$"
        )
        with pytest.raises(HaltError, match=refusal):
            RootLock.acquire(path)
        assert lock_holder(path) == other.pid
        assert descriptors() == before
        other.stdin.close()
        other.wait()
    assert lock_holder(path) is None
    RootLock.acquire(path).release()
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b""


def test_a_lock_is_not_handed_on_to_programs_that_are_started(tmp_path: Path) -> None:
    ours = RootLock.acquire(tmp_path / "daemon.lock")
    assert not os.get_inheritable(ours._descriptor)
    ours.release()
