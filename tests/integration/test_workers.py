"""The worker processes themselves: calls, deaths, time limits, a pool that breaks as a whole, stopping."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from daemon_process import wait_for
from pebble import ProcessFuture
from worker_tasks import ask_for, die, double, fill, map_and_read, nap, start_bare

from daemon.errors import RetryLaterError
from daemon.scheduling import workers as module
from daemon.scheduling.workers import (
    StoppingError,
    WorkerDiedError,
    WorkerPool,
    WorkerTimedOutError,
    WorkerTooLargeError,
)

LIMIT = 3 * 10**8
"""Bytes that a worker may hold."""


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """Two workers that load nothing."""
    monkeypatch.setattr(module, "start_worker", start_bare)
    pool = WorkerPool(2, time_limit=20, memory_limit=LIMIT)
    yield pool
    pool.stop(1)


def workers() -> list[int]:
    listing = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="]
    found = subprocess.run(listing, capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


def test_a_call_returns_what_the_function_returns() -> None:
    pool = WorkerPool(1, time_limit=20, memory_limit=LIMIT)
    assert pool.call(double, 21) == 42
    pool.stop(1)


def test_a_worker_that_dies_is_told_and_the_next_call_works(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDiedError, match="exit code 9"):
        pool.call(die, 9)
    assert pool.call(double, 21) == 42


def test_a_task_past_its_time_limit_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "start_worker", start_bare)
    pool = WorkerPool(1, time_limit=0.2, memory_limit=LIMIT)
    with pytest.raises(WorkerTimedOutError):
        pool.call(nap, 30.0)
    pool.stop(1)


def test_a_task_past_its_memory_limit_is_ended_and_the_reason_names_the_setting(pool: WorkerPool) -> None:
    with pytest.raises(WorkerTooLargeError, match=r"0\.3 GB.*worker_memory"):
        pool.call(fill, 4 * 10**9)
    assert pool.call(fill, 10**8) == 10**8


def test_a_task_that_asks_at_once_for_more_than_there_is_is_too_large(pool: WorkerPool) -> None:
    with pytest.raises(WorkerTooLargeError, match="worker_memory"):
        pool.call(ask_for, 2**60)


def test_want_of_memory_on_a_machine_that_is_short_of_it_is_the_machines_fault(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory_left", lambda: LIMIT - 1)
    with pytest.raises(MemoryError):
        pool.call(ask_for, 2**60)


def test_one_task_past_its_limit_costs_no_other_its_worker(pool: WorkerPool) -> None:
    pool.call(double, 1)  # the workers live as long as the thread that started them
    with ThreadPoolExecutor(2) as threads:
        large, small = threads.submit(pool.call, fill, 4 * 10**9), threads.submit(pool.call, nap, 2.0)
    assert isinstance(large.exception(), WorkerTooLargeError)
    assert small.result() == 2.0


def test_address_space_that_is_only_reserved_and_files_that_are_mapped_do_not_count(
    pool: WorkerPool, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, LIMIT + 10**8)
    assert pool.call(map_and_read, path) == path.stat().st_size


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


def test_a_task_that_a_stopped_pool_forgot_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(1, time_limit=30, memory_limit=LIMIT)
    monkeypatch.setattr(pool._pool, "schedule", lambda *_, **__: ProcessFuture())
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(pool.call, double, 2)
        while not pool._queued:
            time.sleep(0.001)
        next(iter(pool._queued)).set_running_or_notify_cancel()
        pool.stop(grace=0.1)
        with pytest.raises(StoppingError):
            waiting.result(10)
