"""Deliberately broken builds of the daemon: `python -m torture.broken …` is `medalliond …` with one promise removed.

Which one is said in TORTURE_BREAKAGE; several with commas between. Some are no broken builds but faults that only code can
make (an error in a handler of events, a kernel that says nothing), and the daemon has to live through them. A daemon's
workers are spawned and import their parent's main module, so the breakage is applied in them as well.
A campaign that does not catch the builds it names has no teeth.
"""

import inspect
import itertools
import os
import stat
import sys
from collections.abc import Callable
from functools import partial, wraps
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


def ledger_before_data() -> None:
    """The ledger speaks of files that are not written yet; then they are, piece by piece."""
    from daemon.catalog.ledger.outcomes import OutcomeLedger
    from daemon.lake.layout import Layout

    commit = OutcomeLedger.commit

    def early(self: OutcomeLedger, hops: Any, *words: Any) -> Any:
        paths = [
            Layout(task.root).generation(task.target, task.key, outcome.generation) / item.layer_file.name
            for task, outcome, _ in hops
            for item in outcome.items
            if item.layer_file
        ]
        contents = {path: path.read_bytes() for path in paths}
        for path in paths:
            path.unlink()
        try:
            return commit(self, hops, *words)
        finally:
            for path, content in contents.items():
                with path.open("wb", buffering=0) as file:
                    for begin in range(0, len(content), 64):
                        file.write(content[begin : begin + 64])

    OutcomeLedger.commit = early  # type: ignore[assignment,method-assign]  # a broken build is meant


def at_rest_before_it_is_moved() -> None:
    """A dropped file is written down to lie where it is about to be moved."""
    from daemon.catalog.ledger.rest import RestLedger
    from daemon.lake.archive import move_all
    from daemon.scheduling import rest

    at_rest = RestLedger.at_rest
    planned: list[tuple[Any, bool]] = []

    def later(moves: Any, *, private: bool = True) -> None:
        planned.append((moves, private))

    def early(self: RestLedger, file_ids: Any) -> None:
        at_rest(self, file_ids)
        while planned:
            moves, private = planned.pop()
            move_all(moves, private=private)

    vars(rest)["move_all"] = later
    RestLedger.at_rest = early  # type: ignore[method-assign]  # a broken build is meant


def syncs_again() -> None:
    """A sync that fails is tried again, and trusted."""
    fsync = os.fsync

    def stubborn(descriptor: int) -> None:
        try:
            fsync(descriptor)
        except OSError:
            fsync(descriptor)

    os.fsync = stubborn  # type: ignore[assignment]  # a broken build is meant


def condemns_what_the_machine_did() -> None:
    """A full disk is the file's fault like anything else that goes wrong."""
    for module in list(sys.modules.values()):
        if module.__name__.startswith("daemon.") and hasattr(module, "is_machine_fault"):
            vars(module)["is_machine_fault"] = lambda error: not isinstance(error, Exception)


def floor_ignored() -> None:
    """Files are taken until the disk is full."""
    from daemon.lake.room import Room

    def shortage(self: Room) -> None:
        self._short = False

    Room.shortage = shortage  # type: ignore[method-assign]  # a broken build is meant


def clock_not_followed() -> None:
    """Timers wait for the wall clock, wherever it has gone."""
    from datetime import timedelta

    from daemon.scheduling.jobs import Jobs

    def follow_clock(self: Jobs) -> timedelta:
        return timedelta() * self.is_well

    Jobs.follow_clock = follow_clock  # type: ignore[method-assign]  # a broken build is meant


def ids_by_the_clock_alone() -> None:
    """An id says when it was made and nothing else, so that it may sort before an older one."""
    import uuid6

    from daemon.catalog import identity

    def new_id() -> str:
        uuid6._last_v7_timestamp = None
        return str(uuid6.uuid7())

    identity.new_id = new_id


def leaks_descriptors() -> None:
    """A descriptor is left open for every batch that is claimed."""
    from daemon.landing.claims import Claims

    claim = Claims.claim

    def leaking(self: Claims, batches: Any, *words: Any) -> Any:
        for _ in batches:
            os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return claim(self, batches, *words)

    Claims.claim = leaking  # type: ignore[assignment,method-assign]  # a broken build is meant


def leaks_memory() -> None:
    """Something is kept for ever of every file that is claimed: 50 kB."""
    from daemon.landing.claims import Claims

    claim = Claims.claim
    kept: list[bytearray] = []

    def leaking(self: Claims, batches: Any, *words: Any) -> Any:
        kept.extend(_something() for files in batches.values() for _ in files)
        return claim(self, batches, *words)

    Claims.claim = leaking  # type: ignore[assignment,method-assign]  # a broken build is meant


