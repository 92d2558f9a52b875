"""Everything the ledger vouches for, row by row: what a root must hold to be whole. Read-only.

Used by audit, to prove a root, to mend it and to copy it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from daemon.catalog.columns import TableColumns
from daemon.catalog.ledger.promotions import PromotionLedger
from daemon.catalog.ledger.quarantine import QuarantineLedger
from daemon.catalog.ledger.rebuilds import RebuildLedger
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import LAYERS, Layer


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A committed file of a layer, the generation it stands in, and the transition that made it."""

    key: TableKey
    layer: Layer
    generation: int
    file: LayerFile
    transition_id: str

    @property
    def is_model(self) -> bool:
        """Whether it is a gold model, which is replaced under its one name, `<table>.parquet`."""
        return self.file.name == f"{self.key.table}.parquet"


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A dropped file. Paths are relative to the root; `sha256` is None until it has been read."""

    file_id: int
    batch_id: str
    key: TableKey
    name: str
    landing_path: Path
    claimed_path: Path
    resting_path: Path | None
    at_rest: bool
    state: str
    size: int
    sha256: str | None

    @property
    def is_kept(self) -> bool:
        """Whether it was handed back to landing (`archive: keep`), where people may do with it as they like."""
        return self.at_rest and self.resting_path == self.landing_path

    @property
    def places(self) -> tuple[Path, ...]:
        """Where it may lie, the likeliest first; none for a file that vanished, or is deleted as people wish.

        A file on its way to rest may be in either of two.
        """
        if self.state == "discarded":
            return ()
        if self.at_rest:
            return (self.resting_path,) if self.resting_path else ()
        return (self.claimed_path, self.resting_path) if self.resting_path else (self.claimed_path,)


class PlannedHop(NamedTuple):
    """A hop of a batch that is still to be done."""

    key: TableKey
    layer: Layer
    batch_id: str


class LedgerInventory:
    """What a root must hold. `views` answers what people ask as well."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.views = LedgerViews(store)
        self._promotions = PromotionLedger(store)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the ledger for reading. Raises HaltError when there is none, or it is unusable."""
        store = Store.read_only(path)
        try:
            yield cls(store)
        finally:
            store.close()

    def copy_to(self, path: Path) -> None:
        """Write the ledger as it stands at one instant into a new file. Raises RetryLaterError."""
        self._store.copy_to(path)

    def bytes(self) -> int:
        """Bytes of all layer files and dropped files together, so that progress can be told."""
        row = self._store.row(
            "SELECT (SELECT total(size) FROM layer_files WHERE NOT merged) + (SELECT total(size) FROM merged_files) "
            "+ (SELECT total(size) FROM files) AS bytes"
        )
        return int(row["bytes"]) if row else 0

    def layer_files(self) -> Iterator[ListedFile]:
        """Every committed file, layer by layer from staged to gold, table by table; a merged one once, with all its rows.

        Of a merged file the batch is its first, and no transition made it.
        """
        for layer in LAYERS:
            rows = self._store.stream(
                "SELECT domain, table_name, layer, batch_id, name, f.rows, size, sha256, transition_id, merged, generation "
                "FROM layer_files AS f JOIN layers USING (domain, table_name, layer) WHERE layer = ?1 AND NOT merged "
                "UNION ALL SELECT domain, table_name, layer, first_batch, name, m.rows, size, sha256, '', 1, generation "
                "FROM merged_files AS m JOIN layers USING (domain, table_name, layer) WHERE layer = ?1 "
                "ORDER BY domain, table_name, batch_id",
                (layer,),
            )
            yield from map(_listed, rows)

    def batch_files(self) -> Iterator[ListedFile]:
        """For every batch in every layer, the file that holds its rows."""
        rows = self._store.stream(
            "SELECT f.*, l.generation FROM layer_files AS f JOIN layers AS l USING (domain, table_name, layer)"
        )
        return map(_listed, rows)

    def batches_in(self, listed: ListedFile) -> tuple[ListedFile, ...]:
        """The batches that a merged file holds, in their order."""
        rows = self._store.rows(
            "SELECT f.*, l.generation FROM layer_files AS f INDEXED BY layer_files_merged JOIN layers AS l "
            "USING (domain, table_name, layer) WHERE domain = ? AND table_name = ? AND layer = ? AND name = ? "
            "AND merged = 1 ORDER BY batch_id",
            (*listed.key, listed.layer, listed.file.name),
        )
        return tuple(map(_listed, rows))

    def mismerged(self) -> list[tuple[TableKey, Layer, str]]:
        """Merged files whose totals differ from the sums over their batches."""
        rows = self._store.rows(
            "SELECT m.domain, m.table_name, m.layer, m.name FROM merged_files AS m LEFT JOIN layer_files AS f "
            "USING (domain, table_name, layer, name) GROUP BY 1, 2, 3, 4 "
            "HAVING m.rows <> total(f.rows) OR m.batches <> count(f.batch_id)"
        )
        return [(_key(row), Layer(row["layer"]), row["name"]) for row in rows]

    def layer_file(self, key: TableKey, layer: Layer, batch_id: str) -> LayerFile | None:
        """The committed file of a batch in a layer, None if it has none."""
        return self._promotions.layer_file(key, layer, batch_id)

    def files_of(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        """The committed files of a layer of a table, in the order of their first batches."""
        return self._promotions.published(key, layer)

    def by_batch(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        """For every batch that has rows in a layer, the file that holds them."""
        return self._promotions.by_batch(key, layer)

    def columns(self, key: TableKey) -> TableColumns:
        """What is known of a table's columns."""
        return self._promotions.columns(key)

    def released(self, key: TableKey, batch_id: str) -> frozenset[tuple[str, int]]:
        """The records of a batch that checks let pass."""
        return QuarantineLedger(self._store).released(key, batch_id)

    def generation(self, key: TableKey, layer: Layer) -> int:
        """The number of a layer's published generation."""
        return self._promotions.generation(key, layer)

    def miscounted(self) -> list[tuple[TableKey, Layer]]:
        """Layers whose totals differ from the sums over their files."""
        rows = self._store.rows(
            "SELECT l.domain, l.table_name, l.layer FROM layers AS l LEFT JOIN layer_files AS f "
            "USING (domain, table_name, layer) GROUP BY 1, 2, 3 "
            "HAVING l.rows <> total(f.rows) OR l.files <> count(f.batch_id)"
        )
        return [(_key(row), Layer(row["layer"])) for row in rows]

    def file_counts(self) -> dict[tuple[TableKey, str], int]:
        """Dropped files by table and state, as they are counted while they change."""
        rows = self._store.rows("SELECT * FROM file_counts WHERE files")
        return {(_key(row), row["state"]): row["files"] for row in rows}

    def records(self, key: TableKey) -> Iterator[tuple[str, str, str]]:
        """Every transition of a table as (batch id, transition id, its record in JSON), batch by batch."""
        rows = self._store.stream(
            "SELECT batch_id, transition_id, record FROM transitions WHERE domain = ? AND table_name = ? "
            "ORDER BY batch_id, transition_id",
            key,
        )
        return ((row["batch_id"], row["transition_id"], row["record"]) for row in rows)

    def record(self, transition_id: str) -> str | None:
        """The record of one transition in JSON, None if there is none."""
        row = self._store.row("SELECT record FROM transitions WHERE transition_id = ?", (transition_id,))
        return row["record"] if row else None

    def planned_at(self, transition_id: str) -> datetime | None:
        """The instant a promotion stamped on its rows; None for a file that was rewritten by another batch's."""
        row = self._store.row("SELECT planned_at FROM promotions WHERE transition_id = ?", (transition_id,))
        return datetime.fromisoformat(row["planned_at"]) if row else None

    def batch_states(self, key: TableKey) -> dict[str, str]:
        """The state of every batch of a table."""
        rows = self._store.stream(
            "SELECT batch_id, state FROM batches WHERE domain = ? AND table_name = ?", key
        )
        return {row["batch_id"]: row["state"] for row in rows}

    def planned(self) -> set[PlannedHop]:
        """Every hop that is still to be done."""
        rows = self._store.stream(
            "SELECT domain, table_name, target_layer, batch_id FROM promotions WHERE state = 'planned'"
        )
        return {PlannedHop(_key(row), Layer(row["target_layer"]), row["batch_id"]) for row in rows}

    def shadow_generations(self) -> set[tuple[TableKey, Layer, str]]:
        """The folders that rebuilds are filling: table, layer, name of the generation."""
        rebuilds = RebuildLedger(self._store, self._promotions)
        return {(key, layer, str(number)) for key, layer, number in rebuilds.shadow_generations()}

    def removals(self) -> set[str]:
        """Files and generations that no longer count and are yet to be removed, relative to the root."""
        return {row["path"] for row in self._store.stream("SELECT path FROM removals")}

    def dropped_files(self) -> Iterator[DroppedFile]:
        """Every file that was ever claimed, in the order of claiming."""
        return map(_dropped, self._store.stream("SELECT * FROM files ORDER BY file_id"))

    def dropped_file(self, file_id: int) -> DroppedFile | None:
        """One dropped file."""
        row = self._store.row("SELECT * FROM files WHERE file_id = ?", (file_id,))
        return _dropped(row) if row else None

    def sources(self, batch_id: str) -> list[DroppedFile]:
        """The files whose records a batch holds, in the order in which they were read."""
        rows = self._store.rows(
            "SELECT * FROM files WHERE batch_id = ? AND state IN ('staged', 'ingested') ORDER BY ordinal",
            (batch_id,),
        )
        return list(map(_dropped, rows))

    def quarantine_files(self) -> Iterator[tuple[str, int]]:
        """Every file of records set aside, relative to the root, and how many it must hold."""
        rows = self._store.stream("SELECT path, sum(rows) AS rows FROM quarantine GROUP BY path")
        return ((row["path"], row["rows"]) for row in rows)


def _key(row: Row) -> TableKey:
    return TableKey(row["domain"], row["table_name"])


def _listed(row: Row) -> ListedFile:
    file = LayerFile(
        row["batch_id"], row["name"], row["rows"], row["size"], row["sha256"], merged=bool(row["merged"])
    )
    return ListedFile(_key(row), Layer(row["layer"]), row["generation"], file, row["transition_id"])


def _dropped(row: Row) -> DroppedFile:
    resting = row["resting_path"]
    return DroppedFile(
        file_id=row["file_id"],
        batch_id=row["batch_id"],
        key=_key(row),
        name=row["name"],
        landing_path=Path(os.fsdecode(row["landing_path"])),
        claimed_path=Path(os.fsdecode(row["claimed_path"])),
        resting_path=None if resting is None else Path(os.fsdecode(resting)),
        at_rest=bool(row["at_rest"]),
        state=row["state"],
        size=row["size"],
        sha256=row["sha256"],
    )
