"""A ledger that is gone is not taken for one that never was. Asked by service and by the command line."""

from pathlib import Path

from daemon.errors import HaltError
from daemon.lake.layout import Layout


def refuse_lost_ledger(layout: Layout) -> None:
    """Raise HaltError where a root has no ledger, but tables or claimed files that one knew.

    An empty one would take the same files in a second time, beside the rows that are there.
    """
    if layout.ledger.exists() and layout.ledger.stat().st_size:
        return
    remains = next(
        (path for path in (layout.data / ".generations", layout.landing / ".claimed") if _holds(path)), None
    )
    if remains is not None:
        raise HaltError(
            f"{layout.ledger}: the ledger is gone, and {layout.relative(remains)} holds what it knew. Nothing was changed. "
            "Mount what is not mounted, or restore the ledger from a backup; or move data/, landing/.claimed and "
            "catalog/lineage away and drop the files of data/archive/ into landing/ again."
        )


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
