"""A root's ledger opened for reading row by row, for the commands that need more of it than roots.open_ledger gives.

By itself, for the sake of the others: it imports most of the ledger.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.lake.layout import Layout
from daemon.lake.lost_ledger import refuse_lost_ledger


@contextmanager
def open_inventory(layout: Layout) -> Iterator[LedgerInventory]:
    """Open the ledger of a root. Raises HaltError where there is none or it cannot be used."""
    refuse_lost_ledger(layout)
    with LedgerInventory.open(layout.ledger) as inventory:
        yield inventory
