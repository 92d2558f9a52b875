"""The guard, with a clock and a watcher of the test's own."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from daemon.guard import Guard
from daemon.landing.watcher import Watcher
from daemon.notify import Notifier
from daemon.parts import Parts, WorkProgress


class Watching:
    """A watcher whose canary comes back, or does not; `patience` looks after it was asked it is missed."""

    def __init__(self) -> None:
        self.hears = True
        self.sees = True
        self.rebuilt = 0
        self._asked = 0

    def ask_canary(self) -> None:
        self._asked += 1
        if self.hears:
            self.sees, self._asked = True, 0

    def health(self) -> str | None:
        return "the canary did not come back" if self._asked > 5 else None

    def rebuild(self) -> None:
        self.sees, self._asked = False, 0
        self.rebuilt += 1


class _Parts:
    """The parts of a daemon, as far as a guard looks at them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.jobs = SimpleNamespace(follow_clock=timedelta)
        self.intake = SimpleNamespace(sweep=world.sweep, paused=world.paused)

    @property
    def trouble(self) -> str | None:
        return self._world.trouble

    def read_contracts(self) -> None:
        self._world.said.append("contracts")

    def progress(self) -> WorkProgress:
        return WorkProgress(0, 0, 0, 0)


class World:
    """What a guard looks at, a second each time it looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.watcher = Watching()
        self.trouble: str | None = None
        self.paused: str | None = None
        self.statuses: list[str] = []
        self.said: list[str] = []
        self.failures: list[str] = []
        self.sweeps = 0
        self.stop = threading.Event()
        self.reload = threading.Event()
        self._happenings: Iterator[None] = iter(())
        monkeypatch.setattr("daemon.guard.time.monotonic", lambda: self.now)
        monkeypatch.setattr(self.stop, "wait", self._wait)

    def watch(self, happenings: Iterator[None]) -> None:
        """Let the guard look once after every step of what happens."""
        self._happenings = happenings
        notifier = SimpleNamespace(
            **{word: lambda word=word: self.said.append(word) for word in ("watchdog", "ready", "reloading")},
            status=self.statuses.append,
        )
        guard = Guard(
            cast("Notifier", notifier), cast("Parts", _Parts(self)), cast("Watcher", self.watcher), self._fail
        )
        guard.keep(self.stop, self.reload)

    def _wait(self, seconds: float) -> bool:
        self.now += seconds
        ended = object()
        return next(self._happenings, ended) is ended or bool(self.failures)

    def sweep(self) -> None:
        self.sweeps += 1

    def _fail(self, part: str, error: BaseException | str) -> None:
        self.failures.append(f"{part}: {error}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_watchdog_is_fed_at_every_look_while_all_is_well(world: World) -> None:
    world.watch(iter([None] * 10))
    assert world.said.count("watchdog") == 10
    assert (world.failures, world.watcher.rebuilt, world.sweeps) == ([], 0, 0)


def test_a_blind_watcher_is_rebuilt_and_swept_for_and_all_is_well_once_it_sees(world: World) -> None:
    def happenings() -> Iterator[None]:
        world.watcher.hears = False
        yield from [None] * 8
        world.watcher.hears = True
        yield from [None] * 100

    world.watch(happenings())
    assert (world.failures, world.watcher.rebuilt, world.sweeps) == ([], 1, 1)


def test_a_watcher_that_sees_nothing_however_often_it_is_rebuilt_ends_the_service(world: World) -> None:
    world.watcher.hears = False
    world.watch(iter([None] * 100))
    assert world.failures == ["watcher: blind for 30 s: the canary did not come back"]
    assert world.watcher.rebuilt > 1
    assert 30 < world.now < 60


def test_two_spells_of_blindness_with_sight_between_are_not_one(world: World) -> None:
    def happenings() -> Iterator[None]:
        for _ in range(5):
            world.watcher.hears = False
            yield from [None] * 20
            world.watcher.hears = True
            yield from [None] * 2

    world.watch(happenings())
    assert world.failures == []


def test_a_dead_part_ends_the_service_and_starves_the_watchdog(world: World) -> None:
    world.trouble = "scheduler"
    world.watch(iter([None] * 3))
    assert world.failures == ["scheduler: its thread has ended"]
    assert "watchdog" not in world.said


def test_a_reload_reads_the_contracts_between_saying_so_and_being_ready(world: World) -> None:
    world.reload.set()
    world.watch(iter([None]))
    assert world.said[:3] == ["reloading", "contracts", "ready"]
    assert not world.reload.is_set()


def test_systemd_is_told_why_intake_is_paused(world: World) -> None:
    world.paused = "3 MB are free"
    world.watch(iter([None] * 60))
    assert any(status.startswith("intake is paused, 3 MB are free") for status in world.statuses)
