"""A daemon in a user and mount namespace of its own, without capabilities. Used by the campaign `unseen`.

What is mounted in there, and how many watches there are, is nobody else's business; no root is needed.
"""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from torture.campaign import Report
from torture.standstill import freeze, thaw
from torture.world import World

_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
_BARE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Inside, root without capabilities: who may not read a folder may really not."""

_PATIENCE = 120.0
"""Seconds in which a daemon on a busy machine must have ended."""


def missing() -> str | None:
    """Say what this machine lacks for it, None when it has everything."""
    for program in ("unshare", "setpriv", "nsenter"):
        if shutil.which(program) is None:
            return f"needs {program} (package util-linux)"
    allowed = subprocess.run([*_UNSHARE, *_BARE, "true"], capture_output=True, text=True, check=False)
    return None if allowed.returncode == 0 else f"needs user namespaces: {allowed.stderr.strip()}"


class Boxed:
    """`medalliond run` on a world's root, inside; its log outside."""

    def __init__(self, world: World, **settings: str) -> None:
        self._log = world.outside / "daemon.log"
        self._seen = 0
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_UNSHARE, *_BARE, *world.command("run")],
                env=world.environment(log_level="debug", **settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def inside(self, *words: str) -> None:
        """Run a command in the daemon's namespaces, as their root."""
        pid = str(self._process.pid)
        subprocess.run(
            ["nsenter", "--target", pid, "--user", "--mount", "--preserve-credentials", *words], check=True
        )

    def limit_watches(self, count: int) -> None:
        """Let the daemon have so many inotify watches and no more."""
        self.inside("sh", "-c", f"echo {count} > /proc/sys/user/max_inotify_watches")

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it and its workers, as SIGSTOP does, until it is told to go on."""
        freeze(self._process.pid)

    def thaw(self) -> None:
        """Let it go on."""
        thaw(self._process.pid)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged since `forget`."""
        lines = self._log.read_text().splitlines()[self._seen :]
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def forget(self) -> None:
        """Look at later log lines only."""
        self._seen = len(self._log.read_text().splitlines())

    def wait_for(self, event: str, words: str = "", seconds: float = 30) -> None:
        """Wait for a log line of `event` with these words. Raises TimeoutError."""
        self.until(
            lambda: any(line["event"] == event and words in json.dumps(line) for line in self.lines()),
            seconds,
            f"{event} {words}".strip(),
        )

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `condition` holds. Raises TimeoutError with the end of the log."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self._process.poll() is not None:
                if condition():
                    return
                raise TimeoutError(f"no {what} within {seconds:g} s; the log ends: {self._tail()}")
            time.sleep(0.05)

    def ended(self, status: int) -> None:
        """The daemon ends by itself with this status. Raises TimeoutError or AssertionError."""
        found = self._process.wait(_PATIENCE)
        if found != status:
            raise AssertionError(f"ended with {found}, not {status}: {self._tail()}")

    def stop(self, report: Report) -> None:
        """Ask it to stop, if it did not end by itself as it was meant to; it must be well until then, and obey."""
        if self._process.poll() == 1 and any(line["event"] == "daemon_failed" for line in self.lines()):
            return
        self.signal(signal.SIGTERM)
        status = self._process.wait(_PATIENCE)
        if status != 0:
            report.findings.append(f"the daemon ended with {status} when asked to stop: {self._tail()}")

    def end(self) -> None:
        """Leave nothing behind, however it went."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def _tail(self) -> str:
        return self._log.read_text()[-1500:]
