"""`medalliond quarantine replay`, `release` and `discard`: what people decide about what was set aside."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.ledger.views import QuarantinedRecords
from daemon.catalog.promotion import TableKey
from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer
from daemon.cli.changes import carry_out, request_for
from daemon.cli.output import count, print_line
from daemon.cli.quarantine import NOTHING_MEANT, chosen_rows, selected
from daemon.cli.roots import WrongRequestError, open_root
from daemon.cli.selection import Selection
from daemon.lake.layout import Layout

_NARROW = "Say which: --table, --rule, --file or --since; or --all."


def replay(root: Path, chosen: Selection, *, everything: bool, why: str, wait: bool) -> int:
    """Run what was set aside again under the present contracts; returns the exit status."""
    layout = open_root(root)
    if chosen.is_everything and not everything:
        raise WrongRequestError(f"replay what? {_NARROW}")
    sets, files = selected(layout, chosen)
    status = 0
    for key in _tables(sets, files):
        mine = [found for found in sets if found.key == key]
        batches = tuple(sorted({found.batch_id for found in mine})) or None
        base = Layer.LANDING if any(found.layer is Layer.STAGED for found in mine) else Layer.STAGED
        ids = tuple(file.file_id for file in files if file.key == key)
        request = request_for(key, "replay", batches=batches, base=base, files=ids, why=why)
        status |= carry_out(layout, request, wait=wait)
        if ids:
            print_line(
                f"{count(len(ids), 'file')} of {key} back in landing; the daemon takes what is there as it runs."
            )
    return status


def release(root: Path, chosen: Selection, *, why: str, wait: bool) -> int:
    """Let records pass the check that caught them; returns the exit status."""
    layout = open_root(root)
    if chosen.is_everything:
        raise WrongRequestError(f"release what? {_NARROW.removesuffix('; or --all.')}.")
    status = 0
    for key, records in _records(layout, chosen):
        request = request_for(key, "release", records=records, why=why)
        status |= carry_out(layout, request, wait=wait)
    return status


def discard(root: Path, chosen: Selection, *, everything: bool, why: str) -> int:
    """Say that what was set aside is not wanted; returns the exit status."""
    layout = open_root(root)
    if chosen.is_everything and not everything:
        raise WrongRequestError(f"discard what? {_NARROW}")
    status = 0
    _, files = selected(layout, chosen, needed=False)
    records = dict(_records(layout, chosen, needed=not files))
    for key in sorted({*records, *(file.key for file in files)}):
        ids = tuple(file.file_id for file in files if file.key == key)
        request = request_for(key, "discard", records=records.get(key, []), files=ids, why=why)
        status |= carry_out(layout, request, wait=False)
    return status


def _tables(sets: Sequence[QuarantinedRecords], files: Sequence[KnownFile]) -> list[TableKey]:
    return sorted({*(found.key for found in sets), *(file.key for file in files)})


def _records(
    layout: Layout, chosen: Selection, *, needed: bool = True
) -> list[tuple[TableKey, list[RecordId]]]:
    """The records that are meant, by table."""
    rows = sorted(
        (
            TableKey(row["domain"], row["table"]),
            RecordId(row["_batch_id"], row["_source_file"], row["_source_row"], row["rule"]),
        )
        for row in chosen_rows(layout, chosen, needed=needed)
    )
    if needed and not rows:
        raise WrongRequestError(NOTHING_MEANT)
    return [(key, [record for _, record in of_key]) for key, of_key in groupby(rows, lambda row: row[0])]
