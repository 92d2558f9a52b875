"""Requests that people leave for the daemon, and what becomes of those that cannot be read."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.catalog.requests import Answer, Request
from daemon.lake.layout import Layout
from daemon.lake.requests import post, waiting

ASKED = Request(
    request_id="r1",
    act="undo",
    domain="sales",
    table="orders",
    files=(1,),
    asked_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_request_waits_until_it_is_answered(layout: Layout) -> None:
    assert waiting(layout) == []
    post(layout, ASKED)
    assert waiting(layout) == [ASKED]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_request_that_the_disk_refuses_to_read_is_not_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(_: Path) -> bytes:
        raise OSError(number, "refused")

    post(layout, ASKED)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        with pytest.raises(OSError, match="refused"):
            waiting(layout)
    assert waiting(layout) == [ASKED]


def test_a_request_that_nobody_can_read_is_answered(layout: Layout) -> None:
    post(layout, ASKED)
    (layout.requests / "r1.json").write_text("{")
    (answered,) = waiting(layout)
    assert isinstance(answered, Answer)
    assert not answered.accepted
    assert answered.message.startswith("this request cannot be read: ")
