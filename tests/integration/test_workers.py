"""The worker processes themselves: calls, deaths, time limits, a pool that breaks as a whole, stopping."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from daemon_process import wait_for

from daemon.errors import RetryLaterError
from daemon.scheduling.workers import StoppingError, WorkerDiedError, WorkerPool, WorkerTimedOutError


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    os._exit(number)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, time_limit=20)
    yield pool
    pool.stop(1)


def workers() -> list[int]:
    listing = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="]
    found = subprocess.run(listing, capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


def test_a_call_returns_what_the_function_returns(pool: WorkerPool) -> None:
    assert pool.call(double, 21) == 42


def test_a_worker_that_dies_is_told_and_the_next_call_works(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDiedError, match="exit code 9"):
        pool.call(die, 9)
    assert pool.call(double, 21) == 42


def test_a_task_past_its_time_limit_is_ended() -> None:
    pool = WorkerPool(1, time_limit=0.2)
    with pytest.raises(WorkerTimedOutError):
        pool.call(nap, 30.0)
    pool.stop(1)


def test_when_every_worker_is_killed_at_once_the_pool_works_again_and_nobody_blames_the_data(
    pool: WorkerPool,
) -> None:
    for _ in range(3):
        pool.warm_up()
        assert pool.call(double, 1) == 2
        for worker in wait_for(workers, 10, lambda: "no worker was started"):
            os.kill(worker, signal.SIGKILL)

        def works() -> bool:
            try:
                return pool.call(double, 21) == 42
            except (RetryLaterError, WorkerDiedError):
                return False

        assert wait_for(works, 20, lambda: "the pool never worked again")
        assert pool.heal()


def test_a_call_after_the_stop_is_handed_back(pool: WorkerPool) -> None:
    pool.call(double, 1)
    pool.stop(1)
    with pytest.raises(StoppingError):
        pool.call(double, 21)
