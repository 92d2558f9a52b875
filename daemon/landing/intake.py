"""From hints to batches: looks at what is in landing and claims what is ready.

One thread, built and started by the service.

Watcher, sweep and chain only put words on its queue; what happened is never trusted, the disk is looked at.
While a table has batches that wait to be staged its ready files stay in landing, so that the next batch is
larger: small batches when idle, large ones under load.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

import structlog

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.errors import RetryLaterError
from daemon.events import Event
from daemon.landing.candidates import Candidates
from daemon.landing.claims import Claims, ReadyFile
from daemon.landing.watcher import Hint

log = structlog.get_logger(__name__)

_MAX_UNSTAGED = 2
"""Batches of a table that are claimed and not staged: one that is being read, and the next."""
_TOGETHER = 32
"""Tables whose files are claimed in one go, at most: the first of them must not wait long for the last."""
_MACHINE_WAIT = 5.0
"""Seconds until a claim that the machine refused is tried again."""
_MOST_WORDS = 20_000
"""Hints that wait to be looked at."""
_ROOM_WAIT = 1.0
"""Seconds until it is looked again whether there is room."""
_LISTEN = 5.0
"""Seconds the thread sleeps at most, so that a lost word costs no more than that."""

Word = Hint | TableKey | None
"""A hint about a path; a table whose batch was staged; None: look around."""


class Intake:
    """Claims what is ready.

    `limit` gives a table's files and bytes per batch, `shortage` says why nothing may be taken now, None where it may;
    `claimed` is told of every batch, `failed` when the thread meets a bug and ends.
    """

    def __init__(  # noqa: PLR0913 - the meeting point of the parts of this room; the service is its only builder
        self,
        *,
        candidates: Candidates,
        claims: Claims,
        ledger: Ledger,
        limit: Callable[[TableKey], tuple[int, int]],
        shortage: Callable[[], str | None],
        now: Callable[[], datetime],
        claimed: Callable[[TableKey], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._candidates = candidates
        self._candidates.between = self._between
        self._is_between = False
        self._claims = claims
        self._ledger = ledger
        self._limit = limit
        self._shortage = shortage
        self._now = now
        self._claimed = claimed
        self._failed = failed
        self._words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        self._sweep_wanted = threading.Event()
        self._stopping = threading.Event()
        self._busy = threading.Event()
        self.paused: str | None = None
        """Why nothing is taken now; None while intake works. Read by the guard."""
        self._refused = False
        self._refused_until = 0.0
        self._swept = False
        self._thread = threading.Thread(target=self._run, name="intake")

    def hint(self, hint: Hint) -> None:
        """Somebody saw something happen to a path. Past a number of words that wait, a sweep finds it."""
        if self._words.qsize() < _MOST_WORDS:
            self._words.put(hint)
        else:
            self._sweep_wanted.set()

    def staged(self, key: TableKey) -> None:
        """A batch of this table is staged: there may be room for the next."""
        self._words.put(key)

    def sweep(self) -> None:
        """Look through all of landing soon."""
        self._sweep_wanted.set()
        self._words.put(None)

    def start(self) -> None:
        """Begin to claim."""
        self._busy.set()
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more; returns when the thread has ended, if it was ever started."""
        self._stopping.set()
        self._candidates.abandon()
        self._words.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_well(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """Whether nothing in landing is ready, or may become so by waiting."""
        return (
            self._words.empty()
            and not self._sweep_wanted.is_set()
            and not self._busy.is_set()
            and not self._candidates.known.count
        )

    @property
    def waiting(self) -> int:
        """Files in landing that are known and not claimed."""
        return self._candidates.known.count

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the service must know that nobody claims any more
            self._failed(error)

    def _turn(self) -> None:
        """Listen, look, claim; once."""
        self._listen()
        if self._sweep_wanted.is_set():
            self._sweep_wanted.clear()
            self._sweep_landing()
        self._candidates.look_again(time.monotonic())
        self._claim_ready()
        if self._candidates.known.is_worth_a_sweep:
            self._sweep_wanted.set()

    def _listen(self) -> None:
        """Wait for a word, or until a candidate's time has come; then take all words that are there."""
        for word in self._heard():
            if isinstance(word, Hint):
                self._candidates.hint(word, time.monotonic())

    def _between(self) -> None:
        """While many files are looked at: what came meanwhile is heard and claimed, so that a flood holds nobody up."""
        if self._is_between:
            return
        self._is_between = True
        while not self._words.empty() and not self._stopping.is_set():
            word = self._words.get()
            if isinstance(word, Hint):
                self._candidates.hint(word, time.monotonic())
        self._claim_ready()
        self._is_between = False

    def _heard(self) -> Iterator[Word]:
        try:
            yield self._words.get_nowait()
        except queue.Empty:
            self._busy.clear()
            try:
                word = self._words.get(timeout=0 if self._sweep_wanted.is_set() else self._patience())
            except queue.Empty:
                return
            finally:
                self._busy.set()
            yield word
        while not self._words.empty() and not self._stopping.is_set():
            yield self._words.get()

    def _patience(self) -> float:
        now = time.monotonic()
        due = self._candidates.known.next_due
        wait = _LISTEN if due is None else min(_LISTEN, due - now)
        if self.paused:
            wait = min(wait, _ROOM_WAIT)
        if self._refused:
            wait = min(wait, self._refused_until - now)
        return max(wait, 0.001)

    def _sweep_landing(self) -> None:
        began = time.monotonic()
        found = self._candidates.sweep(began)
        self._swept = True
        log.debug(Event.SWEEP_COMPLETED, files=found, seconds=round(time.monotonic() - began, 4))

    def _claim_ready(self) -> None:
        """Claim a batch of every table that has ready files and not too many batches waiting."""
        if time.monotonic() < self._refused_until:
            return
        try:
            if self._refused:
                self._put_right()
            if self._swept:
                if self._claims.give_back_forgotten():
                    self.sweep()
                self._swept = False
            while batches := self._next_batches():
                for key in self._claims.claim(batches, self._now()):
                    self._claimed(key)
        except (RetryLaterError, OSError) as error:
            self._refused = True
            self._refused_until = time.monotonic() + _MACHINE_WAIT
            log.warning(Event.CLAIM_REFUSED, error=str(error), seconds=_MACHINE_WAIT)

    def _has_room(self) -> bool:
        """Whether the disks have room for more; says so when that changes."""
        shortage = self._shortage()
        if shortage and not self.paused:
            log.warning(Event.INTAKE_PAUSED, reason=shortage)
        elif self.paused and not shortage:
            log.info(Event.INTAKE_RESUMED)
        self.paused = shortage
        return shortage is None

    def _put_right(self) -> None:
        """Settle the claim that the machine refused half way, and look for the files that it left in landing."""
        for key in self._claims.recover(self._now()):
            self._claimed(key)
        self._refused = False
        self.sweep()

    def _next_batches(self) -> dict[TableKey, list[ReadyFile]]:
        """A batch of each of some tables that have ready files and not too many batches waiting."""
        if self._stopping.is_set() or not self._has_room():
            return {}
        with_room = (
            key
            for key in list(self._candidates.known.ready)
            if self._ledger.promotions.unstaged(key) < _MAX_UNSTAGED
        )
        return {key: self._next_batch(key) for key in islice(with_room, _TOGETHER)}

    def _next_batch(self, key: TableKey) -> list[ReadyFile]:
        """Take files off a table's ready ones, the first ready first, up to the batch's limit; a large file goes alone."""
        max_files, max_bytes = self._limit(key)
        files: list[ReadyFile] = []
        size = 0
        for path, file in list(self._candidates.known.ready.get(key, {}).items()):
            if files and (len(files) == max_files or size + file.size > max_bytes):
                break
            files.append(file)
            size += file.size
            self._candidates.known.taken(key, path)
        return files
