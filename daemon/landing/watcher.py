"""Hints of what happened in landing, from the kernel's events; alone to know watchdog. Built by the service.

It uses watchdog's reader of inotify and keeps the watches itself, because the observer above that reader
holds every event back for half a second after a file was moved away (each claim does that), forgets whether a
file was moved in or created, says nothing of an overflow or of a folder it could not watch, and dies of an
error in a handler. A hint is never the truth: `health` tells when hints no longer come, and the sweep finds
what they missed.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from daemon.events import Event
from daemon.landing.mounts import is_remote

log = structlog.get_logger(__name__)

CANARY = ".canary"
_CANARY_PATIENCE = 5.0
_STOP_PATIENCE = 5.0

_ROOT_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_ONLYDIR
)
_MASK = Mask(_ROOT_MASK | InotifyConstants.IN_DONT_FOLLOW)  # landing itself may be a link to another disk
_NO_WATCH = WatchDescriptor(-1)


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to `path`. `moved`: it was renamed or moved in whole, not begun or written there.

    A folder is told of once, when it and those below are watched; what is in it by then gets no hints of its
    own.
    """

    path: str
    moved: bool
    is_directory: bool


class Watcher:
    """Watches the folder `landing` and all below, but for folders whose name begins with a dot.

    `hint` and `overflowed` are called in a thread of ours and must be quick; `overflowed` says that hints
    were lost.
    """

    def __init__(self, landing: Path, hint: Callable[[Hint], None], overflowed: Callable[[], None]) -> None:
        self._landing = landing
        self._hint = hint
        self._overflowed = overflowed
        self._tree: _Tree | None = None
        self._blind: str | None = "it was not started"
        self._identity: tuple[int, int] | None = None
        self._canary_lock = threading.Lock()
        self._canary_asked: float | None = None
        self._sees = False

    def start(self) -> None:
        """Watch from now on every folder that can be watched; `health` tells of those that cannot."""
        self._canary_answered()
        self._sees = False
        self._identity = _identity(self._landing)
        try:
            self._tree = _Tree(self._landing, self._hint, self._lost, self._canary_answered)
        except OSError as error:  # fs.inotify.max_user_instances, or no descriptor left
            self._blind = f"{error.strerror}; raise fs.inotify.max_user_instances or the limit of open files"

    def stop(self) -> None:
        """Watch no more; no hint comes after it returned."""
        tree, self._tree = self._tree, None
        self._blind = "it was stopped"
        if tree is not None:
            tree.stop()

    def rebuild(self) -> None:
        """Begin anew with what is now at landing's path. A sweep must follow: hints were lost meanwhile."""
        self.stop()
        self.start()

    @property
    def is_remote(self) -> bool:
        """Whether other machines may write to landing and no event tells: the sweep alone finds it."""
        return is_remote(self._landing)

    @property
    def sees(self) -> bool:
        """Whether a canary came back since the start: only that proves that events come."""
        return self._sees

    def ask_canary(self) -> None:
        """Make an event in landing that must come back; `health` says if it does not."""
        with self._canary_lock:
            if self._canary_asked is not None:
                return
            self._canary_asked = time.monotonic()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            os.close(os.open(self._landing / CANARY, flags, 0o644))
        except OSError:  # a full disk, or landing is gone: no event was made, so none can be missed
            self._canary_answered()

    def health(self) -> str | None:
        """Return why events do not come, in a sentence's words; None when all is well."""
        tree = self._tree
        if tree is None:
            return self._blind
        return self._landing_changed() or tree.health() or self._canary_missing()

    def _landing_changed(self) -> str | None:
        found = _identity(self._landing)
        if found is None:
            return f"{self._landing} is gone or cannot be reached"
        if not os.access(self._landing, os.R_OK | os.X_OK):
            return f"{self._landing} cannot be read; give the daemon's user rx on it"
        if found != self._identity:
            return f"{self._landing} is no longer the same folder: replaced, mounted over or unmounted"
        return None

    def _canary_missing(self) -> str | None:
        with self._canary_lock:
            asked = self._canary_asked
        if asked is None or time.monotonic() - asked <= _CANARY_PATIENCE:
            return None
        return f"{self._landing / CANARY} was written and no event came for {_CANARY_PATIENCE:g} s"

    def _canary_answered(self) -> None:
        with self._canary_lock:
            self._canary_asked = None
            self._sees = True

    def _lost(self) -> None:
        self._canary_answered()  # its event may be among the lost
        self._overflowed()


