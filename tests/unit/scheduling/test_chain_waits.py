"""What the machine refuses waits, however often everything is woken; a drain does not stay for it."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from refinery import Refinery

from daemon.catalog.promotion import TableKey
from daemon.lake.layout import Layout
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.chain import Chain
from daemon.scheduling.jobs import Jobs
from daemon.scheduling.rest import RestKeeper

ORDERS = TableKey("sales", "orders")


class _Inline:
    """Jobs that run at once; what is to run later never does."""

    is_idle = True

    def wake(self, _: str, work: Callable[[], bool]) -> None:
        while work():
            pass

    def after(self, *_: object) -> None:
        pass


class _FullDisk:
    """A rest keeper that counts how often the disk refused it."""

    def __init__(self) -> None:
        self.tries = 0

    def step(self, _: TableKey) -> bool:
        self.tries += 1
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    world = Refinery(Layout(tmp_path))
    yield world
    world.close()


def test_a_job_that_the_disk_refused_is_tried_when_its_time_has_come_and_not_before(
    refinery: Refinery,
) -> None:
    now = [0.0]
    disk = _FullDisk()
    parts: dict[str, Any] = {"promoter": refinery.promoter, "models": refinery._models}
    chain = Chain(
        jobs=cast("Jobs", _Inline()),
        ledger=refinery.ledger,
        layout=refinery.layout,
        rest=cast("RestKeeper", disk),
        rebuilder=refinery.rebuilder,
        compactor=refinery.compactor,
        backoff=Backoff(20.0, 300.0, lambda: now[0]),
        staged=lambda _: None,
        **parts,
    )
    refinery.claim(ORDERS, a="id\n1\n")
    refinery.climb(ORDERS)
    chain.wake_all()
    chain.wake_all()
    assert disk.tries == 1
    idle = [chain.is_idle]
    assert not chain.is_done
    now[0] = 20.0
    idle.append(chain.is_idle)
    assert idle == [True, False]
    chain.wake_all()
    assert disk.tries == 2
