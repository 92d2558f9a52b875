"""What the kernel refused a command, in words: the file, the reason, and what the user can do about it.

Used where a command ends with an error (grammar.py) and by the doctor.
"""

import errno
import os
import pwd
from pathlib import Path

_STEPS = {
    errno.ENOSPC: "Make room, and say it again.",
    errno.EDQUOT: "Make room, and say it again.",
    errno.EROFS: "Mount it so that it can be written.",
}


def refusal(error: OSError) -> str:
    """The file, the reason, and the next step where there is one to name."""
    said = error.strerror or str(error)
    named = f"{error.filename}: {said}" if error.filename else said
    step = next_step(error)
    return f"{named}. {step}" if step else named


def next_step(error: OSError) -> str:
    """What to do about a refusal, as a sentence; empty where that is not to be told from it."""
    if error.errno in {errno.EACCES, errno.EPERM} and isinstance(error.filename, str):
        return _who_may(Path(error.filename))
    return _STEPS.get(error.errno or 0, "")


def _who_may(path: Path) -> str:
    """Who is to ask instead: the owner of what is in the way, as far as it can be looked at."""
    place = next(found for found in (path, *path.absolute().parents) if _is_seen(found))
    owner, user = place.stat().st_uid, os.geteuid()
    if owner == user:
        return f"{place} is yours: give yourself the right to it with chmod."
    return f"You are {_name(user)}, and {place} is {_name(owner)}'s: ask as that user, or be given the right."


def _is_seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
