"""Lost events: what the kernel never told, or told and nobody heard, is found all the same, and soon.

The daemon lives in a user and mount namespace of its own, without capabilities: so its landing can be mounted over and
made unreadable, and its number of watches limited, by anyone, with nothing of the machine changed.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.campaign import Campaign, Plan, Report
from torture.namespace import Boxed, missing
from torture.world import World

_SWEEP = 5.0
"""Seconds between two sweeps where a sweep is all that finds a file."""
_NEVER = 600.0
"""Where what must find a file is not the regular sweep."""
_SLACK = 60.0
"""Seconds beyond the next sweep in which a busy machine must have found a file; how soon it was is reported."""
_ROWS = 2
_LARGE = 100
"""From so many overflows on the burst and the heap are those of the long form."""

_OVERFLOWED = "watcher_overflowed"
_BLIND = "watcher_blind"


class _Attack:
    """One daemon under attack, and what is noted of it."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._report = report
        self._next = 0
        self._slowest: dict[str, float] = {}
        self.world = World(plan.work, plan.breakage)
        self.landing = self.world.root / "landing"

    @contextmanager
    def daemon(self, fault: str | None = None, sweep: float = _NEVER) -> Iterator[Boxed]:
        """A ready daemon, `fault` put into it; it must be alive at the end and stop when asked."""
        before = self.world.breakage
        self.world.breakage = ",".join(name for name in (before, fault) if name) or None
        boxed = Boxed(self.world, receipts="false", sweep_interval=str(sweep))
        self.world.breakage = before
        try:
            boxed.wait_for("daemon_ready")
            yield boxed
            boxed.stop(self._report)
        finally:
            boxed.end()

    def drop(self, count: int = 3) -> None:
        """Drop so many files; the names are noted."""
        for _ in range(count):
            self.world.drop(self._next, _ROWS)
            self._next += 1

    def found(self, what: str, within: float, since: float) -> None:
        """Wait until every file was taken out of landing; note the slowest, by what was done to it."""
        until = since + within
        looked = time.monotonic()
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(max(0.02, 5 * (time.monotonic() - looked)))  # a heap takes long to look through
            looked = time.monotonic()
        took = time.monotonic() - since
        self._slowest[what] = max(self._slowest.get(what, 0.0), took)
        if left:
            self._report.lost += len(left) * _ROWS
            self._report.findings.append(f"{what}: {len(left)} files not found in {took:.0f} s: {left[:3]}")

    def at_rest(self, boxed: Boxed) -> None:
        """Wait until nothing is claimed: whoever takes landing away now takes nobody's file with it."""
        claimed = self.landing / ".claimed"
        boxed.until(lambda: not any(claimed.iterdir()), _NEVER, "files at rest")

    def expect(self, boxed: Boxed, event: str, words: str = "", seconds: float = _SLACK) -> bool:
        """Count a fault that the daemon told of; one more is planned. Returns whether it did."""
        self._report.planned += 1
        try:
            boxed.wait_for(event, words, seconds)
        except TimeoutError as error:
            self._report.findings.append(str(error))
            return False
        self._report.fired += 1
        return True

    def note(self, figure: str, value: str) -> None:
        """A figure for the report."""
        self._report.figures[figure] = value

    def close(self) -> None:
        """Note how soon everything was found, and account for every record."""
        for what, took in self._slowest.items():
            self._report.figures[f"{what}: found after"] = f"{took:.1f} s"
        self.world.settle(self._report, "what was lost")

    def _left(self) -> list[str]:
        return [
            os.path.join(here, name)  # noqa: PTH118 - faster over many files
            for here, _, names in os.walk(self.landing)
            for name in names
            if name != ".canary" and ".claimed" not in here
        ]


def _flood(folder: Path) -> None:
    """Twice as many events as the kernel keeps."""
    path = folder / ".flood"
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))  # told when made and when closed, each time
        path.unlink()


def _overflows(attack: _Attack, times: int) -> None:
    """Files dropped before, in and after a flood of events; and one into a folder of which the kernel told nobody."""
    with attack.daemon() as boxed:
        for number in range(times):
            boxed.forget()
            boxed.freeze()
            attack.drop()
            _flood(attack.landing / "events")
            attack.drop()
            new = attack.landing / f"new{number}"
            new.mkdir()
            boxed.thaw()
            began = time.monotonic()
            attack.found("overflow", _SLACK, began)
            attack.expect(boxed, _OVERFLOWED)
            began = time.monotonic()
            (new / "a.csv").write_text(f"note\nin a folder that came unseen, {number}\n")
            attack.found("a folder that came in an overflow", _SLACK, began)


def _blindings(attack: _Attack) -> None:
    """Landing taken away in every way; what comes when it is back is found."""
    ways: dict[str, Callable[[_Attack, Boxed], None]] = {
        "renamed": _renamed,
        "deleted": _deleted,
        "mounted over": _mounted_over,
        "unreadable": _unreadable,
        "watch limit": _watch_limit,
    }
    with attack.daemon() as boxed:
        for name, blind in ways.items():
            attack.drop()
            attack.found("by an event", _SLACK, time.monotonic())
            boxed.forget()
            blind(attack, boxed)
            attack.drop()
            attack.found(f"landing {name}", _SLACK, time.monotonic())


def _renamed(attack: _Attack, boxed: Boxed) -> None:
    attack.drop(
        40
    )  # some are being worked on when landing goes, and those in it are not to be condemned for that
    away = attack.landing.with_name("away")
    attack.landing.rename(away)
    attack.expect(boxed, _BLIND, "is gone")
    away.rename(attack.landing)


