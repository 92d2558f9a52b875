"""Errors of the Rust libraries that read files: what they raise on bad data becomes a refusal. Used by every reader."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.errors import gist, is_machine_fault

_MACHINE_TALK = re.compile(
    r"::|[({\[]{2}|\{ |\b\w+\(\w*\)|\.rs\b|0x[0-9a-f]|\b[A-Z]\w+(?:Error|Exception)\b|[Pp]olars|panic|unwrap|index|"
    r"overflow|\bcore\b|unexpected|unreachable|[Ii]nvalid argument|assert|out of (?:range|bounds)|range end|out-of-spec|"
    r"out of specification|[Nn]ot (?:yet )?implemented|[Nn]ot supported|relationship|EOCD"
)
"""What only the people understand who wrote the library."""


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
        raise UnreadableError(f"{what} cannot be read: {spoken(error)}") from error


def spoken(error: BaseException) -> str:
    """What a library's error says, if a person who never saw its code understands it; else that the file is damaged."""
    text = gist(error).partition("\n")[0].strip()
    if type(error).__name__ == "PanicException" or not text or _MACHINE_TALK.search(text):
        return "its content is damaged, or written in a way that is not known here; write and send it anew"
    return text
