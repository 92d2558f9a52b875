"""What must become true on disk after the ledger said so: links, lineage files, removals. Idempotent.

The promoter does it right after each commit; where the disk refused then, the chain's regular upkeep does it, and so
does recovery at start.
"""

from collections.abc import Iterable

import structlog

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.transition import LayerTransitionLog
from daemon.events import Event
from daemon.lake.durable import remove_tree
from daemon.lake.generations import point_link
from daemon.lake.layout import Layout
from daemon.lake.lineage import transition_path, write_transition
from daemon.scheduling.clock import utc_now

log = structlog.get_logger(__name__)


def keep_up(ledger: Ledger, layout: Layout) -> None:
    """Do everything that is outstanding. Raises OSError and RetryLaterError: it is done again then."""
    point_links(ledger, layout)
    ledger.outcomes.flush()
    file_lineage(ledger, layout, ledger.outcomes.unfiled())
    remove_what_is_due(ledger, layout)


def point_links(ledger: Ledger, layout: Layout) -> None:
    """Make every layer's link show the ledger's generation. Raises OSError."""
    for totals in ledger.views.layers():
        point_link(layout, totals.layer, totals.key, totals.generation)


def file_lineage(ledger: Ledger, layout: Layout, transitions: Iterable[LayerTransitionLog]) -> int:
    """Write the lineage files that are missing or empty; returns how many those were. Raises OSError."""
    written = 0
    for transition in transitions:
        path = transition_path(layout, transition.transition_id)
        if not path.exists() or not path.stat().st_size:
            write_transition(layout, transition)
            written += 1
        ledger.outcomes.filed([transition.transition_id])
    return written


def remove_what_is_due(ledger: Ledger, layout: Layout) -> None:
    """Remove layer files that were taken back, and generations that no reader can be in any more. Raises OSError.

    Only after `point_links`: a generation that a link still shows must stay.
    """
    paths = ledger.rest.removals(utc_now())
    for path in paths:
        remove_tree(layout.root / path)
    if paths:
        ledger.rest.removed(paths)
        log.info(Event.GENERATION_REMOVED, count=len(paths), paths=[str(path) for path in paths[:3]])
