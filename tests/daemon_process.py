"""Real daemons and commands, each in a process of its own, for tests that stop, kill and restart them."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar

from forked_program import WARM, be_medalliond, write_to

T = TypeVar("T")

QUIET = {
    "MEDALLIOND_SETTLE": "0.05",
    "MEDALLIOND_SWEEP_INTERVAL": "1",
    "MEDALLIOND_LOG_FORMAT": "json",
    "MEDALLIOND_WORKERS": "1",
}
"""Short waits, and one worker where a test asks for no more."""

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(WARM))


def command(root: Path, *words: str) -> list[str]:
    """The command line of the program as it is installed."""
    return [sys.executable, "-m", "daemon", *words, "--root", str(root)]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a daemon whose waits are short."""
    return {
        **os.environ,
        **QUIET,
        **{f"MEDALLIOND_{name.upper()}": value for name, value in settings.items()},
    }


def _live(words: Sequence[str], log: Path, setup: Mapping[str, str]) -> None:
    write_to(log)
    os.environ.clear()
    os.environ.update(setup)
    be_medalliond(words)


def _live_installed(words: Sequence[str], log: Path, setup: Mapping[str, str]) -> None:
    write_to(log)
    os.execve(sys.executable, [sys.executable, "-m", "daemon", *words], {**setup})  # noqa: S606 - the program itself


class Done(NamedTuple):
    """How a command ended, and all that it wrote."""

    status: int
    output: str


def run(root: Path, *words: str, **settings: str) -> Done:
    """Run a medalliond command on a root to its end."""
    with NamedTemporaryFile() as output:
        line = [*words, "--root", str(root)]
        process = _SERVER.Process(target=_live, args=(line, Path(output.name), environment(**settings)))
        process.start()
        process.join(50)
        if process.exitcode is None:
            process.kill()
        written = output.read().decode()
        assert process.exitcode is not None, f"{words} takes too long: {written}"
        return Done(process.exitcode, written)


def medalliond(root: Path, *words: str, status: int = 0, **settings: str) -> str:
    """What a command writes that ends with this status."""
    done = run(root, *words, **settings)
    assert done.status == status, done.output
    return done.output


def drain(root: Path, **settings: str) -> int:
    """Drain a root; returns the exit status."""
    done = run(root, "drain", **settings)
    assert done.status in {0, 3}, done.output
    return done.status


class Daemon:
    """`medalliond run` on a root, its log lines in a file."""

    _live = staticmethod(_live)

    def __init__(self, root: Path, **settings: str) -> None:
        (root / "landing").mkdir(exist_ok=True)
        self.log_path = root / "daemon.log"
        self.log_path.touch()
        line = ["run", "--root", str(root)]
        self._process = _SERVER.Process(
            target=self._live, args=(line, self.log_path, environment(**settings))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def events(self) -> list[dict[str, Any]]:
        """The log so far, of this and earlier runs."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def wait_for(self, event: str, *, seconds: float = 20, **fields: object) -> dict[str, Any]:
        """The first line of `event` with these fields; fails when it does not come in time."""

        def found() -> dict[str, Any] | None:
            lines = (line for line in self.events() if line["event"] == event)
            return next((line for line in lines if fields.items() <= line.items()), None)

        return wait_for(found, seconds, self.log_path.read_text)

    def live_for(self, seconds: float) -> None:
        """Let time go by; fails when it ends meanwhile."""
        self._process.join(seconds)
        assert self._process.exitcode is None, self.log_path.read_text()

    def kill(self) -> None:
        """SIGKILL, and proof that it fired."""
        self._process.kill()
        assert self._ended(10) == -signal.SIGKILL

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit status."""
        os.kill(self.pid, number)
        return self._ended(15)

    def end(self) -> None:
        """SIGKILL, if it has not ended by itself."""
        self._process.kill()
        self._process.join(10)

    def _ended(self, seconds: float) -> int:
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it still runs:\n{self.log_path.read_text()}"
        return self._process.exitcode


class InstalledDaemon(Daemon):
    """The same as people start it: the program imports what it needs, and spawns its workers."""

    _live = staticmethod(_live_installed)


@contextmanager
def ready(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon that is ready; ended when the block ends, if it has not ended by itself."""
    try:
        daemon.wait_for("daemon_ready")
        yield daemon
    finally:
        daemon.end()


def running(root: Path, **settings: str) -> AbstractContextManager[Daemon]:
    """A daemon on this root that is ready, to the end of the block."""
    return ready(Daemon(root, **settings))


def wait_for(found: Callable[[], T | None], seconds: float, why: Callable[[], str]) -> T:
    """What `found` gives as soon as it gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = found()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"nothing within {seconds} s:\n{why()}")
