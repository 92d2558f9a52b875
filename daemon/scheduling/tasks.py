"""What a worker process runs.

The parent imports this module to name the functions; polars is imported in the worker only.

Called through `workers.WorkerPool`.
"""

import ctypes
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from daemon.catalog.compaction import RepackOutcome, RepackTask
from daemon.catalog.promotion import BatchOutcome, Climb, ModelTask, PromotionOutcome
from daemon.catalog.rebuild import RestageTask
from daemon.scheduling.clock import utc_now

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SWITCH = 0.0005
"""Seconds until a thread that waits for the interpreter is given it: the one that publishes wants it for a moment between
two waits for the disk."""
_publishing = ThreadPoolExecutor(1, "publishing")
"""Publishes a climb's files, one after the other: encoding and the disk leave the interpreter to the next hop."""


def start_worker(parent: int) -> None:
    """Make a fresh worker die with its parent, leave Ctrl-C to the parent, and load polars before the first task."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH)
    import daemon.pipeline.promote  # noqa: F401, PLC0415 - polars stays out of the parent


def warm_up() -> None:
    """Nothing: a first task makes the pool start a worker."""


def climb(task: Climb) -> tuple[PromotionOutcome, ...]:
    """Carry a batch up. Raises what `daemon.pipeline.promote.climb` raises."""
    from daemon.pipeline.promote import climb as run  # noqa: PLC0415 - polars stays out of the parent

    return run(task, utc_now, lambda publish: _publishing.submit(publish).result)


def restage(task: RestageTask) -> BatchOutcome:
    """Make a batch's staged file anew. Raises what `daemon.pipeline.restaging.restage` raises."""
    from daemon.pipeline.restaging import restage as run  # noqa: PLC0415 - polars stays out of the parent

    return run(task, utc_now)


def repack(task: RepackTask) -> RepackOutcome:
    """Write rows of a layer into other files. Raises what `daemon.pipeline.repacking.repack` raises."""
    from daemon.pipeline.repacking import repack as run  # noqa: PLC0415 - polars stays out of the parent

    return run(task)


def refresh_model(task: ModelTask) -> BatchOutcome:
    """Make a gold model anew. Raises what `daemon.pipeline.promote.refresh_model` raises."""
    from daemon.pipeline.promote import refresh_model as run  # noqa: PLC0415 - polars stays out of the parent

    return run(task, utc_now)
