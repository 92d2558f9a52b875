"""A real daemon in its own process, for tests that stop, kill and restart it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

QUIET = {
    "MEDALLIOND_SETTLE": "0.05",
    "MEDALLIOND_SWEEP_INTERVAL": "1",
    "MEDALLIOND_LOG_FORMAT": "json",
    "MEDALLIOND_WORKERS": "1",
}
"""Short waits, and one worker where a test asks for no more: each costs the time to load Polars."""


def command(root: Path, *words: str) -> list[str]:
    """A medalliond command line."""
    return [sys.executable, "-m", "daemon", *words, "--root", str(root)]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a daemon whose waits are short."""
    return {
        **os.environ,
        **QUIET,
        **{f"MEDALLIOND_{name.upper()}": value for name, value in settings.items()},
    }


def drain(root: Path, **settings: str) -> int:
    """Drain a root; returns the exit status."""
    done = subprocess.run(
        command(root, "drain"),
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    return done.returncode


class Daemon:
    """`medalliond run` on a root, its log lines in a file."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.log_path = root / "daemon.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command(root, "run"), env=environment(**settings), stdout=log, stderr=subprocess.STDOUT
            )

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

    def kill(self) -> None:
        """SIGKILL, and proof that it fired."""
        self.process.kill()
        assert self.process.wait(10) == -signal.SIGKILL

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def running(root: Path, **settings: str) -> Iterator[Daemon]:
    """A daemon that is ready; ended when the block ends, if it has not ended by itself."""
    daemon = Daemon(root, **settings)
    try:
        daemon.wait_for("daemon_ready")
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait(10)


def wait_for(found: Callable[[], T | None], seconds: float, why: Callable[[], str]) -> T:
    """What `found` gives as soon as it gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = found()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"nothing within {seconds} s:\n{why()}")