class _Tree:
    """The watches on one tree of folders, and the thread that reads their events; it alone changes them.

    Every watch has its own id: when a folder is seen at its new path before the event of its renaming is
    read, the kernel gives the same descriptor twice, and the later removal of the old path must leave the new
    one.
    """

    def __init__(
        self,
        root: Path,
        hint: Callable[[Hint], None],
        lost: Callable[[], None],
        canary_answered: Callable[[], None],
    ) -> None:
        self._root = str(root)
        self._hint = hint
        self._lost = lost
        self._canary_answered = canary_answered
        self._watches: dict[str, tuple[WatchDescriptor, CallbackId]] = {}
        self._paths: dict[WatchDescriptor, str] = {}
        self._unwatched: dict[str, str] = {}
        self._next_id = 0
        self._stopping = False
        self._events = InotifyFD()
        self._watch_all(self._root)
        self._events.start()

    def stop(self) -> None:
        self._stopping = True
        self._events.stop()
        self._events.join(_STOP_PATIENCE)

    def health(self) -> str | None:
        if not self._events.is_alive():
            return "the thread that reads events has ended"
        unwatched = self._unwatched.copy()
        if unwatched:
            path, reason = next(iter(unwatched.items()))
            return f"{len(unwatched)} folders are not watched, such as {path}: {reason}"
        if self._root not in self._watches:
            return f"{self._root} is no longer watched: it was deleted or unmounted"
        return None

    # what InotifyFD calls, in its thread; an exception would end it, and all hints with it

    def on_event(self, event: InotifyEvent) -> None:
        if self._stopping:
            return
        try:
            self._on_event(event)
        except Exception:
            log.exception(
                Event.WATCHER_BLIND, reason="a mistake while an event was handled; a sweep makes up for it"
            )
            self._lost()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        path = self._paths.pop(wd, None)
        if path is not None and self._watches.get(path, (None,))[0] == wd:
            del self._watches[path]

    def on_queue_overflow(self) -> None:
        """Watch all anew, as folders may have come, gone and moved; only then say that hints were lost."""
        log.warning(Event.WATCHER_OVERFLOWED)
        try:
            self._unwatch(list(self._watches))
            self._watch_all(self._root)
        except Exception:
            log.exception(Event.WATCHER_BLIND, reason="a mistake while the watches were made anew")
        self._lost()

    def _on_event(self, event: InotifyEvent) -> None:
        folder = self._paths.get(event.wd)
        if folder is None or not event.name:
            return
        name = os.fsdecode(event.name)
        if name.startswith("."):
            if name == CANARY and folder == self._root:
                self._canary_answered()
            return
        path = f"{folder}/{name}"
        if not event.is_directory:
            if not event.is_moved_from:
                self._hint(Hint(path, moved=event.is_moved_to, is_directory=False))
        elif event.is_moved_from:
            self._unwatch([known for known in self._watches if known == path or known.startswith(f"{path}/")])
        else:
            self._watch_all(path)
            self._hint(Hint(path, moved=event.is_moved_to, is_directory=True))

    def _watch_all(self, top: str) -> None:
        """Watch a folder and those below. Each before it is listed: what comes later makes an event."""
        waiting = [top]
        while waiting:
            path = waiting.pop()
            self._watch(path)
            with suppress(OSError), os.scandir(path) as entries:
                waiting.extend(
                    entry.path
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                )

    def _watch(self, path: str) -> None:
        if path in self._watches:
            return
        self._next_id += 1
        key = CallbackId(self._next_id)
        mask = _ROOT_MASK if path == self._root else _MASK
        try:
            wd = self._events.add_callback(os.fsencode(path), mask, self, key)
        except (FileNotFoundError, NotADirectoryError) as error:
            if path == self._root:
                self._unwatched[path] = str(error.strerror)
            return
        except OSError as error:
            self._unwatched[path] = f"{error.strerror} (see fs.inotify.max_user_watches)"
            return
        if wd == _NO_WATCH:  # so watchdog says EACCES
            self._events.remove_callbacks([(wd, key)])
            self._unwatched[path] = "permission denied; give the daemon's user rx on it"
            return
        self._watches[path] = (wd, key)
        self._paths[wd] = path
        self._unwatched.pop(path, None)

    def _unwatch(self, paths: list[str]) -> None:
        for path in paths:
            wd, key = self._watches.pop(path)
            if self._paths.get(wd) == path:
                del self._paths[wd]
            self._events.remove_callbacks([(wd, key)])


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
