"""At start: what an earlier run left is put right, from what the ledger says and the disk shows.

Called by the service.

Not a special path: afterwards the same chain goes on with what is unfinished.
"""

import structlog

from daemon.catalog.ledger import Ledger
from daemon.events import Event
from daemon.lake.durable import remove_leftovers, remove_tree
from daemon.lake.generations import point_link
from daemon.lake.layout import Layout
from daemon.lake.lineage import transition_path, write_transition

log = structlog.get_logger(__name__)


def recover(ledger: Ledger, layout: Layout) -> None:
    """Remove unpublished and uncommitted files, make links and lineage files say what the ledger says.

    Raises OSError.
    """
    temporary = sum(_remove_unfinished(ledger, layout))
    for totals in ledger.views.layers():
        point_link(layout, totals.layer, totals.key, totals.generation)
    lineage = 0
    unfiled = ledger.outcomes.unfiled()
    for transition in unfiled:
        path = transition_path(layout, transition.transition_id)
        if not path.exists() or not path.stat().st_size:
            write_transition(layout, transition)
            lineage += 1
    ledger.outcomes.filed([transition.transition_id for transition in unfiled])
    log.info(
        Event.RECOVERY_COMPLETED,
        batches=sum(ledger.views.batches_in_flight().values()),
        temporary_files=temporary,
        lineage_files=lineage,
    )


def _remove_unfinished(ledger: Ledger, layout: Layout) -> list[int]:
    """Of every unfinished hop: what was being written, and what was published without being committed."""
    removed = []
    for key, target in ledger.promotions.due_hops():
        folder = layout.generation(target, key, ledger.promotions.generation(key, target))
        removed.append(remove_leftovers(folder) + remove_leftovers(layout.quarantine(key)))
        for name in ledger.promotions.uncommitted(key, target):
            remove_tree(folder / name)
    return removed
