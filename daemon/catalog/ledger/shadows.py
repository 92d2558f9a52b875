"""The ledger's part for what a rebuild makes: begun, shown all at once, or dropped.

Called by scheduling. While a rebuild is under way its rows stand under the table's shadow name (`TableKey.shadow`), so
that the chain carries its batches up as it does any others, and no reader sees them.
"""

import json
from collections.abc import Callable
from datetime import datetime

from daemon.catalog.ledger.committing import StaleSourceError, note_quarantine, place, record
from daemon.catalog.ledger.planning import generation_path, plan, standing
from daemon.catalog.ledger.promotions import PromotionLedger
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Beginning, Rebuild
from daemon.catalog.transition import LAYERS, Layer


class ShadowLedger:
    """Layers that are made anew under a shadow's name."""

    def __init__(self, store: Store, promotions: PromotionLedger) -> None:
        self._store = store
        self._promotions = promotions

    def begin(self, rebuild: Rebuild, beginning: Beginning, new_id: Callable[[], str], now: datetime) -> None:
        """Write down a rebuild whose folders are prepared, and plan its hops under the shadow's name.

        Raises StaleSourceError, and changes nothing, when one of the table's layers has changed meanwhile.
        """
        key, shadow = rebuild.key, rebuild.key.shadow
        with self._store.transaction() as tx:
            for layer in LAYERS:
                if self._state(key, layer) != beginning.states[layer]:
                    raise StaleSourceError(rebuild.rebuild_id)
            tx.execute(
                "UPDATE rebuilds SET state = 'building', files_out = ?, files_back = ? WHERE rebuild_id = ?",
                (json.dumps(rebuild.files_out), json.dumps(rebuild.files_back), rebuild.rebuild_id),
            )
            for layer in LAYERS:
                made = beginning.layers.get(layer)
                tx.execute(
                    "INSERT INTO layer_files SELECT domain, ?, layer, batch_id, name, rows, size, sha256, transition_id, "
                    "contract_version, merged FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ?",
                    (shadow.table, *key, layer),
                )
                if made is not None:
                    kept = json.dumps(sorted(made.kept))
                    tx.execute(
                        "DELETE FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? "
                        "AND batch_id NOT IN (SELECT value FROM json_each(?))",
                        (*shadow, layer, kept),
                    )
                tx.execute(
                    "INSERT INTO merged_files SELECT domain, ?, layer, name, first_batch, batches, rows, size, sha256 "
                    "FROM merged_files WHERE domain = ? AND table_name = ? AND layer = ? AND name IN (SELECT name "
                    "FROM layer_files WHERE domain = ? AND table_name = ? AND layer = ? AND merged = 1)",
                    (shadow.table, *key, layer, *shadow, layer),
                )
                generation = made.generation if made else self._promotions.generation(key, layer)
                tx.execute(
                    "INSERT INTO layers SELECT ?, ?, ?, ?, 0, total(rows), count(*) FROM layer_files "
                    "WHERE domain = ? AND table_name = ? AND layer = ?",
                    (*shadow, layer, generation, *shadow, layer),
                )
            for batch in beginning.restaged:
                record(tx, batch.transition, shadow)
                place(tx, shadow, Layer.STAGED, batch)
                note_quarantine(tx, shadow, batch, now)
            for batch_id, target in beginning.hops:
                supersedes = standing(tx, key, target, batch_id)
                plan(tx, shadow, batch_id, target, new_id(), now, supersedes=supersedes)

    def show(self, rebuild: Rebuild, now: datetime, leave_at: datetime) -> None:
        """Make what was built the truth: every layer of it, its quarantine, and the fate of the files it was about.

        The generations it takes the place of may be removed from `leave_at` on.
        """
        with self._store.transaction() as tx:
            for layer in LAYERS[LAYERS.index(rebuild.base) + 1 if rebuild.base in LAYERS else 0 :]:
                self._show_layer(tx, rebuild, layer, leave_at)
            self._settle(tx, rebuild, now)
            self._clear(tx, rebuild.key.shadow)
            tx.execute(
                "UPDATE rebuilds SET state = 'done', ended_at = ?, error = NULL WHERE rebuild_id = ?",
                (now.isoformat(), rebuild.rebuild_id),
            )

    def _show_layer(self, tx: Store, rebuild: Rebuild, layer: Layer, leave_at: datetime) -> None:
        key, shadow = rebuild.key, rebuild.key.shadow
        self._replace_quarantine(tx, rebuild, layer)
        for table in ("layer_files", "merged_files"):
            tx.execute(
                f"DELETE FROM {table} WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
            )
            tx.execute(
                f"UPDATE {table} SET table_name = ? WHERE domain = ? AND table_name = ? AND layer = ?",
                (key.table, *shadow, layer),
            )
        old = self._promotions.generation(key, layer)
        tx.execute(
            "INSERT INTO layers (domain, table_name, layer, generation, version, rows, files) "
            "SELECT domain, ?, layer, generation, 1, rows, files FROM layers "
            "WHERE domain = ? AND table_name = ? AND layer = ? "
            "ON CONFLICT DO UPDATE SET generation = excluded.generation, version = layers.version + 1, "
            "rows = excluded.rows, files = excluded.files",
            (key.table, *shadow, layer),
        )
        tx.execute(
            "INSERT OR IGNORE INTO removals VALUES (?, ?)",
            (generation_path(key, layer, old), leave_at.isoformat()),
        )

    def _replace_quarantine(self, tx: Store, rebuild: Rebuild, layer: Layer) -> None:
        """Let what the rebuild set aside of its batches at a layer take the place of what was set aside before."""
        key, shadow = rebuild.key, rebuild.key.shadow
        if layer is Layer.STAGED or rebuild.batches is not None:
            made = "batch_id IN (SELECT batch_id FROM transitions WHERE domain = ? AND table_name = ? AND target_layer = ?)"
            values: tuple[object, ...] = (*shadow, layer)
        else:
            made, values = "1", ()
        if (
            layer is not Layer.STAGED and rebuild.batches is not None
        ):  # also those of which nothing came up here
            made += " OR batch_id IN (SELECT value FROM json_each(?))"
            values = (*values, json.dumps(sorted(rebuild.batches)))
        where = f"domain = ? AND table_name = ? AND layer = ? AND ({made})"
        found = (*key, layer, *values)
        tx.execute(
            f"INSERT OR IGNORE INTO removals SELECT DISTINCT path, '' FROM quarantine WHERE {where}", found
        )
        tx.execute(f"DELETE FROM quarantine WHERE {where}", found)
        tx.execute(
            "UPDATE quarantine SET table_name = ? WHERE domain = ? AND table_name = ? AND layer = ?",
            (key.table, *shadow, layer),
        )

    def _settle(self, tx: Store, rebuild: Rebuild, now: datetime) -> None:
        """Say of files and batches what the rebuild made of them; what was planned for its batches is done by it."""
        key, shadow = rebuild.key, rebuild.key.shadow
        tx.execute_many(
            "UPDATE files SET state = 'undone' WHERE file_id = ?",
            [(file_id,) for file_id in rebuild.files_out],
        )
        tx.execute_many(
            "UPDATE files SET state = 'ingested' WHERE file_id = ?",
            [(file_id,) for file_id in rebuild.files_back],
        )
        tx.execute_many(
            "INSERT OR IGNORE INTO removals VALUES (?, '')",
            [
                (f"data/.undone/{key.domain}/{key.table}/{file_id}{part}.parquet",)
                for file_id in rebuild.files_back
                for part in ("", "-quarantine")
            ],
        )
        moved = json.dumps([*rebuild.files_out, *rebuild.files_back])
        touched = tx.rows(
            "SELECT batch_id FROM files WHERE file_id IN (SELECT value FROM json_each(?)) "
            "UNION SELECT batch_id FROM promotions WHERE domain = ? AND table_name = ? ORDER BY 1",
            (moved, *shadow),
        )
        for batch_id in (row["batch_id"] for row in touched):
            tx.execute(
                "UPDATE promotions SET state = 'failed' WHERE batch_id = ? AND state = 'planned' AND domain = ? "
                "AND table_name = ?",
                (batch_id, *key),
            )
            self._settle_batch(tx, batch_id, now)

    def _settle_batch(self, tx: Store, batch_id: str, now: datetime) -> None:
        left = tx.row(
            "SELECT 1 FROM files WHERE batch_id = ? AND state IN ('staged', 'ingested') LIMIT 1", (batch_id,)
        )
        state = "done" if left else "undone"
        tx.execute(
            "UPDATE batches SET state = ?, done_at = coalesce(done_at, ?) WHERE batch_id = ? AND state <> ?",
            (state, now.isoformat(), batch_id, state),
        )
        tx.execute("UPDATE files SET state = 'ingested' WHERE batch_id = ? AND state = 'staged'", (batch_id,))

    def _clear(self, tx: Store, shadow: TableKey) -> None:
        """Leave nothing under the shadow's name but what is now the table's."""
        for table in ("transitions", "promotions"):
            tx.execute(
                f"UPDATE {table} SET table_name = ? WHERE domain = ? AND table_name = ?",
                (shadow.real.table, *shadow),
            )
        for table in ("layer_files", "merged_files", "layers"):
            tx.execute(f"DELETE FROM {table} WHERE domain = ? AND table_name = ?", shadow)

    def drop(self, rebuild: Rebuild, state: str, error: str, now: datetime) -> None:
        """Give up what was built: `state` is requested (begin anew) or failed. The published table is as it was."""
        shadow = rebuild.key.shadow
        with self._store.transaction() as tx:
            tx.execute(
                "INSERT OR IGNORE INTO removals SELECT 'data/.generations/' || layer || '/' || domain || '/' || ? || '/' "
                "|| generation, '' FROM layers AS s WHERE domain = ? AND table_name = ? AND generation <> coalesce("
                "(SELECT generation FROM layers AS r WHERE r.domain = s.domain AND r.table_name = ? "
                "AND r.layer = s.layer), 1)",
                (rebuild.key.table, *shadow, rebuild.key.table),
            )
            tx.execute(
                "INSERT OR IGNORE INTO removals SELECT DISTINCT path, '' FROM quarantine "
                "WHERE domain = ? AND table_name = ?",
                shadow,
            )
            tx.execute(
                "INSERT OR IGNORE INTO removals SELECT 'catalog/lineage/' || transition_id || '.json', '' FROM transitions "
                "WHERE domain = ? AND table_name = ?",
                shadow,
            )
            for table in ("quarantine", "transitions", "promotions", "layer_files", "merged_files", "layers"):
                tx.execute(f"DELETE FROM {table} WHERE domain = ? AND table_name = ?", shadow)
            tx.execute(
                "UPDATE rebuilds SET state = ?, error = ?, ended_at = ? WHERE rebuild_id = ?",
                (state, error, now.isoformat() if state == "failed" else None, rebuild.rebuild_id),
            )

    def _state(self, key: TableKey, layer: Layer) -> tuple[int, int]:
        """The layer's generation and version: when both are the same, so are its files."""
        row = self._store.row(
            "SELECT generation, version FROM layers WHERE domain = ? AND table_name = ? AND layer = ?",
            (*key, layer),
        )
        return (row["generation"], row["version"]) if row else (1, 0)
