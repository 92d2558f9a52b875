"""Waiting on the monotonic clock, which the tests move by hand."""

import pytest

from daemon.scheduling.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backoff(clock: Clock) -> Backoff:
    return Backoff(1.0, 10.0, clock)


def test_each_failure_waits_twice_as_long_up_to_the_cap(backoff: Backoff) -> None:
    assert [backoff.hold("a", "machine") for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_success_makes_the_next_failure_a_first_one(backoff: Backoff) -> None:
    backoff.hold("a", "machine")
    backoff.hold("a", "machine")
    backoff.forget("a")
    assert backoff.waiting() == frozenset()
    assert backoff.hold("a", "machine") == 1.0


def test_who_has_waited_long_enough_may_go_on(backoff: Backoff, clock: Clock) -> None:
    backoff.hold("a", "machine")
    backoff.park("b", "contract")
    assert backoff.waiting() == {"a", "b"}
    assert backoff.seconds_to_next() == 1.0
    clock.now += 1.0
    assert backoff.waiting() == {"b"}
    assert backoff.seconds_to_next() == 9.0


def test_a_long_wait_is_none_the_shorter_for_being_nearly_over(backoff: Backoff, clock: Clock) -> None:
    backoff.park("b", "contract")
    clock.now += 9.5
    assert not backoff.any_shorter_than(10.0)
    backoff.hold("a", "machine")
    assert backoff.any_shorter_than(10.0)
    clock.now += 1.0
    assert not backoff.any_shorter_than(10.0)


def test_an_edit_releases_those_who_wait_for_it_and_nobody_else(backoff: Backoff) -> None:
    backoff.hold("a", "machine")
    backoff.park("b", "contract")
    backoff.release("contract")
    assert backoff.waiting() == {"a"}


def test_after_thousands_of_failures_the_wait_is_still_the_cap(backoff: Backoff) -> None:
    assert {backoff.hold("a", "machine") for _ in range(5000)} == {1.0, 2.0, 4.0, 8.0, 10.0}
