"""At start: what an earlier run left is put right, from what the ledger says and the disk shows.

Called by the service's parts.

Not a special path: afterwards the same chain goes on with what is unfinished.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.events import Event
from daemon.lake.durable import remove_leftovers, remove_tree
from daemon.lake.generations import generations
from daemon.lake.layout import Layout
from daemon.lake.receipts import RECEIPTS
from daemon.lake.requests import remove_unfinished
from daemon.scheduling.upkeep import file_lineage, point_links

log = structlog.get_logger(__name__)

_DOUBTFUL = 1000
"""Lineage files that are looked at although they are known to have been written."""


def recover(ledger: Ledger, layout: Layout, models: Iterable[TableKey]) -> None:
    """Remove unpublished and uncommitted files, make links and lineage files say what the ledger says.

    `models` are the gold models, whose refreshes the ledger does not plan. Raises OSError.
    """
    temporary = sum(_remove_unfinished(ledger, layout)) + _remove_unpublished(ledger, layout)
    temporary += sum(map(remove_leftovers, _side_folders(ledger, layout))) + remove_unfinished(layout)
    for key in models:
        temporary += remove_leftovers(
            layout.generation(Layer.GOLD, key, ledger.promotions.generation(key, Layer.GOLD))
        )
    point_links(ledger, layout)
    # The newest files were renamed but not synced: a power cut may have emptied them.
    lineage = file_lineage(ledger, layout, [*ledger.outcomes.unfiled(), *ledger.outcomes.newest(_DOUBTFUL)])
    log.info(
        Event.RECOVERY_COMPLETED,
        batches=sum(ledger.views.batches_in_flight().values()),
        temporary_files=temporary,
        lineage_files=lineage,
    )


def _remove_unfinished(ledger: Ledger, layout: Layout) -> list[int]:
    """Of every unfinished hop, and those a climb went on with: what was being written, and published but not committed."""
    removed = []
    hops = ledger.promotions.uncommitted()
    for key, target in {*ledger.promotions.due_hops(), *((hop.key, hop.layer) for hop in hops)}:
        removed.append(
            remove_leftovers(layout.generation(target, key, ledger.promotions.generation(key, target)))
        )
    for hop in hops:
        generation = ledger.promotions.generation(hop.key, hop.layer)
        remove_uncommitted(
            layout, hop.key, hop.layer, generation, hop.batch_id, with_quarantine=not hop.has_quarantine
        )
    return removed


def remove_uncommitted(
    layout: Layout,
    key: TableKey,
    layer: Layer,
    generation: int,
    batch_id: str,
    *,
    with_quarantine: bool = True,
) -> None:
    """Remove what a batch new to a layer may have there although no commit told of it. Raises OSError."""
    remove_tree(layout.generation(layer, key, generation) / f"{batch_id}.parquet")
    if with_quarantine:
        remove_tree(layout.quarantine_file(key, layer, batch_id, generation))


def _remove_unpublished(ledger: Ledger, layout: Layout) -> int:
    """Of every layer: links that were not yet in place, and generations that were built but never committed."""
    removed = 0
    published = {(totals.key, totals.layer): totals.generation for totals in ledger.views.layers()}
    being_filled = ledger.rebuilds.shadow_generations()
    leaving = set(ledger.rest.removals(datetime.max.replace(tzinfo=UTC)))
    for folder in layout.data.glob(".generations/*/*/*"):
        layer, key = Layer(folder.parts[-3]), TableKey(*folder.parts[-2:])
        removed += remove_leftovers(folder)
        for number in generations(layout, layer, key):
            place = layout.generation(layer, key, number)
            if not (
                number == published.get((key, layer), 1)
                or (key, layer, number) in being_filled
                or place.relative_to(layout.root) in leaving
            ):
                remove_tree(place)
    return removed


def _side_folders(ledger: Ledger, layout: Layout) -> Iterator[Path]:
    """Folders outside the layers in which only the daemon writes under temporary names."""
    yield layout.unfinished
    yield layout.tables
    yield from layout.data.glob("quarantine/*/*")
    yield from layout.data.glob(".undone/*/*")
    yield from layout.data.glob(".index/*/*")
    yield from layout.claimed("").glob("*")  # no file with such a name is ever taken
    for folder in ledger.rest.dropped_in():
        yield layout.root / folder / RECEIPTS
