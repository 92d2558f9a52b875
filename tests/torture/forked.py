"""Daemons forked from a process that has loaded everything: a life takes a tenth of what `python -m daemon` takes.

For campaigns that need thousands of lives. What runs is the daemon's own code from its command line on; only its workers
are forked as well, where a real daemon spawns them.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from forked_program import be_medalliond, write_to

from daemon.cli.main import app
from daemon.pipeline import promote
from torture import broken

LOADED = (app, promote)
"""What the import of this module has loaded, polars among it; whoever forks must not have used polars or DuckDB."""


class Life:
    """A running `medalliond WORDS…`; its output is appended to `log`."""

    def __init__(
        self, words: Sequence[str], log: Path, environment: Mapping[str, str], breakage: str | None
    ) -> None:
        self.log = log
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_live(words, log, environment, breakage))
        self._status: int | None = None

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def kill(self) -> None:
        """SIGKILL; its workers die with it. Nothing to one that has ended."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1500:]


def _live(words: Sequence[str], log: Path, environment: Mapping[str, str], breakage: str | None) -> int:
    write_to(log)
    os.environ.clear()
    os.environ.update(environment)
    if breakage:
        broken.BREAKAGES[breakage]()
    try:
        be_medalliond(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the process ends here, whatever it is
        os.write(2, repr(error).encode())
        return 70
    return 0
