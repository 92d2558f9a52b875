"""What the ledger knows, for people: read-only views for the command line, beside a running daemon or without one."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from daemon.catalog.ledger.dropped import DroppedFiles
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog


@dataclass(frozen=True, slots=True)
class LayerTotals:
    """A layer of a table: the number of its published `generation`, its `rows` and `files`."""

    key: TableKey
    layer: Layer
    generation: int
    rows: int
    files: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A promotion that failed at least once and is still due."""

    key: TableKey
    batch_id: str
    target: Layer
    attempt: int
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class QuarantinedRecords:
    """Records of one batch and file that one rule set aside; they stand in the Parquet file `path`, relative to the root.

    `discarded` of its `rows` are not wanted any more. `file` is None for what a ledger of version 1 saw.
    """

    key: TableKey
    batch_id: str
    layer: Layer
    rule: str
    rows: int
    path: str
    at: str
    discarded: int
    file: str | None


class LedgerViews:
    """Questions people ask; those about dropped files are asked of `files`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.files = DroppedFiles(store)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at `path` for reading only. Raises HaltError when there is none, or it is unusable."""
        return cls(Store.read_only(path))

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    def layers(self) -> list[LayerTotals]:
        """Totals of every layer of every table."""
        rows = self._store.rows(f"SELECT * FROM layers WHERE {_REAL} ORDER BY domain, table_name")
        return [
            LayerTotals(_key(row), Layer(row["layer"]), row["generation"], row["rows"], row["files"])
            for row in rows
        ]

    def rows_in_gold(self) -> int:
        """The rows of all tables that stand in gold."""
        row = self._store.row(
            f"SELECT coalesce(sum(rows), 0) AS rows FROM layers WHERE layer = 'gold' AND {_REAL}"
        )
        return row["rows"] if row else 0

    def batches_in_flight(self) -> dict[TableKey, int]:
        """Batches claimed and not yet done, per table."""
        rows = self._store.rows(
            "SELECT domain, table_name, count(*) AS batches FROM batches WHERE state IN ('claiming', 'open') GROUP BY 1, 2"
        )
        return {_key(row): row["batches"] for row in rows}

    def failures(self) -> list[Failure]:
        """Promotions that are due and have failed, oldest batch first."""
        rows = self._store.rows(
            "SELECT * FROM promotions INDEXED BY promotions_planned WHERE state = 'planned' AND error IS NOT NULL "
            "ORDER BY batch_id, target_layer"
        )
        return [
            Failure(
                _key(row),
                row["batch_id"],
                Layer(row["target_layer"]),
                row["attempt"],
                row["error_kind"],
                row["error"],
            )
            for row in rows
        ]

    def model_failures(self) -> dict[TableKey, str]:
        """Gold models whose last refresh failed, with the error."""
        rows = self._store.rows("SELECT * FROM models WHERE error IS NOT NULL")
        return {_key(row): row["error"] for row in rows}

    def quarantined(self, key: TableKey | None = None) -> list[QuarantinedRecords]:
        """Records that were set aside, newest first; of one table, or of all."""
        where, values = _of(key)
        rows = self._store.rows(
            f"SELECT q.*, f.source_file, coalesce(f.rows, q.rows) AS of_file, {_DISCARDED} AS discarded "
            f"FROM quarantine AS q LEFT JOIN quarantine_files AS f USING (transition_id, rule) WHERE {where} "
            "ORDER BY transition_id DESC, rule, source_file",
            values,
        )
        return [
            QuarantinedRecords(
                _key(row),
                row["batch_id"],
                Layer(row["layer"]),
                row["rule"],
                row["of_file"],
                row["path"],
                row["at"],
                row["discarded"],
                row["source_file"],
            )
            for row in rows
        ]

    def discarded(self) -> frozenset[tuple[str, str, int, str]]:
        """The records that are not wanted any more: batch, source file, record number, rule."""
        rows = self._store.rows(
            "SELECT batch_id, source_file, source_row, rule FROM verdicts WHERE verdict = 'discarded'"
        )
        return frozenset(tuple(row) for row in rows)

    def quarantined_by_rule(self) -> dict[tuple[TableKey, str], int]:
        """Return how many records each rule of each table set aside, without those that were discarded since."""
        rows = self._store.rows(
            f"SELECT domain, table_name, rule, sum(rows) AS rows FROM quarantine WHERE {_REAL} "
            "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        counts = {(_key(row), row["rule"]): row["rows"] for row in rows}
        for row in self._store.rows(
            "SELECT q.domain, q.table_name, q.rule, count(*) AS rows FROM verdicts AS v CROSS JOIN quarantine AS q "
            "USING (domain, table_name, batch_id, rule) WHERE v.verdict = 'discarded' GROUP BY 1, 2, 3"
        ):
            counts[_key(row), row["rule"]] -= row["rows"]
        return {place: rows for place, rows in counts.items() if rows}

    def batches_under_another_contract(self, key: TableKey, version: str) -> int:
        """How many batches in gold of a table were made under another contract than the one of this version."""
        row = self._store.row(
            "SELECT count(*) AS batches FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'gold' "
            "AND (contract_version < ? OR contract_version > ?)",
            (*key, version, version),
        )
        return row["batches"] if row else 0

    def rebuilds(self) -> list[dict[str, Any]]:
        """Rebuilds that are asked for, under way, or failed, oldest first."""
        rows = self._store.rows(
            'SELECT rebuild_id, domain, table_name AS "table", kind, base, state, why, requested_at, error FROM rebuilds '
            "WHERE state <> 'done' ORDER BY rebuild_id"
        )
        return [dict(row) for row in rows]

    def rebuild(self, rebuild_id: str) -> tuple[str, str | None] | None:
        """The state of a rebuild, and why it failed if it did; None if there is none of this id."""
        row = self._store.row("SELECT state, error FROM rebuilds WHERE rebuild_id = ?", (rebuild_id,))
        return (row["state"], row["error"]) if row else None

    def batches_with_rows(self, key: TableKey) -> list[str]:
        """The batches of a table that have rows in staged, or set aside there."""
        rows = self._store.rows(
            "SELECT batch_id FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'staged' UNION "
            "SELECT batch_id FROM quarantine WHERE domain = ? AND table_name = ? AND layer = 'staged' ORDER BY 1",
            (*key, *key),
        )
        return [row["batch_id"] for row in rows]

    def schema_changes(self, key: TableKey) -> list[dict[str, Any]]:
        """What happened to a table's columns, oldest first."""
        rows = self._store.rows(
            'SELECT at, batch_id, kind, column_name AS "column", before, after FROM schema_changes '
            "WHERE domain = ? AND table_name = ? ORDER BY change_id",
            key,
        )
        return [dict(row) for row in rows]

    def files_set_aside(self) -> dict[TableKey, int]:
        """Return how many whole files of each table were set aside; a table without any is absent."""
        rows = self._store.rows("SELECT * FROM file_counts WHERE state = 'set_aside' AND files")
        return {_key(row): row["files"] for row in rows}

    def transitions_of_batch(self, batch_id: str) -> list[LayerTransitionLog]:
        """What was done to a batch, in order."""
        rows = self._store.rows(
            "SELECT record FROM transitions WHERE batch_id = ? ORDER BY transition_id",
            (batch_id,),
        )
        return [_log(row) for row in rows]

    def batch(self, batch_id: str) -> dict[str, Any] | None:
        """The row of a batch: its table, state, parent and times; None if the ledger knows no such batch."""
        row = self._store.row("SELECT * FROM batches WHERE batch_id = ?", (batch_id,))
        return dict(row) if row else None

    def batches_of_table(self, key: TableKey, limit: int) -> list[str]:
        """The newest `limit` batches that have done anything for a table or model, newest first."""
        rows = self._store.rows(
            "SELECT * FROM (SELECT batch_id FROM batches WHERE domain = ? AND table_name = ? ORDER BY 1 DESC LIMIT ?) "
            "UNION SELECT * FROM (SELECT batch_id FROM transitions WHERE domain = ? AND table_name = ? "
            "ORDER BY transition_id DESC LIMIT ?) ORDER BY 1 DESC LIMIT ?",  # a model has transitions and no batches
            (*key, limit, *key, limit, limit),
        )
        return [row["batch_id"] for row in rows]

    def newest_batch(self) -> str | None:
        """The id of the newest batch of the root: it tells when, by the clock of that time, it was made."""
        row = self._store.row("SELECT max(batch_id) AS newest FROM batches")
        return row["newest"] if row else None

    def kept_in_landing(self) -> dict[str, tuple[int, int]]:
        """Files that stay where they were dropped, their rows taken: path relative to the root -> (size, mtime_ns)."""
        rows = self._store.rows(
            "SELECT landing_path, size, mtime_ns FROM files WHERE resting_path = landing_path AND at_rest = 1 "
            "AND state NOT IN ('returned', 'replayed') ORDER BY file_id"
        )
        return {os.fsdecode(row["landing_path"]): (row["size"], row["mtime_ns"]) for row in rows}

    def version(self) -> int:
        """The version of the ledger's tables."""
        row = self._store.row("PRAGMA user_version")
        return row["user_version"] if row else 0

    def damage(self) -> str | None:
        """What SQLite's quick check finds wrong with the file, None when it is whole."""
        row = self._store.row("PRAGMA quick_check(1)")
        return None if row is None or row["quick_check"] == "ok" else str(row["quick_check"])

    def tables(self) -> list[TableKey]:
        """Every table and model that has anything in any layer, or a batch on its way."""
        rows = self._store.rows(
            f"SELECT domain, table_name FROM layers WHERE {_REAL} "
            "UNION SELECT domain, table_name FROM file_counts ORDER BY 1, 2"
        )
        return [_key(row) for row in rows]

    def files_at_rest(self) -> int:
        """Dropped files that have reached their end: archive, quarantine, or landing again."""
        row = self._store.row(
            "SELECT (SELECT max(file_id) FROM files) - count(*) AS files FROM files WHERE at_rest = 0"
        )
        return (row["files"] or 0) if row else 0

    def counts(self) -> dict[str, int]:
        """Files by state, over the whole root."""
        rows = self._store.rows(
            "SELECT state, sum(files) AS files FROM file_counts GROUP BY state HAVING sum(files)"
        )
        return {row["state"]: row["files"] for row in rows}


_DISCARDED = (
    "(SELECT count(*) FROM verdicts AS v WHERE v.domain = q.domain AND v.table_name = q.table_name "
    "AND v.batch_id = q.batch_id AND v.rule = q.rule AND v.verdict = 'discarded' "
    "AND (f.source_file IS NULL OR v.source_file = f.source_file))"
)
_REAL = "table_name NOT GLOB '*~'"
"""Not what a rebuild is making."""


def _key(row: Row) -> TableKey:
    return TableKey(row["domain"], row["table_name"])


def _log(row: Row) -> LayerTransitionLog:
    return LayerTransitionLog.model_validate_json(row["record"])


def _of(key: TableKey | None) -> tuple[str, tuple[str, ...]]:
    return (_REAL, ()) if key is None else ("domain = ? AND table_name = ?", tuple(key))
