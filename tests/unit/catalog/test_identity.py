"""Ids sort by the order in which they were made, whatever the wall clock does."""

from uuid import UUID

import pytest
import uuid6

from daemon.catalog import identity
from daemon.catalog.identity import new_id, sort_after


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has made no id yet."""
    monkeypatch.setattr(identity, "_order", identity._Order())
    monkeypatch.setattr(uuid6, "_last_v7_timestamp", None)


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]

    assert made == sorted(set(made))


def test_ids_sort_after_those_of_an_earlier_process_whose_clock_was_ahead() -> None:
    a_day_ahead = str(UUID(int=UUID(new_id()).int + (86_400_000 << 80)))
    sort_after(a_day_ahead)
    made = [new_id() for _ in range(3)]

    assert [a_day_ahead, *made] == sorted([a_day_ahead, *made])
    assert {UUID(one).version for one in made} == {7}


def test_an_older_id_changes_nothing() -> None:
    older = new_id()
    newer = new_id()
    sort_after(older)

    assert new_id() > newer
