import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

from daemon.events import Event
from daemon.landing import watcher as module
from daemon.landing.watcher import CANARY, Hint, Watcher

PATIENCE = 10.0


class Ear:
    """Keeps what a watcher said, and lets a test wait for it."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.overflows = 0
        self._said = threading.Condition()

    def hint(self, hint: Hint) -> None:
        with self._said:
            self.hints.append(hint)
            self._said.notify_all()

    def overflowed(self) -> None:
        with self._said:
            self.overflows += 1
            self._said.notify_all()

    def wait_for(self, told: Callable[[], bool]) -> None:
        with self._said:
            assert self._said.wait_for(told, PATIENCE), self.hints

    def wait_for_hint(self, path: Path, *, moved: bool, is_directory: bool = False) -> None:
        self.wait_for(lambda: Hint(str(path), moved, is_directory) in self.hints)

    def about(self, path: Path) -> list[Hint]:
        return [hint for hint in self.hints if hint.path == str(path)]


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    path = tmp_path / "landing"
    (path / "t").mkdir(parents=True)
    (path / ".claimed").mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


@pytest.fixture
def watcher(landing: Path, ear: Ear) -> Iterator[Watcher]:
    watcher = Watcher(landing, ear.hint, ear.overflowed)
    watcher.start()
    yield watcher
    watcher.stop()


pytestmark = pytest.mark.usefixtures("watcher")


def settle(landing: Path, ear: Ear) -> None:
    """Wait until every event so far was handled: they come in order."""
    last = landing / f"last-{len(ear.hints)}"
    last.touch()
    ear.wait_for(lambda: len(ear.about(last)) == 2)


def test_a_file_written_in_place_is_told_when_begun_and_when_closed(landing: Path, ear: Ear) -> None:
    path = landing / "t/a.csv"
    with path.open("w") as file:
        ear.wait_for(lambda: len(ear.about(path)) == 1)
        file.write("a\n")
    ear.wait_for(lambda: len(ear.about(path)) == 2)
    assert {hint.moved for hint in ear.about(path)} == {False}


def test_a_file_renamed_inside_is_told_as_moved_by_its_new_name(landing: Path, ear: Ear) -> None:
    (landing / "t/a.csv.tmp").write_text("a\n")
    (landing / "t/a.csv.tmp").rename(landing / "t/a.csv")
    ear.wait_for_hint(landing / "t/a.csv", moved=True)


def test_a_file_moved_in_from_outside_is_told_as_moved(landing: Path, outside: Path, ear: Ear) -> None:
    (outside / "a.csv").write_text("a\n")
    (outside / "a.csv").rename(landing / "a.csv")
    ear.wait_for_hint(landing / "a.csv", moved=True)
    assert len(ear.about(landing / "a.csv")) == 1


def test_a_hard_link_is_told(landing: Path, outside: Path, ear: Ear) -> None:
    (outside / "a.csv").write_text("a\n")
    (landing / "t/a.csv").hardlink_to(outside / "a.csv")
    ear.wait_for_hint(landing / "t/a.csv", moved=False)


def test_a_folder_moved_in_is_told_and_then_watched_with_those_below(
    landing: Path, outside: Path, ear: Ear
) -> None:
    (outside / "sales/orders").mkdir(parents=True)
    (outside / "sales").rename(landing / "sales")
    ear.wait_for_hint(landing / "sales", moved=True, is_directory=True)
    (landing / "sales/orders/later.csv").touch()
    ear.wait_for_hint(landing / "sales/orders/later.csv", moved=False)


def test_a_new_folder_is_told_once_it_is_watched_so_that_no_file_is_missed(landing: Path, ear: Ear) -> None:
    paths = [landing / f"d{number}/t/a.csv" for number in range(50)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()

    def found(path: Path) -> bool:
        folders = [hint.path for hint in ear.hints if hint.is_directory]
        return bool(ear.about(path)) or any(str(folder) in folders for folder in path.parents)

    ear.wait_for(lambda: all(found(path) for path in paths))
    for path in paths:
        path.with_name("later.csv").touch()
    ear.wait_for(lambda: all(ear.about(path.with_name("later.csv")) for path in paths))


def test_a_folder_renamed_inside_is_watched_under_its_new_name(landing: Path, ear: Ear) -> None:
    (landing / "t/deep").mkdir()
    (landing / "t").rename(landing / "u")
    ear.wait_for_hint(landing / "u", moved=True, is_directory=True)
    (landing / "u/deep/a.csv").touch()
    ear.wait_for_hint(landing / "u/deep/a.csv", moved=False)
    (landing / "t").mkdir()
    ear.wait_for_hint(landing / "t", moved=False, is_directory=True)
    (landing / "t/b.csv").touch()
    ear.wait_for_hint(landing / "t/b.csv", moved=False)


def test_a_folder_moved_away_is_watched_no_more(landing: Path, outside: Path, ear: Ear) -> None:
    (landing / "t").rename(outside / "t")
    settle(landing, ear)
    (outside / "t/a.csv").touch()
    settle(landing, ear)
    assert not [hint for hint in ear.hints if Path(hint.path).name == "a.csv"]


def test_a_folder_made_again_under_a_deleted_name_is_watched(landing: Path, ear: Ear) -> None:
    for number in range(20):
        shutil.rmtree(landing / "t")
        (landing / "t").mkdir()
        ear.wait_for(lambda wanted=number + 1: len(ear.about(landing / "t")) == wanted)  # type: ignore[misc]
        (landing / f"t/{number}.csv").touch()
        ear.wait_for_hint(landing / f"t/{number}.csv", moved=False)


def test_our_own_claims_and_hidden_names_are_not_told(landing: Path, ear: Ear) -> None:
    (landing / "t/a.csv").touch()
    (landing / ".claimed/1").mkdir()
    (landing / "t/a.csv").rename(landing / ".claimed/1/0-a.csv")
    (landing / "t/.b.csv.Xy12z").touch()
    settle(landing, ear)
    assert {Path(hint.path).name for hint in ear.hints if not Path(hint.path).name.startswith("last")} == {
        "a.csv"
    }


def test_a_claim_does_not_hold_back_the_next_hint(landing: Path, outside: Path, ear: Ear) -> None:
    began = time.monotonic()
    for number in range(10):
        path = landing / f"t/{number}.csv"
        (outside / "next").touch()
        (outside / "next").rename(path)
        ear.wait_for_hint(path, moved=True)
        path.rename(landing / ".claimed" / path.name)
    assert time.monotonic() - began < 2.0  # watchdog's own observer needs half a second for each


def test_a_name_that_is_no_text_is_told(landing: Path, ear: Ear) -> None:
    raw = os.fsencode(landing) + b"/caf\xe9.csv"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    ear.wait_for_hint(Path(os.fsdecode(raw)), moved=False)


def test_a_listener_that_fails_does_not_end_the_hints(landing: Path, ear: Ear, watcher: Watcher) -> None:
    def fail_once(hint: Hint) -> None:
        ear.hint(hint)
        if len(ear.hints) == 1:
            raise RuntimeError("a mistake")

    watcher.stop()
    stubborn = Watcher(landing, fail_once, ear.overflowed)
    stubborn.start()
    (landing / "a.csv").touch()
    ear.wait_for(lambda: ear.overflows == 1)
    (landing / "b.csv").touch()
    ear.wait_for_hint(landing / "b.csv", moved=False)
    assert stubborn.health() is None
    stubborn.stop()


def test_a_watcher_that_sees_is_well(watcher: Watcher) -> None:
    assert watcher.health() is None


def test_a_landing_that_is_a_link_to_another_disk_is_watched(tmp_path: Path, landing: Path, ear: Ear) -> None:
    (tmp_path / "link").symlink_to(landing)
    linked = Watcher(tmp_path / "link", ear.hint, ear.overflowed)
    linked.start()
    (landing / "t/a.csv").touch()
    ear.wait_for_hint(tmp_path / "link/t/a.csv", moved=False)
    assert linked.health() is None
    linked.stop()


def test_a_deleted_landing_is_told_and_a_new_one_is_seen_after_a_rebuild(
    landing: Path, ear: Ear, watcher: Watcher
) -> None:
    shutil.rmtree(landing)
    assert "is gone" in str(watcher.health())
    watcher.rebuild()
    assert "is gone" in str(watcher.health())
    (landing / "t").mkdir(parents=True)
    assert watcher.health() is not None
    watcher.rebuild()
    assert watcher.health() is None
    (landing / "t/a.csv").touch()
    ear.wait_for_hint(landing / "t/a.csv", moved=False)


def test_a_landing_that_was_replaced_is_told(landing: Path, outside: Path, watcher: Watcher) -> None:
    landing.rename(outside / "old")
    landing.mkdir()
    assert "no longer the same folder" in str(watcher.health())


def test_a_folder_that_cannot_be_watched_is_told_and_mended_by_a_rebuild(
    landing: Path, ear: Ear, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> WatchDescriptor:
        raise OSError(28, "inotify watch limit reached")

    with monkeypatch.context() as limited:
        limited.setattr(InotifyFD, "add_callback", full)
        (landing / "new").mkdir()
        ear.wait_for_hint(landing / "new", moved=False, is_directory=True)
        assert f"{landing / 'new'}: inotify watch limit reached" in str(watcher.health())
    watcher.rebuild()
    assert watcher.health() is None


def test_a_machine_without_inotify_instances_is_told(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: type[InotifyFD]) -> int:
        raise OSError(24, "inotify instance limit reached")

    with monkeypatch.context() as limited:
        limited.setattr(InotifyFD, "_create_inotify_fd", classmethod(full))
        watcher.rebuild()
    assert "inotify instance limit reached" in str(watcher.health())
    watcher.rebuild()
    assert watcher.health() is None


def test_a_canary_comes_back_and_is_no_hint(
    landing: Path, ear: Ear, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANARY_PATIENCE", -1.0)
    for _ in range(3):
        watcher.ask_canary()
        settle(landing, ear)
        assert watcher.health() is None
    assert (landing / CANARY).exists()
    assert not ear.about(landing / CANARY)


def test_only_a_canary_that_came_back_since_the_start_proves_that_a_watcher_sees(
    landing: Path, ear: Ear, watcher: Watcher
) -> None:
    seen = [watcher.sees]
    for _ in range(2):
        watcher.ask_canary()
        settle(landing, ear)
        seen.append(watcher.sees)
        watcher.rebuild()
        seen.append(watcher.sees)
    assert seen == [False, True, False, True, False]


def test_a_canary_that_does_not_come_back_is_told(
    landing: Path, ear: Ear, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANARY_PATIENCE", -1.0)
    blocked, go_on = threading.Event(), threading.Event()

    def stuck(_: Hint) -> None:
        blocked.set()
        go_on.wait(PATIENCE)

    watcher.stop()
    deaf = Watcher(landing, stuck, ear.overflowed)
    deaf.start()
    (landing / "a.csv").touch()
    assert blocked.wait(PATIENCE)
    deaf.ask_canary()
    assert CANARY in str(deaf.health())
    go_on.set()
    deaf.stop()


def test_a_canary_that_could_not_be_written_blames_nobody(
    landing: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CANARY_PATIENCE", -1.0)
    (landing / CANARY).symlink_to("nowhere")
    watcher.ask_canary()
    assert watcher.health() is None


def test_a_stopped_watcher_is_not_well_and_says_nothing(landing: Path, ear: Ear, watcher: Watcher) -> None:
    watcher.stop()
    (landing / "a.csv").touch()
    assert "stopped" in str(watcher.health())
    assert not ear.hints


def test_a_real_flood_is_told_and_afterwards_new_folders_are_watched(
    landing: Path, ear: Ear, watcher: Watcher
) -> None:
    go_on = threading.Event()

    def slow(hint: Hint) -> None:
        go_on.wait(PATIENCE)
        ear.hint(hint)

    watcher.stop()
    flooded = Watcher(landing, slow, ear.overflowed)
    flooded.start()
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(limit // 2 + 3000):  # two events each
        (landing / f"t/{number}").touch()
    (landing / "unseen").mkdir()
    with capture_logs() as logs:
        go_on.set()
        ear.wait_for(lambda: ear.overflows == 1)
    assert Event.WATCHER_OVERFLOWED in [line["event"] for line in logs]
    (landing / "unseen/a.csv").touch()
    ear.wait_for_hint(landing / "unseen/a.csv", moved=False)
    (landing / "t/again.csv").touch()
    ear.wait_for_hint(landing / "t/again.csv", moved=False)
    assert flooded.health() is None
    flooded.stop()


def test_watchdog_still_has_what_we_build_on() -> None:
    """We use the reader below watchdog's observer; this pins what we rely on of it."""
    event = InotifyEvent(
        WatchDescriptor(1), Mask(InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_ISDIR), 0, b"a"
    )
    assert event.is_moved_to
    assert event.is_directory
    assert not event.is_create
