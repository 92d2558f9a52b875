"""What the doctor says about one thing. Used by the modules of `medalliond doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is what is the case, `next_step` what to do about it; empty where nothing is to be done."""

    status: Literal["ok", "warn", "fail"]
    found: str
    next_step: str = ""


def ok(found: str) -> Finding:
    """Say that all is well."""
    return Finding("ok", found)


def warn(found: str, next_step: str) -> Finding:
    """Say that the daemon works, but not as well as it could, or not for long."""
    return Finding("warn", found, next_step)


def fail(found: str, next_step: str) -> Finding:
    """Say that the daemon cannot work."""
    return Finding("fail", found, next_step)
