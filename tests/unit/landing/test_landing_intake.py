"""Intake's thread: what it hears is looked at, what is ready is claimed, and what the machine refuses is put right."""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.catalog.contract import LandingRules
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.landing import intake as module
from daemon.landing.candidates import Candidates
from daemon.landing.claims import Claims, ReadyFile
from daemon.landing.intake import Intake
from daemon.landing.known import KnownPaths
from daemon.landing.watcher import Hint

ORDERS = TableKey("sales", "orders")
MORE = TableKey("sales", "more")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PATIENCE = 10


@dataclass
class World:
    """Claims that only write down what is claimed. `errors`: how the next claims end; `unstaged`: batches that wait."""

    root: Path
    batches: list[tuple[TableKey, list[str]]] = field(default_factory=list)
    errors: deque[Exception] = field(default_factory=deque)
    unstaged: dict[TableKey, int] = field(default_factory=dict)
    recovered: list[TableKey] = field(default_factory=list)
    forgotten: deque[bool] = field(default_factory=deque)
    shortage: str | None = None
    limit: tuple[int, int] = (100, 1000)
    failures: list[BaseException] = field(default_factory=list)
    failed: threading.Event = field(default_factory=threading.Event)
    told: list[TableKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.candidates = Candidates(
            self.root / "landing",
            rules=lambda _: LandingRules(settle=0),
            route=lambda _: None,
            settle=0,
            known=lambda *_: None,
            incomplete_wait=0,
        )
        self.intake = Intake(
            candidates=self.candidates,
            claims=cast("Claims", self),
            ledger=cast("Ledger", SimpleNamespace(promotions=SimpleNamespace(unstaged=self._waiting))),
            limit=lambda _: self.limit,
            shortage=lambda: self.shortage,
            now=lambda: NOW,
            claimed=self.told.append,
            failed=self._fail,
        )
        self.turn = self.intake._turn

    def _waiting(self, key: TableKey) -> int:
        return self.unstaged.get(key, 0)

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def claim(self, batches: Mapping[TableKey, Sequence[ReadyFile]], now: datetime) -> dict[TableKey, str]:
        assert now == NOW
        if self.errors:
            raise self.errors.popleft()
        claimed: dict[TableKey, str] = {}
        for key, files in batches.items():
            names = [Path(file.path).name for file in files]
            for file in files:
                Path(file.path).unlink()
            self.batches.append((key, names))
            self.unstaged[key] = self.unstaged.get(key, 0) + 1
            if "gone.csv" not in names:
                claimed[key] = f"b{len(self.batches)}"
        return claimed

    def recover(self, now: datetime) -> list[TableKey]:
        assert now == NOW
        return self.recovered

    def give_back_forgotten(self) -> bool:
        return self.forgotten.popleft() if self.forgotten else False

    def drop(self, *names: str, table: str = "orders", text: str = "a\n1\n") -> None:
        folder = self.root / "landing/sales" / table
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text(text)

    def hint(self, name: str, table: str = "orders") -> None:
        path = self.root / "landing/sales" / table / name
        self.intake.hint(Hint(str(path), moved=True, is_directory=False))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(module, "_LISTEN", 0.001)  # a turn that hears nothing ends at once
    (tmp_path / "landing").mkdir()
    world = World(tmp_path)
    yield world
    world.intake.stop()


def test_what_is_heard_of_is_claimed_by_table_in_the_order_of_its_coming(world: World) -> None:
    world.drop("b.csv", "a.csv")
    world.drop("c.csv", table="more")
    for name, table in (("b.csv", "orders"), ("c.csv", "more"), ("a.csv", "orders")):
        world.hint(name, table)
    assert not world.intake.is_idle
    world.turn()
    assert world.batches == [(ORDERS, ["b.csv", "a.csv"]), (MORE, ["c.csv"])]
    assert world.told == [ORDERS, MORE]
    assert world.intake.waiting == 0
    assert world.candidates.known.ready == {}


def test_a_batch_has_no_more_files_and_bytes_than_its_table_may_and_a_large_file_goes_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_UNSTAGED", 99)
    for name in ("a", "b", "c"):
        world.drop(name)
    world.drop("large", text="x" * 50)
    world.drop("d", "e")
    world.limit = (2, 8)
    for name in ("a", "b", "c", "large", "d", "e"):
        world.hint(name)
    world.turn()
    assert [names for _, names in world.batches] == [["a", "b"], ["c"], ["large"], ["d", "e"]]


def test_bytes_alone_may_end_a_batch(world: World) -> None:
    world.limit = (9, 7)
    world.drop("a", "b")
    for name in "ab":
        world.hint(name)
    world.turn()
    assert [names for _, names in world.batches] == [["a"], ["b"]]


def test_while_two_batches_wait_to_be_staged_files_stay_in_landing_for_a_larger_one(world: World) -> None:
    world.unstaged[ORDERS] = 1
    world.drop("a.csv")
    world.hint("a.csv")
    world.turn()
    world.drop("b.csv", "c.csv")
    world.drop("d.csv", table="more")
    for name in ("b.csv", "c.csv"):
        world.hint(name)
    world.hint("d.csv", "more")
    world.turn()
    assert world.batches == [(ORDERS, ["a.csv"]), (MORE, ["d.csv"])]
    assert world.intake.waiting == 2
    world.unstaged[ORDERS] = 1
    world.intake.staged(ORDERS)
    world.turn()
    assert world.batches[2:] == [(ORDERS, ["b.csv", "c.csv"])]


def test_a_claim_of_which_nothing_was_left_is_told_to_nobody(world: World) -> None:
    world.drop("gone.csv")
    world.hint("gone.csv")
    world.turn()
    assert (len(world.batches), world.told) == (1, [])


def test_intake_pauses_while_there_is_no_room_says_so_once_and_goes_on(world: World) -> None:
    world.drop("a.csv")
    world.hint("a.csv")
    world.shortage = "the disk is nearly full"
    with capture_logs() as lines:
        world.turn()
    assert lines == [{"event": "intake_paused", "log_level": "warning", "reason": "the disk is nearly full"}]
    with capture_logs() as lines:
        world.turn()
    assert lines == []
    assert (world.batches, world.intake.paused) == ([], "the disk is nearly full")
    world.shortage = None
    with capture_logs() as lines:
        world.turn()
    assert lines == [{"event": "intake_resumed", "log_level": "info"}]
    assert (len(world.batches), world.intake.paused) == (1, None)


def test_a_claim_that_the_machine_refused_is_put_right_before_the_next_and_landing_is_swept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    world.errors.append(OSError("Input/output error"))
    world.recovered.append(MORE)
    world.drop("a.csv")
    world.hint("a.csv")
    with capture_logs() as lines:
        world.turn()
    assert lines == [
        {"event": "claim_refused", "log_level": "warning", "error": "Input/output error", "seconds": 5.0}
    ]
    world.drop("b.csv")
    now[0] = 104.9
    world.turn()
    assert (world.batches, world.told) == ([], [])
    now[0] = 105.0
    world.turn()
    world.turn()
    assert world.batches == [(ORDERS, ["a.csv", "b.csv"])]
    assert world.told == [MORE, ORDERS]


def test_a_sweep_finds_what_nobody_spoke_of_and_what_claims_have_forgotten_makes_another(
    world: World,
) -> None:
    world.drop("a.csv")
    world.turn()
    assert world.batches == []
    world.forgotten += [True, False]
    world.intake.sweep()
    assert not world.intake.is_idle
    with capture_logs() as lines:
        world.turn()
    assert world.batches == [(ORDERS, ["a.csv"])]
    assert [(line["event"], line["files"]) for line in lines] == [("sweep_completed", 1)]
    assert 0 <= lines[0]["seconds"] < PATIENCE
    world.drop("b.csv")
    world.turn()
    world.turn()
    assert world.batches[1:] == [(ORDERS, ["b.csv"])]
    assert len(world.forgotten) == 0


def test_past_a_number_of_words_landing_is_swept_instead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WORDS", 1)
    world.drop("a.csv", "b.csv")
    world.hint("a.csv")
    world.hint("b.csv")
    world.turn()
    assert world.batches == [(ORDERS, ["a.csv", "b.csv"])]


def test_while_many_files_are_looked_at_words_are_heard_and_files_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.landing.candidates._BREATH", 2)
    world.drop("a.csv", "b.csv", "c.csv")
    world.drop("late.csv", table="more")
    look = world.candidates._look

    def hear_of_another(*values: Any, **named: Any) -> None:
        look(*values, **named)
        if not world.batches and len(world.candidates.known.ready) == 1:
            world.hint("late.csv", "more")
            (world.root / "landing/sales/more/late.csv").touch()

    monkeypatch.setattr(world.candidates, "_look", hear_of_another)
    world.intake.hint(Hint(str(world.root / "landing/sales/orders"), moved=True, is_directory=True))
    world.turn()
    assert [(key, len(names)) for key, names in world.batches] == [(ORDERS, 2), (MORE, 1), (ORDERS, 1)]


def test_the_thread_claims_until_it_is_stopped(world: World) -> None:
    well = [world.intake.is_well]
    assert world.intake.is_idle
    world.intake.start()
    well.append(world.intake.is_well)
    world.drop("a.csv")
    claimed = threading.Event()
    world.intake._claimed = lambda _: claimed.set()
    world.hint("a.csv")
    assert claimed.wait(PATIENCE)
    world.intake.stop()
    well.append(world.intake.is_well)
    assert well == [False, True, False]
    world.drop("b.csv")
    world.hint("b.csv")
    assert len(world.batches) == 1
    assert world.failures == []


def test_a_thread_that_met_a_bug_says_so_and_is_not_well(world: World) -> None:
    bug = ZeroDivisionError("a bug")
    world.errors.append(bug)
    world.drop("a.csv")
    world.intake.start()
    world.hint("a.csv")
    assert world.failed.wait(PATIENCE)
    world.intake.stop()
    assert world.failures == [bug]
    assert not world.intake.is_well


def test_it_listens_until_the_first_thing_that_it_waits_for_has_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = [100.0], list[float]()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "_LISTEN", 5.0)

    class Silence:
        def empty(self) -> bool:
            return True

        def put(self, _: object) -> None: ...

        def get_nowait(self) -> None:
            raise queue.Empty

        def get(self, timeout: float) -> None:
            waits.append(timeout)
            raise queue.Empty

    world.intake._words = Silence()  # type: ignore[assignment]
    world.turn()
    monkeypatch.setattr(KnownPaths, "next_due", property(lambda _: 102.0))
    world.turn()
    monkeypatch.setattr(KnownPaths, "next_due", property(lambda _: 99.0))
    world.turn()
    monkeypatch.setattr(KnownPaths, "next_due", property(lambda _: 200.0))
    world.turn()
    world.shortage = "full"
    world.turn()
    world.turn()
    world.shortage = None
    world.intake._refused, world.intake._refused_until = True, 100.25
    world.turn()
    world.intake.sweep()
    world.turn()
    assert waits == [5.0, 2.0, 0.001, 5.0, 5.0, 1.0, 0.25, 0]
