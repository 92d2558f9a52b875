"""How landing is looked at: what is ready when, what waits until when, and what is said of files that are not taken."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.catalog.contract import LandingRules
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError
from daemon.landing import candidates as module
from daemon.landing import known
from daemon.landing.candidates import Candidates
from daemon.landing.claims import ReadyFile
from daemon.landing.watcher import Hint

ORDERS = TableKey("sales", "orders")
HOUR = 3600.0


@dataclass
class Landing:
    """A landing folder where files of `sales.orders` must be quiet for ten seconds, and what is known of it."""

    root: Path
    rules: Callable[[TableKey], LandingRules] = lambda _: LandingRules()
    known: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.root / "landing/sales/orders"
        self.folder.mkdir(parents=True)
        self.candidates = Candidates(
            self.root / "landing",
            rules=self._rules_now,
            route=lambda _: None,
            settle=10,
            known=self._known,
            incomplete_wait=HOUR,
        )

    def _rules_now(self, key: TableKey) -> LandingRules:
        return self.rules(key)

    def _known(self, path: str, size: int, mtime_ns: int) -> Any:
        self.asked.append((path, size, mtime_ns))
        return self.known.get(path)

    def drop(self, name: str, text: str = "a\n1\n") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def hint(self, path: str, now: float = 0.0, *, moved: bool = False, is_directory: bool = False) -> None:
        self.candidates.hint(Hint(path, moved=moved, is_directory=is_directory), now)

    def ready(self) -> list[str]:
        return [Path(path).name for files in self.candidates.known.ready.values() for path in files]

    def sweep(self, now: float = 0.0) -> list[Any]:
        """Sweep; the log lines it wrote."""
        with capture_logs() as lines:
            self.candidates.sweep(now)
        return lines


@pytest.fixture
def landing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Landing:
    monkeypatch.setattr(module, "lease_answer", lambda _: "unknown")  # quiet time alone decides
    return Landing(tmp_path)


def test_a_file_is_taken_when_it_has_been_quiet_and_not_looked_at_before(landing: Landing) -> None:
    path = landing.drop("a.csv")
    found = Path(path).stat()
    landing.hint(path, 100.02)
    assert (landing.ready(), landing.candidates.known.count) == ([], 1)
    assert landing.candidates.known.next_due == pytest.approx(
        110.05
    )  # with others that settle in the same twentieth
    landing.candidates.look_again(110.04)
    assert len(landing.asked) == 1
    landing.candidates.look_again(110.06)
    assert landing.candidates.known.ready == {
        ORDERS: {path: ReadyFile(path, "sales/orders/a.csv", 4, found.st_mtime_ns, found.st_ino, None)}
    }
    assert landing.asked == [("landing/sales/orders/a.csv", 4, found.st_mtime_ns)] * 2
    assert (landing.candidates.known.count, landing.candidates.known.next_due) == (1, None)
    landing.candidates.known.taken(ORDERS, path)
    assert (landing.candidates.known.ready, landing.candidates.known.count) == ({}, 0)


def test_a_file_that_is_written_to_waits_anew(landing: Landing) -> None:
    path = landing.drop("a.csv")
    landing.hint(path, 0)
    landing.drop("a.csv", "a\n1\n2\n")
    landing.hint(path, 5)
    landing.hint(path, 10)  # another look at the same file does not prolong it
    assert landing.ready() == []
    landing.candidates.look_again(10)
    assert landing.ready() == []
    landing.candidates.look_again(15)
    assert landing.ready() == ["a.csv"]


def test_a_file_that_changed_unnoticed_is_found_out_when_its_time_has_come(landing: Landing) -> None:
    landing.hint(landing.drop("a.csv"), 0)
    landing.drop("a.csv", "a\n1\n2\n")
    landing.candidates.look_again(10)
    assert landing.ready() == []
    assert landing.candidates.known.next_due == pytest.approx(20)


def test_the_time_to_look_again_is_that_of_the_first_that_waits(landing: Landing) -> None:
    landing.hint(landing.drop("a.csv"), 0)
    landing.hint(landing.drop("b.csv"), 5)
    assert landing.candidates.known.next_due == pytest.approx(10)
    landing.candidates.look_again(10)
    assert landing.ready() == ["a.csv"]
    assert landing.candidates.known.next_due == pytest.approx(15)


def test_a_file_that_was_moved_in_is_taken_at_once_and_remembered_to_be_while_it_waits(
    landing: Landing,
) -> None:
    landing.hint(landing.drop("a.csv"), moved=True)
    assert landing.ready() == ["a.csv"]
    path = landing.drop("b.csv")
    landing.known["landing/sales/orders/b.csv"] = "incomplete"
    landing.hint(path, moved=True)
    landing.known.clear()
    landing.hint(path)
    assert landing.ready() == ["a.csv", "b.csv"]


def test_another_file_under_the_name_of_one_that_was_moved_in_must_be_quiet(landing: Landing) -> None:
    path = landing.drop("a.csv")
    landing.known["landing/sales/orders/a.csv"] = "incomplete"
    landing.hint(path, moved=True)
    landing.known.clear()
    Path(landing.drop("other")).rename(path)
    landing.hint(path)
    assert landing.ready() == []


def test_what_lay_there_before_it_was_looked_at_has_been_quiet_where_the_kernel_vouches(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 9)
    monkeypatch.setattr(module, "lease_answer", lambda _: "free")
    path = landing.drop("a.csv")
    landing.hint(path, 100)
    assert landing.ready() == []
    due = landing.candidates.known.next_due
    assert due is not None
    assert 100.5 < due <= 101.1
    monkeypatch.setattr("time.time", lambda: real() + 10)
    landing.hint(path, 100)
    assert landing.ready() == ["a.csv"]


def test_a_file_that_somebody_writes_to_waits(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def writing(path: str) -> str:
        asked.append(path)
        return "open_for_writing"

    monkeypatch.setattr(module, "lease_answer", writing)
    path = landing.drop("a.csv")
    landing.hint(path, 0, moved=True)
    assert (landing.ready(), asked) == ([], [path])


def test_the_contract_of_a_table_says_how_long_its_files_must_be_quiet(landing: Landing) -> None:
    landing.rules = lambda key: LandingRules(settle=0 if key == ORDERS else 60)
    landing.hint(landing.drop("a.csv"))
    assert landing.ready() == ["a.csv"]


def test_files_of_a_table_whose_contract_is_broken_are_looked_at_again_in_a_while(landing: Landing) -> None:
    def broken(_: TableKey) -> LandingRules:
        raise ContractError("no")

    landing.rules = broken
    landing.hint(landing.drop("a.csv"), 100, moved=True)
    assert landing.candidates.known.next_due == 105
    landing.rules = lambda _: LandingRules()
    landing.candidates.look_again(105)
    assert landing.ready() == ["a.csv"]


def test_where_markers_are_wanted_a_file_waits_for_its_own(landing: Landing) -> None:
    landing.rules = lambda _: LandingRules(done_marker=True, settle=0)
    path = landing.drop("a.csv")
    landing.hint(path, 0, moved=True)
    landing.hint(landing.drop("b.csv.done"), 0)
    assert landing.ready() == []
    marker = landing.drop("a.csv.done", "")
    landing.hint(marker, 1)
    (file,) = landing.candidates.known.ready[ORDERS].values()
    assert (file.path, file.marker) == (path, marker)
    assert landing.candidates.known.count == 1  # markers are no files


def test_where_markers_are_not_wanted_they_are_files(landing: Landing) -> None:
    landing.hint(landing.drop("a.csv.done"), moved=True)
    (file,) = landing.candidates.known.ready[ORDERS].values()
    assert (file.name, file.marker) == ("sales/orders/a.csv.done", None)


def test_a_file_that_was_put_back_to_stay_is_left_and_not_asked_for_until_it_changes(
    landing: Landing,
) -> None:
    landing.drop("a.csv")
    landing.known["landing/sales/orders/a.csv"] = "kept"
    for _ in range(3):
        assert landing.sweep() == []
    assert (landing.candidates.known.count, len(landing.asked)) == (0, 1)
    landing.known.clear()
    landing.drop("a.csv", "a\n1\n2\n")
    landing.sweep()
    assert landing.candidates.known.count == 1


def test_a_file_that_is_cut_short_waits_an_hour_for_its_other_half(landing: Landing) -> None:
    path = landing.drop("a.csv")
    written = time.time() - 600
    os.utime(path, (written, written))
    landing.known["landing/sales/orders/a.csv"] = "incomplete"
    landing.hint(path, 100, moved=True)
    due = landing.candidates.known.next_due
    assert due is not None
    assert due == pytest.approx(100 + 3000, abs=5)
    os.utime(path, (written - HOUR, written - HOUR))
    landing.hint(path, 200, moved=True)
    assert landing.ready() == ["a.csv"]


def test_an_empty_file_and_a_link_are_said_once_to_be_left_until_they_change(landing: Landing) -> None:
    landing.rules = lambda _: LandingRules(settle=0)
    empty = landing.drop("empty.csv", "")
    (landing.folder / "link.csv").symlink_to("/etc/hostname")
    said = {line["file"]: line for line in landing.sweep()}
    assert said["sales/orders/empty.csv"] == {
        "event": "file_empty",
        "log_level": "warning",
        "domain": "sales",
        "table": "orders",
        "file": "sales/orders/empty.csv",
        "reason": "the file is empty; it is taken once it has content",
    }
    assert said["sales/orders/link.csv"]["event"] == "file_ignored"
    assert "a symbolic link" in said["sales/orders/link.csv"]["reason"]
    assert landing.sweep() == []
    with capture_logs() as lines:
        landing.hint(empty)
    assert lines == []
    os.utime(empty)
    assert [line["file"] for line in landing.sweep()] == ["sales/orders/empty.csv"]
    assert (landing.candidates.known.count, landing.candidates.known.next_due) == (0, None)


def test_an_empty_file_has_its_time_to_be_filled(landing: Landing) -> None:
    landing.hint(landing.drop("a.csv", ""), 0)
    assert landing.candidates.known.count == 1
    with capture_logs() as lines:
        landing.candidates.look_again(10)
    assert [line["event"] for line in lines] == ["file_empty"]
    assert landing.candidates.known.count == 0


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("a.csv", "it cannot be read; give the daemon's user r on it"),
        ("orders", "it cannot be taken out of its folder; give the daemon's user wx on {folder}"),
    ],
)
def test_a_file_that_the_daemons_user_may_not_take_is_said_once_and_looked_at_again(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, refused: str, reason: str
) -> None:
    may = os.access
    modes = {}

    def access(path: str, mode: int) -> bool:
        modes[Path(path).name] = mode
        return Path(path).name != refused and may(path, mode)

    path = landing.drop("a.csv")
    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr("os.access", access)
        landing.hint(path, 100, moved=True)
        landing.hint(path, 101, moved=True)
    assert [(line["event"], line["file"], line["reason"]) for line in lines] == [
        ("file_ignored", "sales/orders/a.csv", reason.format(folder=landing.folder))
    ]
    assert modes["orders"] == os.W_OK | os.X_OK
    assert modes.get("a.csv", os.R_OK) == os.R_OK
    assert (landing.ready(), landing.candidates.known.next_due) == ([], 130)
    landing.candidates.look_again(131)
    assert landing.ready() == ["a.csv"]


def test_what_is_gone_is_forgotten(landing: Landing) -> None:
    path = landing.drop("a.csv")
    landing.hint(path)
    Path(path).unlink()
    landing.hint(path)
    assert landing.candidates.known.count == 0
    landing.hint(path)
    landing.candidates.look_again(10)
    assert landing.candidates.known.next_due is None


def test_temporary_names_are_not_even_watched(landing: Landing) -> None:
    landing.hint(landing.drop(".a.csv.part"), moved=True)
    assert (landing.candidates.known.count, landing.asked) == (0, [])


def test_a_folder_that_is_spoken_of_is_looked_through(landing: Landing) -> None:
    landing.drop("a.csv")
    landing.drop("b.csv")
    landing.hint(str(landing.folder), is_directory=True)
    assert (landing.ready(), landing.candidates.known.count) == ([], 2)
    landing.hint(str(landing.folder), moved=True, is_directory=True)
    assert sorted(landing.ready()) == ["a.csv", "b.csv"]


def test_a_sweep_looks_again_at_what_is_watched_and_counts_all_there_is(landing: Landing) -> None:
    landing.hint(landing.drop("ready.csv"), moved=True)
    path = landing.drop("watched.csv")
    landing.hint(path, 0)
    landing.drop("new.csv")
    assert landing.candidates.sweep(10) == 3
    assert landing.ready() == ["ready.csv", "watched.csv"]
    assert landing.candidates.known.count == 3
    assert not landing.candidates.known.is_worth_a_sweep


def test_a_landing_that_is_away_is_said_to_be(landing: Landing) -> None:
    (landing.root / "landing").rename(landing.root / "elsewhere")
    (line,) = landing.sweep()
    assert (line["event"], line["log_level"]) == ("file_ignored", "warning")
    assert line["reason"].endswith("is it still there?")


def test_files_that_wait_take_their_folders_room(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MAX_IN_FOLDER", 2)
    for name in ("a.csv", "b.csv", "c.csv"):
        landing.hint(landing.drop(name), 0)
    assert landing.candidates.known.count == 2
    landing.candidates.look_again(10)
    assert landing.ready() == ["a.csv", "b.csv"]
    landing.hint(str(landing.folder / "c.csv"), 11, moved=True)
    assert landing.candidates.known.count == 2
    landing.candidates.known.taken(ORDERS, str(landing.folder / "a.csv"))
    landing.hint(str(landing.folder / "c.csv"), 12, moved=True)
    assert landing.ready() == ["b.csv", "c.csv"]


def test_a_sweep_pays_when_half_of_the_room_of_a_folder_that_was_passed_over_is_free(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_MAX_IN_FOLDER", 4)
    monkeypatch.setattr(known, "_MAX_PATHS", 8)
    landing.rules = lambda _: LandingRules(settle=0)
    for number in range(6):
        landing.drop(f"{number}.csv")
    landing.sweep()
    assert landing.candidates.known.count == 4
    worth = []
    for path in list(landing.candidates.known.ready[ORDERS]):
        worth.append(landing.candidates.known.is_worth_a_sweep)
        landing.candidates.known.taken(ORDERS, path)
    assert [*worth, landing.candidates.known.is_worth_a_sweep] == [False, False, True, True, True]
    landing.sweep()
    assert not landing.candidates.known.is_worth_a_sweep
