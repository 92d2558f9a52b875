"""A refinery whose worker only says what it would have done: the chain's decisions in milliseconds, without polars.

Every layer file is an empty one under its name, every record is carried on, unless a test says otherwise.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ledgers import transition_at
from refinery import Inline, Refinery
from structlog.testing import capture_logs

from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.promotion import (
    BatchOutcome,
    Climb,
    FileOutcome,
    LayerFile,
    ModelTask,
    PromotionItem,
    PromotionOutcome,
    PromotionTask,
    TableKey,
    following,
)
from daemon.catalog.transition import Layer
from daemon.lake.layout import Layout
from daemon.scheduling.chain import Chain
from daemon.scheduling.clock import utc_now
from daemon.scheduling.jobs import Jobs

ROWS = 3
Log = list[Any]
Change = Callable[[PromotionTask, PromotionOutcome], PromotionOutcome]


class Paper(Inline):
    """`calls` are the tasks it was given. `errors`: how its next calls end; `change` has the last word on an outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.errors: deque[Exception] = deque()
        self.change: Change = lambda _, outcome: outcome

    def call(self, _: Callable[[Any], Any], task: Any) -> Any:
        self.calls.append(task)
        if self.errors:
            raise self.errors.popleft()
        answer = self._model(task) if isinstance(task, ModelTask) else self._climb(task)
        self.meanwhile()
        return answer

    def _climb(self, climb: Climb) -> tuple[PromotionOutcome, ...]:
        outcomes = []
        task: PromotionTask | None = climb.task
        for above in (*climb.above, None):
            assert task is not None
            outcome = self.change(task, PromotionOutcome(self._items(task), generation=task.generation))
            outcomes.append(outcome)
            task = following(climb, task, outcome, above) if above else None
            if task is None:
                break
        return tuple(outcomes)

    def _items(self, task: PromotionTask) -> tuple[BatchOutcome, ...]:
        return tuple(self._item(task, item) for item in task.items)

    def _item(self, task: PromotionTask, item: PromotionItem) -> BatchOutcome:
        folder = Layout(task.root).generation(task.target, task.key, task.generation)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{item.batch_id}.parquet"
        (folder / name).touch()
        files = tuple(
            FileOutcome(file.file_id, f"sha-{file.path.read_text()[:20]}", ROWS, "staged")
            for file in item.sources
        )
        version = None if task.contract.version == "none" else task.contract.version
        made = (item.transition_id, item.batch_id, task.key, task.target, ROWS)
        log = transition_at(utc_now(), *made, contract_version=version)
        return BatchOutcome(log, LayerFile(item.batch_id, name, ROWS, 100, "ab" * 32), files)

    def _model(self, task: ModelTask) -> BatchOutcome:
        made = (task.transition_id, task.batch_id, task.key, Layer.GOLD, 1)
        log = transition_at(utc_now(), *made, kind="model", contract_version=task.contract.version)
        return BatchOutcome(log, LayerFile(task.batch_id, f"{task.key.table}.parquet", 1, 9, "ab" * 32))


class Notes(Jobs):
    """Jobs that run when a test says so. `awake` and `timers` are by name; `ran` are the names of those that did."""

    def __init__(self) -> None:
        self.awake: dict[str, Callable[[], bool]] = {}
        self.timers: dict[str, tuple[float, Callable[[], bool]]] = {}
        self.ran: list[str] = []

    def wake(self, name: str, work: Callable[[], bool]) -> None:
        self.awake[name] = work

    def after(self, seconds: float, name: str, work: Callable[[], bool]) -> None:
        if name not in self.timers or seconds < self.timers[name][0]:
            self.timers[name] = (seconds, work)

    @property
    def is_idle(self) -> bool:
        return not self.awake

    def run(self) -> list[str]:
        """Run what is awake until nothing is; the names of the jobs in their order."""
        self.ran = []
        while self.awake:
            name = next(iter(self.awake))
            work = self.awake.pop(name)
            self.ran.append(name)
            if work():
                self.awake.setdefault(name, work)
        return self.ran

    def ring(self, name: str) -> None:
        _, work = self.timers.pop(name)
        self.wake(name, work)


@dataclass
class Desk:
    """A paper refinery with its chain, and a clock that tests move by hand."""

    root: Path
    now: float = 0.0
    staged: list[TableKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = Paper()
        self.refinery = Refinery(Layout(self.root), self.worker, lambda: self.now)
        self.jobs = Notes()
        self.ledger, self.layout = self.refinery.ledger, self.refinery.layout
        self.chain = Chain(
            jobs=self.jobs,
            ledger=self.ledger,
            layout=self.layout,
            promoter=self.refinery.promoter,
            rest=self.refinery.rest,
            models=self.refinery.models,
            rebuilder=self.refinery.rebuilder,
            compactor=self.refinery.compactor,
            backoff=self.refinery.backoff,
            staged=self.staged.append,
        )

    def run(self) -> list[str]:
        """Wake everything, and run it; the names of the jobs in their order."""
        self.chain.wake_all()
        return self.jobs.run()

    def is_idle(self) -> bool:
        return self.chain.is_idle

    def is_done(self) -> bool:
        return self.chain.is_done

    def files(self, batch: str) -> list[KnownFile]:
        return sorted(self.ledger.views.files.of_batch(batch), key=lambda file: file.name)

    def fates(self, batch: str) -> list[str]:
        return [file.state for file in self.files(batch)]

    def published(self, key: TableKey) -> list[Layer]:
        return [layer for layer in Layer if self.ledger.promotions.published(key, layer)]


@contextmanager
def told(*events: str) -> Iterator[Log]:
    """The log lines with these names that are written meanwhile; complete when the block ends."""
    found: Log = []
    with capture_logs() as lines:
        yield found
    found += [line for line in lines if line["event"] in events]


def refuses(work: Any, error: Exception, times: int = 1) -> Callable[..., Any]:
    """`work`, but the first calls end with an error."""
    left = [times]

    def act(*values: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return work(*values, **named)

    return act


def batch_of(outcome: PromotionOutcome, **more: Any) -> PromotionOutcome:
    """The outcome, its first batch changed."""
    first, *others = outcome.items
    return replace(outcome, items=(replace(first, **more), *others))
