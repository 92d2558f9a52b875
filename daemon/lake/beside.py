"""One piece of work beside another, in a thread: both leave Python for long. Used by the staged layer, in a worker."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Do `work` during the block, which ends when both have; what `work` gave or raised is in the future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)
