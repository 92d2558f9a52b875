"""Deliberately broken builds of the daemon: `python -m torture.broken …` is `medalliond …` with one promise removed.

Which one is said in TORTURE_BREAKAGE. A daemon's workers are spawned and import their parent's main module, so the
breakage is applied in them as well. A campaign that does not catch the builds it names has no teeth.
"""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def no_directory_sync() -> None:
    """A name is used before it is durable."""
    _sync_only(regular=True)


def no_file_sync() -> None:
    """A file is published before its content is durable."""
    _sync_only(regular=False)


def ledger_not_synced() -> None:
    """A transaction is acknowledged before it is durable: `PRAGMA synchronous=NORMAL`."""
    import sqlite3

    class Hasty(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *values)

    sqlite3.connect = partial(sqlite3.connect, factory=Hasty)  # type: ignore[assignment]  # a broken build is meant


def no_memory_limit() -> None:
    """A worker may hold as much as it likes."""
    from daemon.scheduling import memory

    memory.memory_held = lambda pid: 0 * pid


def follows_links() -> None:
    """A link in landing is taken for the file that it points to."""
    os.lstat = os.stat


def panics_unexplained() -> None:
    """What a library says when it fails is the reason, whatever it says."""
    from daemon.readers import foreign

    foreign.spoken = lambda error: f"{error}"


def _sync_only(*, regular: bool) -> None:
    """Let fsync do nothing for folders (`regular`), or for files; patched in `os`, as modules hold ours by many names."""
    fsync = os.fsync

    def some(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) == regular:
            fsync(descriptor)

    os.fsync = some  # type: ignore[assignment]  # a broken build is meant


BREAKAGES: dict[str, Callable[[], None]] = {
    breakage.__name__: breakage
    for breakage in (
        no_directory_sync,
        no_file_sync,
        ledger_not_synced,
        no_memory_limit,
        follows_links,
        panics_unexplained,
    )
}
"""By name. The docstring of each says what promise it removes."""


def environment(breakage: str | None) -> dict[str, str]:
    """What to add to the environment of `python -m torture.broken` for this build; nothing for the real one."""
    if breakage is None:
        return {}
    return {"TORTURE_BREAKAGE": breakage, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


if "TORTURE_BREAKAGE" in os.environ:
    BREAKAGES[os.environ["TORTURE_BREAKAGE"]]()

if __name__ == "__main__":
    from daemon.cli.main import app  # after the breakage, so that what it imports is broken as well

    app(prog_name="medalliond")
