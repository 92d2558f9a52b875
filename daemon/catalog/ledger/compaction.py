"""The ledger's part for compaction: which files may be merged, and the one transaction in which others take their place.

Called by scheduling. No row changes: `layers.version`, which counts changes of content, stays, and so do the records.
"""

from collections.abc import Collection
from datetime import datetime

from daemon.catalog.compaction import CompactionLimits, LayerState, Repacked, RepackOutcome
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.planning import generation_path
from daemon.catalog.ledger.promotions import PromotionLedger, merged_file
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import LayerFile, TableKey
from daemon.catalog.transition import Layer

_OF_LAYER = "domain = ? AND table_name = ? AND layer = ?"


class CompactionLedger:
    """Files that hold several batches."""

    def __init__(self, store: Store, promotions: PromotionLedger) -> None:
        self._store = store
        self._promotions = promotions

    def is_held(self, key: TableKey) -> bool:
        """Whether a rebuild of the table is asked for or under way: its files are then left as they are."""
        row = self._store.row(
            "SELECT 1 FROM rebuilds WHERE domain = ? AND table_name = ? AND state IN ('requested', 'building')",
            key,
        )
        return row is not None

    def mergeable(
        self, key: TableKey, layer: Layer, limits: CompactionLimits, done_by: datetime, most: int
    ) -> tuple[LayerFile, ...]:
        """The files of a layer that are small enough, of batches that were done by then and wait for nothing.

        The first `most` of them, in the order of their first batches.
        """
        alone = self._store.rows(
            "SELECT f.* FROM layer_files AS f INDEXED BY layer_files_alone JOIN batches AS b USING (batch_id) "
            "WHERE f.domain = ? AND f.table_name = ? AND f.layer = ? AND f.merged = 0 AND f.size < ? "
            "AND b.state = 'done' AND b.done_at <= ? AND NOT EXISTS (SELECT 1 FROM promotions AS p "
            "WHERE p.batch_id = f.batch_id AND p.state = 'planned') ORDER BY f.batch_id LIMIT ?",
            (*key, layer, limits.max_bytes, done_by.isoformat(), most),
        )
        merged = self._store.rows(
            f"SELECT * FROM merged_files WHERE {_OF_LAYER} AND size < ?", (*key, layer, limits.max_bytes)
        )
        files = [*(_alone(row) for row in alone), *(merged_file(row) for row in merged)]
        return tuple(sorted(files, key=lambda file: file.batch_id))[:most]

    def holding(self, key: TableKey, layer: Layer, batch_ids: Collection[str]) -> dict[str, set[str]]:
        """The merged files that hold any of these batches: name -> those of `batch_ids` in it."""
        found: dict[str, set[str]] = {}
        for batch_id in batch_ids:
            file = self._promotions.layer_file(key, layer, batch_id)
            if file is not None and file.merged:
                found.setdefault(file.name, set()).add(batch_id)
        return found

    def merged(self, key: TableKey, layer: Layer, names: Collection[str]) -> tuple[LayerFile, ...]:
        """Merged files by their names, in the order of their first batches."""
        rows = self._merged(key, layer, names)
        return tuple(sorted(map(merged_file, rows), key=lambda file: file.batch_id))

    def names(self, key: TableKey, layer: Layer) -> tuple[int, tuple[str, ...]]:
        """The layer's generation and the names of all its committed files, as they stand at one instant."""
        with self._store.transaction():
            files = self._promotions.published(key, layer)
            return self._promotions.generation(key, layer), tuple(file.name for file in files)

    def commit(
        self,
        state: LayerState,
        names: Collection[str],
        outcome: RepackOutcome,
        generation: int,
        leave_at: datetime,
    ) -> None:
        """Let the new files take the place of those they replace, in `generation`, whose folder holds all of `names`.

        The generation it takes the place of may be removed from `leave_at` on. Raises StaleSourceError, and changes
        nothing, when the layer holds other files by now than `names` with those replaced, or is being rebuilt.
        """
        key, layer = state.key, state.layer
        with self._store.transaction() as tx:
            standing = {file.name for file in self._promotions.published(key, layer)}
            after = (standing - outcome.replaced) | {made.name for made in outcome.made}
            if (
                self._promotions.generation(key, layer) != state.generation
                or not outcome.replaced <= standing
                or after != set(names)
                or _is_being_built(tx, key)
            ):
                raise StaleSourceError(str(key))
            merged = self._merged(key, layer, outcome.replaced)
            batches = len(outcome.replaced) - len(merged) + sum(row["batches"] for row in merged)
            if batches != sum(len(made.rows) for made in outcome.made):
                raise StaleSourceError(str(key))
            tx.execute_many(
                f"DELETE FROM merged_files WHERE {_OF_LAYER} AND name = ?",
                [(*key, layer, name) for name in outcome.replaced],
            )
            for made in outcome.made:
                _put(tx, key, layer, made, outcome.replaced)
            tx.execute(f"UPDATE layers SET generation = ? WHERE {_OF_LAYER}", (generation, *key, layer))
            tx.execute(
                "INSERT OR IGNORE INTO removals VALUES (?, ?)",
                (generation_path(key, layer, state.generation), leave_at.isoformat()),
            )

    def _merged(self, key: TableKey, layer: Layer, names: Collection[str]) -> list[Row]:
        return [
            row
            for name in names
            for row in self._store.rows(
                f"SELECT * FROM merged_files WHERE {_OF_LAYER} AND name = ?", (*key, layer, name)
            )
        ]


def _put(tx: Store, key: TableKey, layer: Layer, made: Repacked, replaced: Collection[str]) -> None:
    """Say of every batch that a new file holds it, and of how many rows it must be."""
    for batch_id, rows in made.rows.items():
        old = tx.row(f"SELECT * FROM layer_files WHERE {_OF_LAYER} AND batch_id = ?", (*key, layer, batch_id))
        if old is None or old["rows"] != rows or old["name"] not in replaced:
            raise StaleSourceError(batch_id)
        tx.execute(
            f"UPDATE layer_files SET name = ?, size = ?, sha256 = ?, merged = ? WHERE {_OF_LAYER} AND batch_id = ?",
            (made.name, made.size, made.sha256, int(made.merged), *key, layer, batch_id),
        )
    if made.merged:
        rows = sum(made.rows.values())
        tx.execute(
            "INSERT INTO merged_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, layer, made.name, min(made.rows), len(made.rows), rows, made.size, made.sha256),
        )


def _is_being_built(tx: Store, key: TableKey) -> bool:
    """Whether a rebuild has begun, which counts on the files that it found."""
    row = tx.row(
        "SELECT 1 FROM rebuilds WHERE domain = ? AND table_name = ? AND state = 'building'",
        key,
    )
    return row is not None


def _alone(row: Row) -> LayerFile:
    return LayerFile(row["batch_id"], row["name"], row["rows"], row["size"], row["sha256"])
