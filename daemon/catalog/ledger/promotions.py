"""The ledger's part for the chain: which promotions are due, and what they start from. Called by scheduling and landing."""

import os
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from daemon.catalog.columns import TableColumns
from daemon.catalog.ledger.columns import columns_of
from daemon.catalog.ledger.planning import generation_path, is_held
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import ClaimedFile, LayerFile, PromotionItem, TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog

_OF_A_SIZE = 16
_LARGE = 256_000_000
_PACKED = 4
"""Bytes of text that a byte of a layer file stands for, roughly."""


@dataclass(frozen=True, slots=True)
class DuePromotion:
    """A promotion (or a group that must be published together) that waits for its turn.

    `deaths` counts the worker deaths it has cost so far, `file_count` the live files of its first batch.
    """

    group_id: str
    key: TableKey
    target: Layer
    items: tuple[PromotionItem, ...]
    deaths: int
    file_count: int

    @property
    def is_large(self) -> bool:
        """Whether it takes a worker for long: more than a batch of small files may be."""
        dropped = sum(source.size for item in self.items for source in item.sources)
        below = sum(item.source.size for item in self.items if item.source is not None)
        return dropped > _LARGE or below * _PACKED > _LARGE


class UncommittedHop(NamedTuple):
    """A layer that a planned promotion of a batch may have reached without a commit.

    `has_quarantine`: what an earlier promotion set aside there is committed.
    """

    key: TableKey
    layer: Layer
    batch_id: str
    has_quarantine: bool


