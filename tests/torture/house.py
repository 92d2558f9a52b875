"""The daemon's own parts on one root, without threads and processes, and the moments at which it changes the disk.

At any moment somebody may act in between, or the daemon be killed. Used by `actions` and `workshop`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

_ACTS = ("rename", "replace", "link", "unlink", "mkdir", "fsync", "rmdir")
TABLE = "events"


class KilledError(BaseException):
    """The process is no more: nothing that would clean up after an error may run."""


class Moments:
    """Counts what is done to the disk; at a chosen moment the user acts, or the process dies.

    `from_claim`: the first that counts is the rename of the first file that is claimed.
    """

    def __init__(self, *, from_claim: bool = False) -> None:
        self.real = {name: getattr(os, name) for name in _ACTS}
        self.before: Callable[[], None] | None = None
        self.at = 0
        self.dead = False
        self._waits_for_claim = from_claim

    @contextmanager
    def watched(self) -> Iterator[None]:
        with mock.patch.dict(vars(os), {name: self._counted(name) for name in _ACTS}):
            yield

    def _counted(self, name: str) -> Callable[..., object]:
        def act(*args: object, **options: object) -> object:
            if name == "rename" and "/.claimed/" in str(args[1]):
                self._waits_for_claim = False
            if not self._waits_for_claim:
                self.moment()
            return self.real[name](*args, **options)

        return act

    def moment(self) -> None:
        """One more is about to happen."""
        if self.dead:
            raise KilledError
        if self.at == 0 and self.before is not None:
            before, self.before = self.before, None
            before()
        self.at -= 1

    def die(self) -> None:
        self.dead = True
        raise KilledError


class House:
    """The daemon's parts on one root, without threads and processes."""

    def __init__(self, root: Path) -> None:
        from daemon.lake.layout import Layout

        self.layout = Layout(root)
        (self.layout.landing / TABLE).mkdir(parents=True)
        self.start()

    def start(self) -> None:
        from refinery import Refinery

        from daemon.catalog.contract import LandingRules
        from daemon.landing.candidates import Candidates
        from daemon.landing.claims import Claims
        from daemon.scheduling.recovery import recover

        self._refinery = Refinery(self.layout)
        self._refinery.contracts.reload()
        ledger = self._refinery.ledger
        self._candidates = Candidates(
            self.layout.landing,
            rules=lambda _: LandingRules(),
            route=lambda _: None,
            settle=0.0,
            known=ledger.intake.known,
            incomplete_wait=0.0,
        )
        self._claims = Claims(ledger.intake, self.layout)
        self._claims.recover(datetime.now(UTC))
        recover(ledger, self.layout, self._refinery.contracts.models())

    def tick(self) -> None:
        """Find, claim, carry up and bring to rest what there is."""
        ledger = self._refinery.ledger
        self._claims.give_back_forgotten()
        self._candidates.sweep(time.monotonic())
        for key, ready in list(self._candidates.known.ready.items()):
            files = list(ready.values())
            for file in files:
                self._candidates.known.taken(key, file.path)
            self._claims.claim({key: files}, datetime.now(UTC))
        self._refinery.backoff.release("machine")
        for key in {key for key, _ in ledger.promotions.due_hops()}:
            self._refinery.climb(key)
        for key in ledger.rest.tables():
            self._refinery.settle(key)

    def stop(self) -> None:
        self._refinery.close()
