"""The transition logs as files: `catalog/lineage/<transition_id>.json`.

Written by scheduling and the library engine. The ledger holds every record as well and writes a lost or
empty file again, so these are atomic but not synced: a sync per hop would cost more than the hop.
"""

import secrets
from pathlib import Path

from daemon.catalog.transition import LayerTransitionLog
from daemon.lake.durable import TEMPORARY, write_unsynced
from daemon.lake.layout import Layout


def transition_path(layout: Layout, transition_id: str) -> Path:
    """Return where a transition's file stands."""
    return layout.lineage / f"{transition_id}.json"


def write_transition(layout: Layout, log: LayerTransitionLog) -> None:
    """Write a transition's file, in the place of any before it: atomic, not synced. Raises OSError."""
    name = f"{log.transition_id}.json"
    final = f"{layout.lineage}/{name}"
    # Written apart, where what a crash leaves is found without looking through a folder of a million files.
    temporary = f"{layout.unfinished}/{name}.{secrets.token_hex(8)}{TEMPORARY}"
    content = log.model_dump_json(indent=1).encode() + b"\n"
    try:
        write_unsynced(final, temporary, content)
    except FileNotFoundError:  # the first of a root
        layout.lineage.mkdir(parents=True, exist_ok=True)
        layout.unfinished.mkdir(parents=True, exist_ok=True)
        write_unsynced(final, temporary, content)


def read_transition(path: Path) -> LayerTransitionLog:
    """Read a transition from its file. Raises OSError, or ValidationError when the file holds none."""
    return LayerTransitionLog.model_validate_json(path.read_bytes())