class PromotionLedger:
    """Hops that are planned, and the files they start from."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reserved: dict[tuple[TableKey, Layer], int] = {}
        self._lock = threading.Lock()

    def unstaged(self, key: TableKey) -> int:
        """Batches of a table that wait to be staged: landing holds back while there are some, so that batches grow."""
        row = self._store.row(
            "SELECT count(*) AS batches FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? "
            "AND target_layer = 'staged'",
            key,
        )
        return row["batches"] if row else 0

    def newest_id(self) -> str | None:
        """The last of the ids of batches, transitions and rebuilds; None where nothing has happened yet."""
        row = self._store.row(
            "SELECT max(id) AS newest FROM (SELECT max(batch_id) AS id FROM batches "
            "UNION ALL SELECT max(transition_id) FROM transitions "
            "UNION ALL SELECT max(transition_id) FROM promotions "
            "UNION ALL SELECT max(rebuild_id) FROM rebuilds)"
        )
        return row["newest"] if row else None

    def unfinished(self) -> bool:
        """Whether any promotion is planned."""
        return self._store.row("SELECT 1 FROM promotions WHERE state = 'planned' LIMIT 1") is not None

    def is_planned(self, key: TableKey, target: Layer) -> bool:
        """Whether any promotion of a hop is planned."""
        row = self._store.row(
            "SELECT 1 FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? AND target_layer = ? "
            "LIMIT 1",
            (*key, target),
        )
        return row is not None

    def due_hops(self) -> list[tuple[TableKey, Layer]]:
        """Every (table, target layer) that has a planned promotion."""
        rows = self._store.rows(
            "SELECT DISTINCT domain, table_name, target_layer FROM promotions WHERE state = 'planned'"
        )
        return [(TableKey(row["domain"], row["table_name"]), Layer(row["target_layer"])) for row in rows]

    def uncommitted(self) -> list[UncommittedHop]:
        """What planned promotions may have published without committing it, at their own layer and, by a climb, above."""
        rows = self._store.rows(
            "WITH ladder (place, layer) AS (VALUES (1, 'staged'), (2, 'bronze'), (3, 'silver'), (4, 'gold')) "
            "SELECT DISTINCT p.domain, p.table_name, reached.layer, p.batch_id, EXISTS (SELECT 1 FROM quarantine AS q "
            "WHERE q.domain = p.domain AND q.table_name = p.table_name AND q.layer = reached.layer "
            "AND q.batch_id = p.batch_id) AS set_aside FROM promotions AS p JOIN ladder AS target "
            "ON target.layer = p.target_layer JOIN ladder AS reached ON reached.place >= target.place "
            "WHERE p.state = 'planned' AND NOT EXISTS (SELECT 1 FROM layer_files AS f WHERE f.domain = p.domain "
            "AND f.table_name = p.table_name AND f.layer = reached.layer AND f.batch_id = p.batch_id)"
        )
        return [
            UncommittedHop(
                TableKey(row["domain"], row["table_name"]),
                Layer(row["layer"]),
                row["batch_id"],
                has_quarantine=bool(row["set_aside"]),
            )
            for row in rows
        ]

    def is_clear(self, key: TableKey, layers: Collection[Layer]) -> bool:
        """Whether a batch may climb through `layers`: nothing is due there, and no rebuild of the table is asked for."""
        marks = ", ".join("?" * len(layers))
        due = self._store.row(
            "SELECT 1 FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? "
            f"AND target_layer IN ({marks}) LIMIT 1",
            (*key, *layers),
        )
        return due is None and not is_held(self._store, key, Layer.GOLD, "requested", "building")

    def due(self, key: TableKey, target: Layer, waiting: Collection[str]) -> DuePromotion | None:
        """The oldest planned promotion of a hop whose group is not among `waiting`, with all of its group.

        None while a rebuild of the table changes that layer.
        """
        if is_held(self._store, key, target, "requested", "building"):
            return None
        rows = self._store.rows(
            "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? AND target_layer = ? "
            "ORDER BY batch_id LIMIT ?",
            (*key, target, len(waiting) + 1),
        )
        first = next((row for row in rows if row["group_id"] not in waiting), None)
        if first is None and len(rows) > len(waiting):  # a waiting group may hold several of these rows
            rows = self._store.rows(
                "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? "
                "AND target_layer = ? ORDER BY batch_id",
                (*key, target),
            )
            first = next((row for row in rows if row["group_id"] not in waiting), None)
        if first is None:
            return None
        group = self._store.rows(
            "SELECT * FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? AND target_layer = ? "
            "AND group_id = ? ORDER BY batch_id",
            (*key, target, first["group_id"]),
        )
        items = tuple(self._item(row, key, target) for row in group)
        return DuePromotion(
            first["group_id"], key, target, items, first["deaths"], self._file_count(first["batch_id"])
        )

    def _file_count(self, batch_id: str) -> int:
        row = self._store.row(
            "SELECT count(*) AS files FROM files WHERE batch_id = ? AND state IN ('claimed', 'staged')",
            (batch_id,),
        )
        return row["files"] if row else 0

    def _item(self, row: Row, key: TableKey, target: Layer) -> PromotionItem:
        return PromotionItem(
            transition_id=row["transition_id"],
            batch_id=row["batch_id"],
            planned_at=datetime.fromisoformat(row["planned_at"]),
            attempt=row["attempt"],
            sources=self._claimed(row["batch_id"]) if target is Layer.STAGED else (),
            source=None if target is Layer.STAGED else self.layer_file(key, target.below, row["batch_id"]),
            replaces=self.layer_file(key, target, row["batch_id"]),
            supersedes=row["supersedes"],
        )

    def _claimed(self, batch_id: str) -> tuple[ClaimedFile, ...]:
        rows = self._store.rows(
            "SELECT f.*, coalesce(CASE WHEN w.at_rest THEN w.resting_path ELSE w.claimed_path END, f.claimed_path) AS path "
            "FROM files AS f LEFT JOIN files AS w ON w.file_id = f.part_of "
            "WHERE f.batch_id = ? AND f.state = 'claimed' ORDER BY f.ordinal",
            (batch_id,),
        )
        return tuple(
            ClaimedFile(
                row["file_id"],
                row["name"],
                Path(os.fsdecode(row["path"])),
                row["size"],
                row["mtime_ns"],
                row["sheet"],
            )
            for row in rows
        )

    def known_hashes(self, key: TableKey, sources: Sequence[ClaimedFile]) -> frozenset[str]:
        """SHA-256 of contents the table already took, among those with the size of one of `sources`: a first guess.

        A few of each size, so that a table of a million files of like sizes does not hand over all it knows: what is left
        out, `outcomes.commit` finds by its hash. Contents that were set aside do not count: dropped again after a mend,
        they get another try.
        """
        found: set[str] = set()
        for size in {source.size for source in sources}:
            found.update(
                row["sha256"]
                for row in self._store.rows(
                    "SELECT sha256 FROM files WHERE domain = ? AND table_name = ? AND size = ? "
                    "AND state IN ('staged', 'ingested') LIMIT ?",
                    (*key, size, _OF_A_SIZE),
                )
            )
        return frozenset(found)

    def has_content(self, key: TableKey, size: int, sha256: str) -> bool:
        """Whether the table took a file of this content."""
        row = self._store.row(
            "SELECT 1 FROM files WHERE domain = ? AND table_name = ? AND size = ? AND sha256 = ? "
            "AND state IN ('staged', 'ingested') LIMIT 1",
            (*key, size, sha256),
        )
        return row is not None

    def columns(self, key: TableKey) -> TableColumns:
        """What is known of a table's columns."""
        return columns_of(self._store, key)

    def generation(self, key: TableKey, layer: Layer) -> int:
        """The number of the layer's published generation; 1 for a table that has none yet."""
        row = self._store.row(
            "SELECT generation FROM layers WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
        )
        return row["generation"] if row else 1

    def known_names(self, key: TableKey, sources: Sequence[ClaimedFile]) -> frozenset[str]:
        """The names of `sources` under which the table took other files."""
        found = set()
        for source in sources:
            row = self._store.row(
                "SELECT 1 FROM files WHERE +domain = ? AND +table_name = ? AND name = ? AND file_id <> ? "
                "AND state IN ('staged', 'ingested') LIMIT 1",
                (*key, source.name, source.file_id),
            )
            if row:
                found.add(source.name)
        return frozenset(found)

    def reserve_generation(self, key: TableKey, layer: Layer) -> int:
        """The number of a generation that is built beside the hops: no promotion and nobody else is given the same."""
        with self._lock:
            # a promotion under way may hold the number right above those that are published
            number = self.next_generation(key, layer) + 1
            self._reserved[key.real, layer] = number
        return number

    def next_generation(self, key: TableKey, layer: Layer) -> int:
        """The number of a generation that a promotion may build, one at a time for each layer of a table.

        It is above all that are published, being built, or yet to be removed.
        """
        folder = generation_path(key, layer, 0).removesuffix("0")
        standing = self._store.rows(
            "SELECT generation FROM layers WHERE domain = ? AND table_name IN (?, ?) AND layer = ?",
            (key.domain, key.real.table, key.shadow.table, layer),
        )
        leaving = self._store.rows(
            "SELECT substr(path, ?) AS name FROM removals WHERE substr(path, 1, ?) = ?",
            (len(folder) + 1, len(folder), folder),
        )
        numbers: list[int] = [
            self._reserved.get((key.real, layer), 1),
            *(row["generation"] for row in standing),
        ]
        numbers += [int(row["name"]) for row in leaving if row["name"].isdigit()]
        return max(numbers) + 1

    def published(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        """The committed files of a layer, in the order of their first batches; a merged one once, with all its rows."""
        alone = self._store.rows(
            "SELECT * FROM layer_files INDEXED BY layer_files_alone WHERE domain = ? AND table_name = ? AND layer = ? "
            "AND merged = 0",
            (*key, layer),
        )
        merged = self._store.rows(
            "SELECT * FROM merged_files WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
        )
        files = [*map(_layer_file, alone), *map(merged_file, merged)]
        return tuple(sorted(files, key=lambda file: file.batch_id))

    def by_batch(self, key: TableKey, layer: Layer) -> tuple[LayerFile, ...]:
        """For every batch that has rows in a layer, the file that holds them; in the order of the batches."""
        rows = self._store.rows(
            "SELECT * FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? ORDER BY batch_id",
            (*key, layer),
        )
        return tuple(_layer_file(row) for row in rows)

    def transition(self, key: TableKey, layer: Layer, batch_id: str) -> LayerTransitionLog | None:
        """The transition that made what stands of a batch in a layer; None where nothing does."""
        row = self._store.row(
            "SELECT record FROM layer_files JOIN transitions USING (transition_id) WHERE layer_files.domain = ? "
            "AND layer_files.table_name = ? AND layer = ? AND layer_files.batch_id = ?",
            (*key, layer, batch_id),
        )
        return LayerTransitionLog.model_validate_json(row["record"]) if row else None

    def layer_file(self, key: TableKey, layer: Layer, batch_id: str) -> LayerFile | None:
        """The committed file of a batch in a layer, None if it has none."""
        row = self._store.row(
            "SELECT * FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND batch_id = ?",
            (*key, layer, batch_id),
        )
        return _layer_file(row) if row else None


def _layer_file(row: Row) -> LayerFile:
    return LayerFile(
        row["batch_id"], row["name"], row["rows"], row["size"], row["sha256"], merged=bool(row["merged"])
    )


def merged_file(row: Row) -> LayerFile:
    """A row of `merged_files` as one file: `batch_id` is the first batch that it holds."""
    return LayerFile(row["first_batch"], row["name"], row["rows"], row["size"], row["sha256"], merged=True)
