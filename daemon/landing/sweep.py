"""Looks through landing: the truth about what is there, whatever events were lost. Called by intake."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.landing.readiness import Sighting


@dataclass(frozen=True, slots=True)
class Found:
    """Something in landing that is not a folder: a file, link or device, as `sighting.mode` tells."""

    path: str
    sighting: Sighting


def sweep(folder: str, problems: list[str]) -> Iterator[Found]:
    """Yield all that lies in `folder` and below.

    Links are not followed, and folders whose name begins with a dot are left out. What goes away
    meanwhile is no error. Of a folder that cannot be read, `problems` gets a sentence.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in _entries(here, problems, required=here == folder):
            if _is_folder(entry):
                if not entry.name.startswith("."):
                    waiting.append(entry.path)
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(f"{entry.path} cannot be looked at: {error.strerror}")
                continue
            yield Found(entry.path, Sighting.of(entry.name, found))


def _entries(folder: str, problems: list[str], *, required: bool) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, one by one: there may be a million."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            problems.append(f"{folder} cannot be looked through: {error.strerror}; is it still there?")
    except OSError as error:
        problems.append(
            f"{folder} cannot be looked through: {error.strerror}; give the daemon's user rx on it"
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
