"""The ledger's part for what people decide about quarantine: files taken up again, records released or discarded.

Called by scheduling. A decision about a record outlives the hop that set it aside: made anew, the hop asks again.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.requests import RecordId


class QuarantineLedger:
    """Decisions about set-aside files and records."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def replay_files(self, key: TableKey, file_ids: Collection[int]) -> int:
        """Send files that were set aside back to landing, to be taken anew. Returns how many there were."""
        with self._store.transaction() as tx:
            return sum(
                tx.execute(
                    "UPDATE files SET state = 'replayed', claimed_path = resting_path, resting_path = landing_path, "
                    "at_rest = 0 WHERE file_id = ? AND domain = ? AND table_name = ? AND state = 'set_aside' "
                    "AND at_rest = 1 AND resting_path IS NOT NULL AND part_of IS NULL",
                    (file_id, *key),
                )
                for file_id in file_ids
            )

    def discard_files(self, key: TableKey, file_ids: Collection[int], why: str) -> int:
        """Write down that set-aside files are not wanted: they are removed. Returns how many there were."""
        with self._store.transaction() as tx:
            return sum(
                tx.execute(
                    "UPDATE files SET state = 'discarded', claimed_path = coalesce(resting_path, claimed_path), "
                    "resting_path = NULL, at_rest = resting_path IS NULL, "
                    "reason = reason || ' (discarded: ' || ? || ')' "
                    "WHERE file_id = ? AND domain = ? AND table_name = ? AND state = 'set_aside' AND at_rest = 1",
                    (why or "not wanted", file_id, *key),
                )
                for file_id in file_ids
            )

    def decide(
        self, key: TableKey, records: Sequence[RecordId], verdict: str, why: str, now: datetime
    ) -> None:
        """Write down that these records are `released` (past the check that caught them) or `discarded`."""
        with self._store.transaction() as tx:
            tx.execute_many(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *key,
                        record.batch_id,
                        record.source_file,
                        record.source_row,
                        verdict,
                        record.rule,
                        why,
                        now.isoformat(),
                    )
                    for record in records
                ],
            )

    def released(self, key: TableKey, batch_id: str) -> frozenset[tuple[str, int]]:
        """The records of a batch that checks let pass, by file and number."""
        rows = self._store.rows(
            "SELECT source_file, source_row FROM verdicts WHERE domain = ? AND table_name = ? AND batch_id = ? "
            "AND verdict = 'released'",
            (*key, batch_id),
        )
        return frozenset((row["source_file"], row["source_row"]) for row in rows)

    def taken_up_again(self, key: TableKey, names: Collection[str]) -> tuple[str, ...]:
        """The transitions that had set aside what is now delivered again, replayed, under one of these names."""
        rows = self._store.rows(
            "SELECT name, (SELECT max(transition_id) FROM transitions AS t WHERE t.batch_id = f.batch_id) AS failed "
            "FROM files AS f WHERE domain = ? AND table_name = ? AND state = 'replayed' ORDER BY file_id",
            key,
        )
        latest = {row["name"]: row["failed"] for row in rows if row["failed"]}
        return tuple(latest[name] for name in names if name in latest)
