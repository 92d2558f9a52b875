import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.lake.leases import lease_answer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    return path


def test_a_file_nobody_has_open_is_free(file: Path) -> None:
    assert lease_answer(file) == "free"


def test_a_file_that_is_only_read_is_free(file: Path) -> None:
    with file.open():
        assert lease_answer(file) == "free"


@pytest.mark.parametrize("mode", ["a", "r+", "w"])
def test_a_file_that_is_open_for_writing_is_told_so_until_it_is_closed(file: Path, mode: str) -> None:
    with file.open(mode):
        assert lease_answer(file) == "open_for_writing"
    assert lease_answer(file) == "free"


def test_the_question_leaves_no_lease_and_no_descriptor_behind(file: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert lease_answer(file) == "free"
    with file.open("a"):  # a lease left behind would make this wait
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_writer_who_comes_while_we_ask_does_not_end_the_process(file: Path) -> None:
    script = f"""
import os, pathlib, threading, daemon.lake.leases as leases
path, stopped = pathlib.Path({str(file)!r}), threading.Event()
def write():
    while not stopped.is_set():
        os.close(os.open(path, os.O_WRONLY))
writer = threading.Thread(target=write)
writer.start()
print(len({{leases.lease_answer(path) for _ in range(20_000)}} - {{"unknown"}}))
stopped.set()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) in {1, 2}


def test_a_missing_file_is_told_as_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lease_answer(tmp_path / "gone.csv")


def test_a_named_pipe_without_a_writer_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert lease_answer(tmp_path / "pipe") == "unknown"


def test_a_symbolic_link_is_not_followed(file: Path) -> None:
    link = file.with_name("link.csv")
    link.symlink_to(file)
    assert lease_answer(link) == "unknown"


def test_a_socket_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        assert lease_answer(tmp_path / "s") == "unknown"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_refusal_to_tell_is_unknown(file: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    assert lease_answer(file) == "unknown"
