"""The ledger's part for what comes after: dropped files go to rest, withdrawn layer files are removed.

Called by scheduling.

A destination is written down before the move, so that a crash between the two neither loses nor doubles a
file.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey

_SETTLED = ("ingested", "duplicate", "set_aside", "undone", "returned", "replayed", "discarded")
"""States in which it is known where a file goes."""
_PARTS_ARE_READ = (
    "NOT EXISTS (SELECT 1 FROM files AS p WHERE p.part_of = files.file_id AND p.state = 'claimed')"
)
"""A workbook stays where it is until its other sheets are staged."""


@dataclass(frozen=True, slots=True)
class RestlessFile:
    """A dropped file whose fate is settled and which still lies among the claimed ones.

    Paths are relative to the root, and strings: there are a thousand at a time.

    `fate` is ingested, duplicate, set_aside, undone, returned, replayed or discarded; `destination` is None until it is
    planned.
    """

    file_id: int
    batch_id: str
    ordinal: int
    name: str
    landing_path: str
    claimed_path: str
    fate: str
    kind: str | None
    reason: str | None
    sha256: str | None
    rows: int | None
    size: int
    destination: str | None


class RestLedger:
    """Files on their way to the archive, the quarantine or back to landing; layer files on their way out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tables(self) -> list[TableKey]:
        """Tables with files that are not yet at rest."""
        rows = self._store.rows(
            "SELECT DISTINCT domain, table_name FROM files WHERE at_rest = 0 "
            f"AND state IN {_SETTLED} AND {_PARTS_ARE_READ}"
        )
        return [TableKey(*row) for row in rows]

    def dropped_in(self) -> set[Path]:
        """Folders, relative to the root, in which files were dropped that are not yet at rest."""
        rows = self._store.rows("SELECT landing_path FROM files WHERE at_rest = 0")
        return {Path(os.fsdecode(row["landing_path"])).parent for row in rows}

    def restless(self, key: TableKey, limit: int) -> list[RestlessFile]:
        """Up to `limit` files of a table that are not yet at rest, oldest first."""
        rows = self._store.rows(
            "SELECT file_id, batch_id, ordinal, name, landing_path, claimed_path, resting_path, state, kind, reason, "
            "sha256, rows, size FROM files WHERE domain = ? AND table_name = ? AND at_rest = 0 "
            f"AND state IN {_SETTLED} AND {_PARTS_ARE_READ} ORDER BY file_id LIMIT ?",
            (*key, limit),
        )
        return [
            RestlessFile(
                file_id=row["file_id"],
                batch_id=row["batch_id"],
                ordinal=row["ordinal"],
                name=row["name"],
                landing_path=os.fsdecode(row["landing_path"]),
                claimed_path=os.fsdecode(row["claimed_path"]),
                fate=row["state"],
                kind=row["kind"],
                reason=row["reason"],
                sha256=row["sha256"],
                rows=row["rows"],
                size=row["size"],
                destination=None if row["resting_path"] is None else os.fsdecode(row["resting_path"]),
            )
            for row in rows
        ]

    def first_of(self, key: TableKey, file: RestlessFile) -> str | None:
        """The name under which the table took a duplicate's content; None where that was taken back meanwhile."""
        row = self._store.row(
            "SELECT name FROM files WHERE domain = ? AND table_name = ? AND size = ? AND sha256 = ? "
            "AND state IN ('staged', 'ingested') ORDER BY file_id LIMIT 1",
            (*key, file.size, file.sha256),
        )
        return None if row is None else str(row["name"])

    def rejected_by_file(self, batch_ids: Collection[str]) -> dict[tuple[str, str], dict[str, int]]:
        """Records set aside of these batches: (batch, source file) -> rule -> rows."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        for batch_id in batch_ids:
            for row in self._store.rows(
                "SELECT f.source_file, f.rule, f.rows FROM quarantine AS q JOIN quarantine_files AS f "
                "USING (transition_id, rule) WHERE q.batch_id = ?",
                (batch_id,),
            ):
                found.setdefault((batch_id, row["source_file"]), {})[row["rule"]] = row["rows"]
        return found

    def is_taken(self, destination: str) -> bool:
        """Whether some file rests at this path already, or is on its way to it."""
        return (
            self._store.row("SELECT 1 FROM files WHERE resting_path = ? LIMIT 1", (os.fsencode(destination),))
            is not None
        )

    def plan(self, destinations: Sequence[tuple[int, str | None]]) -> None:
        """Write down where each file (by id) is about to be moved; None where that is to be chosen again."""
        with self._store.transaction() as tx:
            tx.execute_many(
                "UPDATE files SET resting_path = ? WHERE file_id = ?",
                [
                    (destination and os.fsencode(destination), file_id)
                    for file_id, destination in destinations
                ],
            )

    def at_rest(self, file_ids: Sequence[int]) -> None:
        """Write down that these files have arrived, or were deleted as the contract says."""
        with self._store.transaction() as tx:
            tx.execute_many(
                "UPDATE files SET at_rest = 1 WHERE file_id = ?", [(file_id,) for file_id in file_ids]
            )

    def removals(self, now: datetime) -> list[Path]:
        """Layer files and generations that no longer count and may be removed by now, relative to the root."""
        rows = self._store.rows("SELECT path FROM removals WHERE due_at <= ?", (now.isoformat(),))
        return [Path(row["path"]) for row in rows]

    def removed(self, paths: Sequence[Path]) -> None:
        """Write down that these are gone."""
        with self._store.transaction() as tx:
            tx.execute_many("DELETE FROM removals WHERE path = ?", [(str(path),) for path in paths])
