"""`Ledger`: the parts of the ledger, one per user of it, over one file. Opened by cli and service for whoever writes."""

from pathlib import Path
from typing import Self

from daemon.catalog.ledger.compaction import CompactionLedger
from daemon.catalog.ledger.intake import IntakeLedger
from daemon.catalog.ledger.models import ModelLedger
from daemon.catalog.ledger.outcomes import OutcomeLedger
from daemon.catalog.ledger.promotions import PromotionLedger
from daemon.catalog.ledger.quarantine import QuarantineLedger
from daemon.catalog.ledger.rebuilds import RebuildLedger
from daemon.catalog.ledger.rest import RestLedger
from daemon.catalog.ledger.shadows import ShadowLedger
from daemon.catalog.ledger.store import Store
from daemon.catalog.ledger.views import LedgerViews


class Ledger:
    """The one writer of a root's state. Safe to use from the parent's threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.intake = IntakeLedger(store)
        self.promotions = PromotionLedger(store)
        self.outcomes = OutcomeLedger(store, self.promotions)
        self.rebuilds = RebuildLedger(store, self.promotions)
        self.shadows = ShadowLedger(store, self.promotions)
        self.compaction = CompactionLedger(store, self.promotions)
        self.quarantine = QuarantineLedger(store)
        self.rest = RestLedger(store)
        self.models = ModelLedger(store)
        self.views = LedgerViews(store)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the ledger at `path`. Raises HaltError when it is damaged or newer than this program."""
        return cls(Store.open(path))

    @property
    def is_checked(self) -> bool:
        """Whether every page was looked at when it was opened; else somebody must call `check`."""
        return self._store.is_checked

    def check(self) -> None:
        """Look at every page, beside the work. Raises HaltError when it is damaged, RetryLaterError."""
        self._store.check()

    def settle(self) -> None:
        """Be sure of what was committed: asked by whoever removes what a change that failed speaks of.

        Every other question is answered with the same certainty. Raises RetryLaterError as long as the disk refuses.
        """
        self._store.settle()

    def close(self) -> None:
        """Close the file."""
        self.outcomes.flush()
        self._store.close()
