"""The service's own decisions, over parts that do as the test says."""

import errno
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from daemon.errors import HaltError
from daemon.lake.layout import Layout
from daemon.parts import Parts, WorkProgress
from daemon.service import Service
from daemon.settings import Settings


class _Intake:
    in_landing = 1

    @property
    def is_idle(self) -> bool:
        return not self.in_landing


class _Chain:
    """Takes what is in landing just after it was looked at, and has done it by the next look but one."""

    def __init__(self, intake: _Intake) -> None:
        self._intake = intake
        self.to_do = 0

    @property
    def is_idle(self) -> bool:
        was_idle = not self.to_do
        self.to_do = self._intake.in_landing or max(0, self.to_do - 1)
        self._intake.in_landing = 0
        return was_idle


def test_a_drain_does_not_end_between_a_claim_and_what_follows_from_it(tmp_path: Path) -> None:
    intake = _Intake()
    chain = _Chain(intake)
    parts = SimpleNamespace(
        intake=intake,
        chain=chain,
        jobs=SimpleNamespace(follow_clock=timedelta),
        progress=lambda: WorkProgress(0, 0, 0, 0),
        retries_soon=lambda: False,
    )
    Service(Settings(root=tmp_path))._watch_drain(cast("Parts", parts), lambda _: None)
    assert not chain.to_do


def test_a_drain_that_could_not_read_what_people_ask_for_says_that_something_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Layout) -> list[object]:
        raise OSError(errno.EIO, "refused")

    assert Service(Settings(root=tmp_path)).drain(lambda _: None) == 0
    monkeypatch.setattr("daemon.scheduling.requests.waiting", refused)
    assert Service(Settings(root=tmp_path)).drain(lambda _: None) == 3


@pytest.mark.parametrize("left", ["data/.generations/gold/sales/orders/1", "landing/.claimed/batch"])
def test_a_ledger_that_is_gone_is_not_replaced_by_an_empty_one(tmp_path: Path, left: str) -> None:
    layout = Layout(tmp_path)
    (tmp_path / left).mkdir(parents=True)
    layout.catalog.mkdir()
    layout.ledger.touch()  # what a disk leaves that was cut off
    with capture_logs() as lines, pytest.raises(HaltError, match="the ledger is gone"):
        Service(Settings(root=tmp_path)).drain(lambda _: None)
    assert [line["event"] for line in lines] == ["daemon_failed", "daemon_stopped"]
    assert layout.ledger.stat().st_size == 0
