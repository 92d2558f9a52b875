"""Generations: how what is published changes without a reader ever seeing a row twice or not at all.

`data/<layer>/<domain>/<table>` is a symbolic link to a numbered folder. Adding a batch renames a file into
it; changing anything builds the next folder beside it and, once the ledger has committed, renames a new link
over the old one. Called by the pipeline (builds), scheduling (publishes) and recovery.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.durable import make_directories, remove_tree, sync_directory, temporary_beside
from daemon.lake.layout import Layout


def ensure_generation(layout: Layout, layer: Layer, key: TableKey, number: int) -> Path:
    """The folder of a generation, made with its link where they are missing."""
    folder = layout.generation(layer, key, number)
    if not layout.layer_link(layer, key).exists():
        make_directories(folder)
        point_link(layout, layer, key, number)
    return folder


def build_next(layout: Layout, layer: Layer, key: TableKey, number: int, keep: Iterable[str]) -> Path:
    """Begin generation `number` + 1 with hard links to the files named in `keep`; the caller adds what changed.

    What a crash left of that folder is removed first: it was never committed. The names are durable once the
    caller has published its own file there, or synced the folder.
    """
    old = layout.generation(layer, key, number)
    new = layout.generation(layer, key, number + 1)
    remove_tree(new)
    make_directories(new)
    for name in keep:
        os.link(old / name, new / name)
    sync_directory(new)
    return new


def point_link(layout: Layout, layer: Layer, key: TableKey, number: int) -> bool:
    """Make the layer's link show generation `number`. Returns False where it did so already."""
    link = layout.layer_link(layer, key)
    target = Path(os.path.relpath(layout.generation(layer, key, number), link.parent))
    if link.is_symlink() and link.readlink() == target:
        return False
    make_directories(link.parent)
    with temporary_beside(link) as temporary:
        temporary.symlink_to(target)
        temporary.rename(link)
    sync_directory(link.parent)
    return True
