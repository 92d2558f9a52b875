"""What the tests of the worker pool let workers do; a module of its own, for a worker imports it."""

import mmap
import os
import time
from pathlib import Path


def start_bare(parent: int) -> None:
    """Begin as a worker that loads nothing: for tests of the pool, which need no Polars."""
    assert os.getppid() == parent


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    os._exit(number)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def fill(size: int) -> int:
    held = [b"x" * 10**7 for _ in range(size // 10**7)]
    return len(held) * 10**7


def ask_for(size: int) -> int:
    return len(bytearray(size))


def map_and_read(path: Path) -> int:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reserved = mmap.mmap(-1, 8 * 10**9)
        sum(content[::4096])
        time.sleep(0.5)
        reserved.close()
        return len(content)
