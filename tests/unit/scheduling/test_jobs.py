"""Jobs on real threads: woken, never beside themselves, never lost, and moved along when the wall clock steps."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo

import pytest
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, SchedulerEvent

from daemon.scheduling import jobs as module
from daemon.scheduling.jobs import Jobs

PATIENCE = 10


def once(act: Callable[[], None]) -> Callable[[], bool]:
    """A job that does one thing and has no more to do."""

    def work() -> bool:
        act()
        return False

    return work


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def jobs(failures: list[str]) -> Iterator[Jobs]:
    jobs = Jobs(4, lambda name, error: failures.append(f"{name}: {error}"))
    jobs.start()
    yield jobs
    jobs.stop()
    jobs.join()


def test_a_job_that_says_there_is_more_runs_again(jobs: Jobs) -> None:
    left = [3]
    done = threading.Event()

    def work() -> bool:
        left[0] -= 1
        if not left[0]:
            done.set()
        return bool(left[0])

    jobs.wake("a", work)
    assert done.wait(PATIENCE)
    assert left == [0]


def test_a_wake_during_a_run_makes_one_more_run_and_never_one_beside_it(jobs: Jobs) -> None:
    running, go_on, finished = threading.Event(), threading.Event(), threading.Event()
    beside = []
    runs = []
    alone = threading.Lock()

    def work() -> bool:
        beside.append(not alone.acquire(blocking=False))
        runs.append(1)
        running.set()
        go_on.wait(PATIENCE)
        alone.release()
        if len(runs) == 2:
            finished.set()
        return False

    jobs.wake("a", work)
    assert running.wait(PATIENCE)
    for _ in range(50):
        jobs.wake("a", work)
    go_on.set()
    assert finished.wait(PATIENCE)
    assert (len(runs), any(beside)) == (2, False)


def test_of_many_jobs_woken_at_once_none_is_missed(jobs: Jobs) -> None:
    done = threading.Semaphore(0)
    for number in range(200):
        jobs.wake(f"job {number}", once(done.release))
    assert all(done.acquire(timeout=PATIENCE) for _ in range(200))


def test_a_job_that_raises_is_told_and_the_others_go_on(jobs: Jobs, failures: list[str]) -> None:
    done = threading.Event()

    def bad() -> bool:
        raise ValueError("a bug")

    jobs.wake("bad", bad)
    jobs.wake("good", once(done.set))
    assert done.wait(PATIENCE)
    jobs.stop()
    jobs.join()
    assert failures == ["bad: a bug"]


class Clock:
    """A wall clock that can be set, for the module's `datetime.now`."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self.step


def test_a_step_of_the_wall_clock_neither_hurries_nor_delays_a_timer(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, done = Clock(), threading.Event()
    monkeypatch.setattr(module, "datetime", clock)
    clock.step = timedelta(hours=1)  # as if it had been set while the clock was an hour ahead
    jobs.after(0.2, "later", once(done.set))
    clock.step = timedelta()
    before = module._clock_offset()
    monkeypatch.setattr(module, "_clock_offset", lambda: before - timedelta(hours=1))
    assert jobs.follow_clock() == pytest.approx(timedelta(hours=-1), abs=timedelta(seconds=1))
    assert done.wait(PATIENCE)


def test_an_interval_goes_on_though_it_ran_between_a_step_of_the_clock_and_the_look_at_it(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = threading.Semaphore(0)
    jobs.every(0.05, "sweep", once(ran.release))
    assert ran.acquire(timeout=PATIENCE)
    before = module._clock_offset()
    # Its timer was set by the new time already: moved along with the step, it would be silent for two hours.
    monkeypatch.setattr(module, "_clock_offset", lambda: before + timedelta(hours=2))
    assert jobs.follow_clock() >= timedelta(hours=1)
    while ran.acquire(blocking=False):
        pass
    assert ran.acquire(timeout=PATIENCE)


def test_a_small_drift_is_no_step(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    before = module._clock_offset()
    monkeypatch.setattr(module, "_clock_offset", lambda: before + timedelta(seconds=0.5))
    assert jobs.follow_clock() == timedelta()


def test_a_later_job_is_not_lost_while_the_one_before_it_has_no_thread(failures: list[str]) -> None:
    jobs = Jobs(1, lambda name, error: failures.append(f"{name}: {error}"))
    jobs.start()
    go_on, told, done, busy = threading.Event(), threading.Semaphore(0), threading.Event(), threading.Event()
    lost = []

    def listen(event: SchedulerEvent) -> None:
        if event.code == EVENT_JOB_MAX_INSTANCES:
            lost.append(event)
        told.release()

    jobs._scheduler.add_listener(listen, EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES)

    def wait() -> bool:
        busy.set()
        return not go_on.wait(PATIENCE)

    jobs.wake("busy", wait)
    assert busy.wait(PATIENCE)
    jobs.after(0, "retries", once(done.set))
    assert told.acquire(timeout=PATIENCE)
    jobs.after(0, "retries", once(done.set))  # while the first still waits for the one thread
    assert told.acquire(timeout=PATIENCE)
    go_on.set()
    assert done.wait(PATIENCE)
    jobs.stop()
    jobs.join()
    assert not lost
    assert not failures


def test_what_is_woken_before_the_start_waits_for_it_and_what_is_woken_after_the_end_never_runs() -> None:
    jobs = Jobs(1, lambda _name, _error: None)
    early, late = threading.Event(), threading.Event()
    jobs.wake("early", once(early.set))
    assert not early.is_set()
    jobs.start()
    assert early.wait(PATIENCE)
    jobs.stop()
    jobs.wake("late", once(late.set))
    jobs.join()
    assert not late.is_set()


def test_what_is_asked_for_again_and_again_comes_about_when_it_was_first_due(jobs: Jobs) -> None:
    done = threading.Event()
    jobs.after(0.05, "soon", once(done.set))
    jobs.after(3600, "soon", once(done.set))
    assert done.wait(PATIENCE)
    done.clear()
    jobs.after(3600, "soon", once(done.set))
    jobs.after(0.05, "soon", once(done.set))
    assert done.wait(PATIENCE)
