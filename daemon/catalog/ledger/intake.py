"""The ledger's part for landing: a claim is intended, then confirmed by what the disk shows.

Called by landing.intake.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from daemon.catalog.ledger.planning import plan
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer


@dataclass(frozen=True, slots=True)
class ClaimIntent:
    """One file about to be renamed from `landing_path` to `claimed_path`, both relative to the root.

    They are strings: a claim has a thousand.
    """

    name: str
    landing_path: str
    claimed_path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim the ledger knows as intended and not yet confirmed."""

    batch_id: str
    key: TableKey
    intents: tuple[ClaimIntent, ...]


class IntakeLedger:
    """Batches in the making."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def intend(self, claims: Sequence[OpenClaim], now: datetime) -> None:
        """Write down which files are about to be renamed, before the first rename."""
        with self._store.transaction() as tx:
            tx.execute_many(
                "INSERT INTO batches (batch_id, domain, table_name, state, created_at) VALUES (?, ?, ?, 'claiming', ?)",
                ((claim.batch_id, *claim.key, now.isoformat()) for claim in claims),
            )
            tx.execute_many(
                "INSERT INTO files (batch_id, ordinal, domain, table_name, name, landing_path, claimed_path, size, "
                "mtime_ns, inode, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'claiming')",
                (
                    (
                        claim.batch_id,
                        ordinal,
                        *claim.key,
                        intent.name,
                        os.fsencode(intent.landing_path),
                        os.fsencode(intent.claimed_path),
                        intent.size,
                        intent.mtime_ns,
                        intent.inode,
                    )
                    for claim in claims
                    for ordinal, intent in enumerate(claim.intents)
                ),
            )

    def confirm(
        self, claimed: Mapping[str, Mapping[int, tuple[int, int]]], new_id: Callable[[], str], now: datetime
    ) -> set[str]:
        """Turn intended claims into open batches with their first promotion planned; returns the ids of those.

        `claimed` holds, by batch, size and mtime_ns of the files that are in its folder, by ordinal. The others vanished,
        or stay in landing for the next sweep. A batch of which no file is left is cancelled.
        """
        with self._store.transaction() as tx:
            for batch_id, sizes in claimed.items():
                tx.execute_many(
                    "UPDATE files SET state = 'claimed', size = ?, mtime_ns = ? WHERE batch_id = ? AND ordinal = ?",
                    [(size, mtime_ns, batch_id, ordinal) for ordinal, (size, mtime_ns) in sizes.items()],
                )
                tx.execute(
                    "UPDATE files SET state = 'vanished', at_rest = 1 WHERE batch_id = ? AND state = 'claiming'",
                    (batch_id,),
                )
                state = "open" if sizes else "cancelled"
                tx.execute("UPDATE batches SET state = ? WHERE batch_id = ?", (state, batch_id))
                if sizes:
                    batch = tx.row("SELECT domain, table_name FROM batches WHERE batch_id = ?", (batch_id,))
                    assert batch is not None  # noqa: S101 - its claim was intended before
                    plan(tx, TableKey(*batch), batch_id, Layer.STAGED, new_id(), now)
        return {batch_id for batch_id, sizes in claimed.items() if sizes}

    def open_claims(self) -> list[OpenClaim]:
        """Claims that a crash left between intent and confirmation, oldest first."""
        batches = self._store.rows(
            "SELECT * FROM batches WHERE state IN ('claiming', 'open') AND state = 'claiming' ORDER BY +batch_id"
        )  # by the index of unfinished ones: there may be 100,000 that are done
        return [
            OpenClaim(
                batch["batch_id"],
                TableKey(batch["domain"], batch["table_name"]),
                tuple(
                    _intent(row)
                    for row in self._store.rows(
                        "SELECT * FROM files WHERE batch_id = ? ORDER BY ordinal", (batch["batch_id"],)
                    )
                ),
            )
            for batch in batches
        ]

    def changed(self, file_id: int, size: int, mtime_ns: int) -> None:
        """A claimed file looks otherwise than when it was claimed: somebody still had it open."""
        with self._store.transaction() as tx:
            tx.execute(
                "UPDATE files SET size = ?, mtime_ns = ? WHERE file_id = ? AND state = 'claimed'",
                (size, mtime_ns, file_id),
            )

    def given_up(self, batch_id: str) -> list[ClaimIntent]:
        """What of a claim was not there when it was confirmed; nothing where no batch has this id."""
        rows = self._store.rows("SELECT * FROM files WHERE batch_id = ? AND state = 'vanished'", (batch_id,))
        return [_intent(row) for row in rows]

    def known(self, path: str, size: int, mtime_ns: int) -> Literal["kept", "incomplete"] | None:
        """What is known of the file at `path` (relative to the root), as it looks: None for a new arrival.

        It was ingested and put back to stay (`archive: keep`), or it was put back for it seems cut short. True from
        the moment it is planned, so that its return is not taken for a new arrival.
        """
        row = self._store.row(
            "SELECT state FROM files WHERE resting_path = ? AND size = ? AND mtime_ns = ? AND state <> 'replayed' "
            "ORDER BY file_id DESC LIMIT 1",
            (os.fsencode(path), size, mtime_ns),
        )
        if row is None:
            return None
        return "incomplete" if row["state"] == "returned" else "kept"


def _intent(row: Row) -> ClaimIntent:
    return ClaimIntent(
        name=row["name"],
        landing_path=os.fsdecode(row["landing_path"]),
        claimed_path=os.fsdecode(row["claimed_path"]),
        size=row["size"],
        mtime_ns=row["mtime_ns"],
        inode=row["inode"],
    )