def worker_leaks_memory() -> None:
    """Something is kept for ever by a worker of every file that it reads: 50 kB."""
    from daemon.scheduling import tasks

    climb = tasks.climb
    kept: list[bytearray] = []

    @wraps(climb)
    def leaking(task: Any) -> Any:
        kept.extend(_something() for item in task.task.items for _ in item.sources)
        return climb(task)

    tasks.climb = leaking


def wal_never_folded() -> None:
    """The ledger's write-ahead log grows for ever."""
    import sqlite3

    class Growing(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            super().execute("PRAGMA wal_autocheckpoint=0")
            return super().execute(sql, *values)

    sqlite3.connect = partial(sqlite3.connect, factory=Growing)  # type: ignore[assignment]  # a broken build is meant


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


def no_sweep() -> None:
    """What no event tells of is not looked for."""
    from daemon.landing.intake import Intake

    Intake.sweep = lambda *_: None  # type: ignore[method-assign]  # a broken build is meant


def overflow_ignored() -> None:
    """Events that the kernel threw away are nobody's business."""
    from daemon.landing.watcher import _Tree

    _Tree.on_queue_overflow = lambda *_: None  # type: ignore[method-assign]  # a broken build is meant


def canary_not_waited_for() -> None:
    """A watcher is well as long as its thread lives."""
    from daemon.landing.watcher import Watcher

    Watcher._canary_missing = lambda *_: None  # type: ignore[method-assign]  # a broken build is meant


def blindness_forgotten() -> None:
    """A watcher that was rebuilt is well until it is proved blind again, for ever."""
    from daemon.landing.watcher import Watcher

    Watcher.sees = property(lambda _: True)  # type: ignore[assignment,method-assign]  # a broken build is meant


def lock_not_taken() -> None:
    """Any number of daemons may work on one root."""
    import fcntl

    fcntl.lockf = lambda *_: None


def lease_not_asked() -> None:
    """Whether somebody still writes to a file is not asked."""
    from daemon.landing import candidates, claims
    from daemon.scheduling import planning

    for module in (candidates, claims, planning):
        vars(module)["lease_answer"] = lambda _: "free"


def handler_fails() -> None:
    """A fault: every tenth hint meets an error in whoever handles it."""
    from daemon.landing.intake import Intake

    heard, calls = Intake.hint, itertools.count(1)

    def hint(self: Intake, hint: Any) -> None:
        if next(calls) % 10 == 0:
            raise RuntimeError("a mistake on purpose")
        heard(self, hint)

    Intake.hint = hint  # type: ignore[method-assign]  # a fault is meant


def no_hints() -> None:
    """A fault: the kernel tells of no file, as on a network mount; the canary is ours and comes back."""
    from daemon.landing.intake import Intake

    Intake.hint = lambda *_: None  # type: ignore[method-assign]  # a fault is meant


def silent_kernel() -> None:
    """A fault: the kernel tells nothing at all while every thread lives. The daemon gives up sooner than it would."""
    from daemon import guard
    from daemon.landing import watcher

    watcher._Tree.on_event = lambda *_: None  # type: ignore[method-assign]  # a fault is meant
    watcher._CANARY_PATIENCE, guard._BLIND = 1.0, 3.0


def _something() -> bytearray:
    return bytearray(b"x") * 50_000


def _sync_only(*, regular: bool) -> None:
    """Let fsync do nothing for folders (`regular`), or for files; patched in `os`, as modules hold ours by many names."""
    fsync = os.fsync

    def some(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) == regular:
            fsync(descriptor)

    os.fsync = some  # type: ignore[assignment]  # a broken build is meant


BREAKAGES: dict[str, Callable[[], None]] = {
    name: thing
    for name, thing in list(vars().items())
    if inspect.isfunction(thing) and not name.startswith("_")
}
"""By name. The docstring of each says what promise it removes."""


def environment(breakage: str | None) -> dict[str, str]:
    """What to add to the environment of `python -m torture.broken` for this build; nothing for the real one."""
    if breakage is None:
        return {}
    return {"TORTURE_BREAKAGE": breakage, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


for _name in filter(None, os.environ.get("TORTURE_BREAKAGE", "").split(",")):
    BREAKAGES[_name]()

if __name__ == "__main__":
    from daemon.cli.main import app  # after the breakage, so that what it imports is broken as well

    app(prog_name="medalliond")
