"""Generations: how what is published changes without a reader ever seeing a row twice or not at all.

`data/<layer>/<domain>/<table>` is a symbolic link to a numbered folder. Adding a batch renames a file into
it; changing anything builds the next folder beside it and, once the ledger has committed, renames a new link
over the old one. Links are relative, so that a root can be moved. Called by the pipeline (builds), scheduling
(publishes), recovery and cli (whether readers see it).
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.durable import (
    make_directories,
    remove_leftovers,
    remove_tree,
    sync_directory,
    temporary_beside,
)
from daemon.lake.layout import Layout


def ensure_generation(layout: Layout, layer: Layer, key: TableKey, number: int) -> Path:
    """Return the folder of a committed generation; it and its link are made or put right where need be.

    Two look-ups and no write when all is well.
    """
    folder = layout.generation(layer, key, number)
    make_directories(folder)
    if not key.is_shadow:  # what a rebuild makes is shown when it is whole
        point_link(layout, layer, key, number)
    return folder


def build_next(  # noqa: PLR0913 - a generation is named by layer, table and number
    layout: Layout,
    layer: Layer,
    key: TableKey,
    number: int,
    new_number: int,
    keep: Iterable[str],
    *,
    bring: Iterable[Path] = (),
) -> Path:
    """Begin generation `new_number` with hard links to the files `keep` of generation `number`, and to the files `bring`.

    Returns its folder.

    What a crash left of that folder is removed first: it was never committed. The kept names are durable on
    return; the caller publishes what changed beside them. Readers see nothing of it until `point_link`.
    """
    old = layout.generation(layer, key, number)
    new = layout.generation(layer, key, new_number)
    remove_tree(new)
    make_directories(new)
    for name in keep:
        os.link(old / name, new / name)
    for path in bring:
        os.link(path, new / path.name)
    sync_directory(new)
    return new


def generations(layout: Layout, layer: Layer, key: TableKey) -> list[int]:
    """Return the generations of a layer that are on disk."""
    folder = layout.generations(layer, key)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def remove_unpublished(layout: Layout, layer: Layer, key: TableKey, number: int) -> None:
    """Remove what somebody left who ended while they published into a generation: files in it, and the link to it.

    Nobody else may be publishing into it now. Raises OSError.
    """
    folder = layout.generation(layer, key, number)
    remove_leftovers(folder)
    remove_leftovers(folder.parent, f"{folder.name}.")


def point_link(layout: Layout, layer: Layer, key: TableKey, number: int) -> bool:
    """Make the layer's link show generation `number`, durably. Return False where it did so already.

    Raises OSError (EISDIR) where a copy of the root made a real folder of the link.
    """
    if is_shown(layout, layer, key, number):
        return False
    link = layout.layer_link(layer, key)
    folder = layout.generation(layer, key, number)
    make_directories(link.parent)
    # not beside the link: what a crash left there would be one more table to whoever reads data/<layer>/*/*
    with temporary_beside(folder) as temporary:
        temporary.symlink_to(_target(layout, folder))
        temporary.rename(link)
    sync_directory(link.parent)
    return True


def is_shown(layout: Layout, layer: Layer, key: TableKey, number: int) -> bool:
    """Whether the layer's link shows generation `number`, and so whoever reads its folder."""
    with contextlib.suppress(OSError):  # no link yet, or a folder in its place
        shown = os.readlink(layout.layer_link(layer, key))  # noqa: PTH115 - as text
        return shown == _target(layout, layout.generation(layer, key, number))
    return False


def _target(layout: Layout, folder: Path) -> str:
    return f"../../{folder.relative_to(layout.data)}"
