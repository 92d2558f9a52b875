"""What an audit finds, and how one file is held against what the ledger says of it. Used by every module here."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Mend = Callable[[], None]
"""Puts something right. Raises CannotMendError, with the reason, or OSError."""

_AT_ONCE = 1000


class CannotMendError(Exception):
    """What is wrong cannot be put right from what the root holds; the message says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the ledger says. `path` is relative to the root; `mend` puts it right, if anything can."""

    check: str
    path: str
    found: str
    next_step: str
    mend: Mend | None = None


@dataclass
class Report:
    """What was looked at (how many of each) and what is wrong."""

    checked: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


def difference(path: Path, size: int, sha256: str | None) -> str | None:
    """Return how the file `path` differs from what it must be, None when it does not.

    A file whose SHA-256 is not known yet is held against its bytes only.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - Path.open follows links
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return "is no regular file"
            if found.st_size != size:
                return f"has {found.st_size} bytes, the ledger says {size}"
            digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if digest != sha256:
        return f"holds other bytes: SHA-256 {digest}, the ledger says {sha256}"
    return None


def side_by_side(look: Callable[[T], list[Problem]], things: Iterable[T]) -> Iterator[Problem]:
    """Look at many things, as many at once as there are cores; yield the problems in the order of the things."""
    waiting = iter(things)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while chunk := list(islice(waiting, _AT_ONCE)):
            for problems in pool.map(look, chunk):
                yield from problems
