"""Errors of the Rust libraries that read files: what they raise on bad data becomes a refusal. Used by every reader."""

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.errors import is_machine_fault


class UnreadableError(Exception):
    """A file that the library for its format cannot read. The message is for the person who sent it."""


@contextmanager
def unreadable_as(what: str) -> Iterator[None]:
    """Turn any error of the body into UnreadableError("`what` cannot be read: …"), except the machine's faults.

    A Rust panic derives from BaseException and is another class in every library, so it is told by its name.
    """
    try:
        yield
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"
        if is_machine_fault(error) or not (panic or isinstance(error, Exception)):
            raise
        first_line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UnreadableError(f"{what} cannot be read: {first_line}") from error
