"""What people and disks do in the midst of a scene, at the very moment of a fail-point. Called by `points`."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path


def _write() -> None:
    """Somebody opens the file that is about to be claimed, and writes to it for a while."""
    path = Path(os.environ["TORTURE_ROOT"]) / "landing/events/0.csv"
    file = path.open("ab")
    threading.Timer(0.3, file.close).start()


def _take_away() -> None:
    """Somebody takes the file away that is about to be claimed."""
    path = Path(os.environ["TORTURE_ROOT"]) / "landing/events/0.csv"
    path.rename(path.parent / ".taken")


def _write_on() -> None:
    """Somebody writes on in a file that was just claimed."""
    (path,) = (Path(os.environ["TORTURE_ROOT"]) / "landing/.claimed").glob("*/*-0.csv")
    with path.open("a") as file:
        file.write("T0-late,00099,written late\n")


def _swap() -> None:
    """Somebody puts a link in the place of the file that is about to be claimed."""
    path = Path(os.environ["TORTURE_ROOT"]) / "landing/events/0.csv"
    path.rename(path.parent / ".swapped")
    path.symlink_to(".swapped")


def _swap_again() -> None:
    """A link was claimed in a file's place, as somebody put it there, and put another where it came from."""
    landing = Path(os.environ["TORTURE_ROOT"]) / "landing"
    (claimed,) = (landing / ".claimed").glob("*/*-0.csv")
    claimed.rename(landing / "events/.swapped")
    for link in (claimed, landing / "events/0.csv"):
        link.symlink_to(".swapped")


def _mark_again() -> None:
    """Somebody says once more that a file is finished which is claimed by now."""
    (Path(os.environ["TORTURE_ROOT"]) / "landing/marked/0.csv.done").touch()


def _tidy() -> None:
    """Somebody removes the folder of claimed files."""
    (Path(os.environ["TORTURE_ROOT"]) / "landing/.claimed").rmdir()


def _refuse() -> None:
    """The disk refuses what is about to be done."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _overtake() -> None:
    """A promotion was faster, and the file is gone that is about to be linked."""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


_CLAIMING = "before landing.claims:_take:rename#1"
MEANWHILE: dict[str, tuple[str, Callable[[], None]]] = {
    "write": (_CLAIMING, _write),
    "swap": (_CLAIMING, _swap),
    "swap again": ("after landing.claims:_take:rename#1", _swap_again),
    "take away": (_CLAIMING, _take_away),
    "write on": ("after catalog.ledger.intake:IntakeLedger.confirm:transaction#1", _write_on),
    "mark again": ("after landing.claims:Claims.claim:unlink#1", _mark_again),
    "tidy": ("before catalog.ledger.intake:IntakeLedger.intend:transaction#1", _tidy),
    "refuse folder": ("before lake.durable:make_directory:sync_directory#1", _refuse),
    "refuse claim": ("before landing.claims:Claims._confirm:sync_directory#1", _refuse),
    "refuse archive": ("before lake.archive:_make_durable:sync_directory#1", _refuse),
    "refuse lineage": ("before lake.durable:write_unsynced:rename#1", _refuse),
    "refuse receipt": ("before lake.receipts:write_receipts:write_unsynced#1", _refuse),
    "overtake": ("before lake.generations:build_next:link#2", _overtake),
}
"""By the name that a scene says: the point, and what is done there."""
