"""The daemon's own parts put together without processes or threads: files are claimed, carried up and archived at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from ledgers import open_ledger

from daemon.catalog.compaction import CompactionLimits
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild, RebuildKind
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout
from daemon.landing.claims import Claims, ReadyFile
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.models import ModelRefresher
from daemon.scheduling.promoter import Promoter
from daemon.scheduling.rebuilder import Rebuilder
from daemon.scheduling.rest import RestKeeper
from daemon.scheduling.workers import WorkerDiedError, WorkerPool

HOPS = (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)


class Inline:
    """Does in this process what a worker would do.

    The next `deaths` calls end as those of a worker that died do; `meanwhile` happens before an answer is heard.
    """

    def __init__(self) -> None:
        self.deaths = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def call(self, work: Callable[[Any], Any], task: Any) -> Any:
        if self.deaths:
            self.deaths -= 1
            raise WorkerDiedError("the worker process died (exit code -9)")
        answer = work(task)
        self.meanwhile()
        return answer


@dataclass
class Refinery:
    """A root in which everything can be done step by step."""

    layout: Layout
    workers: Inline = field(default_factory=Inline)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        for folder in (self.layout.landing, self.layout.data, self.layout.contracts, self.layout.transforms):
            folder.mkdir(parents=True, exist_ok=True)
        self.ledger = open_ledger(self.layout.ledger)
        self.contracts = ContractStore(self.layout.contracts)
        workers = cast("WorkerPool", self.workers)
        self.backoff = backoff = Backoff(1.0, 1.0, self.clock)
        self.lanes = Lanes()
        self.limits = CompactionLimits(min_files=2, max_bytes=1_000_000, min_age=-60)
        self.compactor = Compactor(
            ledger=self.ledger,
            layout=self.layout,
            workers=workers,
            lanes=self.lanes,
            limits=lambda _key: self.limits,
            grace=timedelta(0),
        )
        self.rebuilder = Rebuilder(
            ledger=self.ledger,
            layout=self.layout,
            contracts=self.contracts,
            workers=workers,
            compactor=self.compactor,
            grace=timedelta(0),
        )
        self.promoter = Promoter(
            ledger=self.ledger,
            layout=self.layout,
            contracts=self.contracts,
            workers=workers,
            backoff=backoff,
            rebuilder=self.rebuilder,
            lanes=self.lanes,
            compactor=self.compactor,
            grace=timedelta(0),
            incomplete_wait=0,
        )
        self.rest = RestKeeper(self.ledger, self.layout, self.contracts, policy="move", receipts=True)
        self.models = ModelRefresher(self.ledger, self.layout, self.contracts, workers, backoff)

    def contract(self, key: TableKey, text: str) -> None:
        path = self.layout.contracts / key.domain / f"{key.table}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.contracts.reload()

    def claim(self, key: TableKey, **texts: str) -> str:
        """Claim files of one delivery, `name="content"` each; returns the batch."""
        files = []
        for name, text in texts.items():
            path = self.layout.landing / key.domain / key.table / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            found = path.stat()
            files.append(
                ReadyFile(
                    str(path),
                    f"{key.domain}/{key.table}/{name}.csv".encode(errors="replace").decode(),
                    found.st_size,
                    found.st_mtime_ns,
                    found.st_ino,
                )
            )
        self.contracts.reload()
        return Claims(self.ledger.intake, self.layout).claim({key: files}, datetime.now(UTC))[key]

    def climb(self, key: TableKey, *hops: Layer) -> None:
        """Carry what is due up these hops, and no further; all of them unless told."""
        others = [hop for hop in HOPS if hop not in (hops or HOPS)]
        for hop in others:
            assert self.lanes.take(key, hop)
        for hop in hops or HOPS:
            while self.promoter.step(key, hop).ran:
                pass
        self.lanes.leave(key, others)

    def settle(self, key: TableKey) -> None:
        """Bring settled files to rest, and gold models up to date."""
        while self.rest.step(key):
            pass
        self.models.step()

    def compact(self) -> int:
        """Merge what there is to merge; returns how many times something was."""
        count = 0
        while self.compactor.step():
            count += 1
        return count

    def rebuild(self, key: TableKey, kind: RebuildKind, base: Layer, **what: Any) -> None:
        """Ask for a rebuild and carry it out."""
        now = datetime.now(UTC)
        self.ledger.rebuilds.request(Rebuild(new_id(), key, kind, base, **what), now)
        self.carry_out(key)

    def carry_out(self, key: TableKey) -> None:
        """Carry out what is asked for, and what waited for it."""
        while self.rebuilder.step(key):
            self.climb(key.shadow)
        self.climb(key)
        self.settle(key)

    def deliver(self, key: TableKey, **texts: str) -> str:
        """Carry a delivery from landing to gold and into the archive."""
        batch = self.claim(key, **texts)
        self.climb(key)
        self.settle(key)
        return batch

    def close(self) -> None:
        self.ledger.close()