def _deleted(attack: _Attack, boxed: Boxed) -> None:
    attack.at_rest(boxed)
    shutil.rmtree(attack.landing)
    attack.expect(boxed, _BLIND, "is gone")
    for folder in ("events", "sales/orders"):
        (attack.landing / folder).mkdir(parents=True)


def _mounted_over(attack: _Attack, boxed: Boxed) -> None:
    attack.at_rest(boxed)
    boxed.inside("mount", "-t", "tmpfs", "tmpfs", str(attack.landing))
    attack.drop()  # these lie below the mount, where the daemon cannot see them
    attack.expect(boxed, _BLIND, "no longer the same folder")
    boxed.wait_for("watcher_rebuilt")
    boxed.forget()
    boxed.inside("umount", str(attack.landing))
    attack.expect(boxed, _BLIND, "no longer the same folder")


def _unreadable(attack: _Attack, boxed: Boxed) -> None:
    attack.drop()
    attack.landing.chmod(0)
    attack.expect(boxed, _BLIND, "cannot be read")
    attack.landing.chmod(0o755)


def _watch_limit(attack: _Attack, boxed: Boxed) -> None:
    boxed.limit_watches(1)
    (attack.landing / "late").mkdir()
    began = time.monotonic()
    (attack.landing / "late/a.csv").write_text("note\nin a folder that cannot be watched\n")
    attack.found("no watch left", _SLACK, began)
    attack.expect(boxed, _BLIND, "max_user_watches")
    boxed.limit_watches(100_000)


def _failing_handler(attack: _Attack) -> None:
    """The handler of events fails now and then; no hint after it is lost, and those before are made up for."""
    with attack.daemon("handler_fails") as boxed:
        began = time.monotonic()
        attack.drop(30)
        attack.found("handler failed", _SLACK, began)
        attack.expect(boxed, _BLIND, "a mistake while an event was handled")


def _no_events(attack: _Attack) -> None:
    """No event at all of files, as on a network mount: the sweep finds every file within one interval."""
    with attack.daemon("no_hints", _SWEEP) as boxed:
        boxed.wait_for("sweep_completed")
        began = time.monotonic()
        attack.drop(50)
        attack.found(f"no events, a sweep every {_SWEEP:g} s", _SWEEP + _SLACK, began)
        attack.expect(boxed, "batch_claimed")


def _silence(attack: _Attack) -> None:
    """Everything looks alive and nothing is heard: the canary tells, and the service ends for a restart."""
    with attack.daemon("silent_kernel") as boxed:
        attack.drop()
        gave_up = (
            attack.expect(boxed, _BLIND, ".canary was written and no event came")
            and attack.expect(boxed, "watcher_rebuilt")
            and attack.expect(boxed, "daemon_failed", "blind for")
        )
        if not gave_up:
            return
        boxed.ended(1)
    attack.drop()
    began = time.monotonic()
    with attack.daemon():
        attack.found("silence, from the restart on", _SLACK, began)


def _crowd(attack: _Attack, count: int, what: str, seconds: float, *, at_once: bool) -> None:
    """`count` files renamed into landing while a daemon listens, or (`at_once`) while it is stopped and events are lost."""
    with attack.daemon() as boxed:
        if at_once:
            boxed.freeze()
        began = time.monotonic()
        attack.drop(count)
        if at_once:
            _flood(attack.landing / "events")
            boxed.forget()
            boxed.thaw()
            began = time.monotonic()
        attack.found(what, seconds, began)
        if at_once:
            attack.expect(boxed, _OVERFLOWED)
            attack.expect(boxed, "sweep_completed")
            sweeps = [line["seconds"] for line in boxed.lines() if line["event"] == "sweep_completed"]
            attack.note(f"longest sweep of {count:,} files", f"{max(sweeps, default=0):.2f} s")
        attack.at_rest(boxed)


_PARTS: dict[str | None, frozenset[str]] = {
    "no_sweep": frozenset({"overflows"}),
    "overflow_ignored": frozenset({"overflows"}),
    "canary_not_waited_for": frozenset({"silence"}),
    "blindness_forgotten": frozenset({"silence"}),
}
"""What a broken build is put through; the real one everything."""


def run(plan: Plan) -> Report:
    """Let the kernel's queue run over `n` times, then take the daemon's sight in every other way."""
    report = Report()
    attack = _Attack(plan, report)
    large = plan.n >= _LARGE
    parts: dict[str, Callable[[], None]] = {
        "overflows": lambda: _overflows(attack, plan.n),
        "blindings": lambda: _blindings(attack),
        "failing handler": lambda: _failing_handler(attack),
        "no events": lambda: _no_events(attack),
        "silence": lambda: _silence(attack),
        "burst": lambda: _crowd(attack, 16_000 if large else 1_000, "burst of renames", 900, at_once=False),
        "heap": lambda: _crowd(
            attack, 200_000 if large else 2_000, "heap after an overflow", 3600, at_once=True
        ),
    }
    for name, part in parts.items():
        if name in _PARTS.get(plan.breakage, parts):
            part()
    attack.close()
    return report


CAMPAIGN = Campaign(
    "unseen",
    "events lost: queue overflow, landing deleted, renamed, mounted over, unreadable, no watches, silence, bursts",
    run,
    short=2,
    long=200,
    teeth={"no_sweep": 1, "overflow_ignored": 1, "canary_not_waited_for": 1, "blindness_forgotten": 1},
    missing=missing,
)
