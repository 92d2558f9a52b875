"""The ledger's part for rebuilds: what is asked for, what stands, what is needed to make it anew.

Called by scheduling; what it makes stands under the table's shadow name until it is shown, see shadows.py.
"""

import json
import os
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from daemon.catalog.ledger.planning import ask, standing
from daemon.catalog.ledger.promotions import PromotionLedger
from daemon.catalog.ledger.store import Row, Store
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import DeliveredFile, Rebuild, StandingLayer
from daemon.catalog.transition import Layer

_GOES_ON = "state IN ('requested', 'building')"


class RebuildLedger:
    """Rebuilds of tables, one at a time each, in the order in which they were asked for."""

    def __init__(self, store: Store, promotions: PromotionLedger) -> None:
        self._store = store
        self._promotions = promotions

    def request(self, rebuild: Rebuild, now: datetime) -> None:
        """Ask for a rebuild. Promotions of the table above its base wait from now on."""
        with self._store.transaction() as tx:
            ask(tx, rebuild, now)

    def is_known(self, rebuild_id: str) -> bool:
        """Whether a rebuild of this id was asked for before."""
        return self._store.row("SELECT 1 FROM rebuilds WHERE rebuild_id = ?", (rebuild_id,)) is not None

    def tables(self) -> list[TableKey]:
        """The tables that have a rebuild to begin or to end."""
        rows = self._store.rows(f"SELECT DISTINCT domain, table_name FROM rebuilds WHERE {_GOES_ON}")
        return [TableKey(*row) for row in rows]

    def current(self, key: TableKey) -> tuple[Rebuild, bool] | None:
        """The table's first unfinished rebuild, and whether it has begun; None if there is none."""
        row = self._store.row(
            f"SELECT * FROM rebuilds WHERE domain = ? AND table_name = ? AND {_GOES_ON} "
            "ORDER BY state = 'requested', rebuild_id LIMIT 1",
            key,
        )
        return (_rebuild(row), row["state"] == "building") if row else None

    def as_things_stand(self, rebuild: Rebuild) -> Rebuild:
        """The rebuild without the files that are out, or back, already: others were asked for before it."""
        return replace(
            rebuild,
            files_out=tuple(
                file.file_id for file in self.files(rebuild.files_out) if file.state in {"staged", "ingested"}
            ),
            files_back=tuple(
                file.file_id
                for file in self.files(rebuild.files_back)
                if file.state == "undone" and self.content_is_there(rebuild.key, file.file_id) is None
            ),
        )

    def is_needless(self, asked: Rebuild, rebuild: Rebuild, version: str) -> bool:
        """Whether there is nothing to do for what was `asked`, now that it is `rebuild`.

        All of its files are where they are wanted; or, for other types, everything in bronze was made under `version`.
        """
        if asked.files_out or asked.files_back:
            return not (rebuild.files_out or rebuild.files_back)
        if rebuild.kind != "widen":
            return False
        row = self._store.row(
            "SELECT 1 FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'bronze' AND contract_version <> ? "
            "LIMIT 1",
            (*rebuild.key, version),
        )
        return row is None

    def end(self, rebuild: Rebuild, now: datetime) -> None:
        """There is nothing to do for it."""
        with self._store.transaction() as tx:
            tx.execute(
                "UPDATE rebuilds SET state = 'done', ended_at = ? WHERE rebuild_id = ?",
                (now.isoformat(), rebuild.rebuild_id),
            )

    def is_climbing(self, key: TableKey) -> bool:
        """Whether batches of the table's rebuild are still on their way up."""
        shadow = key.shadow
        row = self._store.row(
            "SELECT 1 FROM promotions WHERE state = 'planned' AND domain = ? AND table_name = ? LIMIT 1",
            shadow,
        )
        return row is not None

    def contract_versions(self, key: TableKey) -> set[str | None]:
        """The contract versions under which the batches of the table's rebuild were made so far."""
        rows = self._store.rows(
            "SELECT DISTINCT json_extract(record, '$.contract_version') AS version FROM transitions "
            "WHERE domain = ? AND table_name = ? AND target_layer <> 'staged'",
            key.shadow,
        )
        return {row["version"] for row in rows}

    def shadow_generations(self) -> set[tuple[TableKey, Layer, int]]:
        """The folders that rebuilds are filling now."""
        rows = self._store.rows(
            "SELECT domain, table_name, layer, generation FROM layers WHERE table_name GLOB '*~'"
        )
        return {
            (TableKey(row["domain"], row["table_name"]).real, Layer(row["layer"]), row["generation"])
            for row in rows
        }

    def layer(self, key: TableKey, layer: Layer) -> StandingLayer:
        """A layer as it stands."""
        row = self._store.row(
            "SELECT * FROM layers WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
        )
        files = {file.batch_id: file for file in self._promotions.by_batch(key, layer)}
        return StandingLayer(row["generation"], row["version"], files) if row else StandingLayer(1, 0, files)

    def delivered(self, batch_ids: Collection[str]) -> list[DeliveredFile]:
        """The dropped files of these batches whose rows are staged, or were taken back, in order."""
        return [
            file
            for batch_id in sorted(batch_ids)
            for file in self._files(
                "f.batch_id = ? AND f.state IN ('staged', 'ingested', 'undone')", batch_id
            )
        ]

    def files(self, file_ids: Collection[int]) -> list[DeliveredFile]:
        """Dropped files by their ids."""
        return [file for file_id in file_ids for file in self._files("f.file_id = ?", file_id)]

    def content_is_there(self, key: TableKey, file_id: int) -> str | None:
        """The name of another file with the same content whose rows the table has; None if there is none."""
        row = self._store.row(
            "SELECT o.name FROM files AS f JOIN files AS o USING (domain, table_name, size, sha256) "
            "WHERE f.file_id = ? AND o.file_id <> f.file_id AND o.state IN ('staged', 'ingested') "
            "AND f.domain = ? AND f.table_name = ? LIMIT 1",
            (file_id, *key),
        )
        return row["name"] if row else None

    def staged_quarantine(self, key: TableKey, batch_id: str) -> str | None:
        """The file of records of a batch that could not be read, relative to the root; None if there are none."""
        row = self._store.row(
            "SELECT path FROM quarantine WHERE domain = ? AND table_name = ? AND batch_id = ? AND layer = 'staged' LIMIT 1",
            (*key, batch_id),
        )
        return row["path"] if row else None

    def standing(self, key: TableKey, layer: Layer, batch_id: str) -> str | None:
        """The transition that made what stands of a batch in a layer."""
        return standing(self._store, key, layer, batch_id)

    def try_again(self) -> None:
        """Ask again for the replacements that failed: what they were to replace must not stand beside them for ever."""
        with self._store.transaction() as tx:
            tx.execute("UPDATE rebuilds SET state = 'requested' WHERE state = 'failed' AND kind = 'replace'")

    def _files(self, condition: str, value: str | int) -> list[DeliveredFile]:
        rows = self._store.rows(
            "SELECT f.*, CASE WHEN w.at_rest THEN w.resting_path ELSE w.claimed_path END AS path FROM files AS f "
            f"JOIN files AS w ON w.file_id = coalesce(f.part_of, f.file_id) WHERE {condition} ORDER BY f.ordinal",
            (value,),
        )
        return [_delivered(row) for row in rows]


def _rebuild(row: Row) -> Rebuild:
    return Rebuild(
        rebuild_id=row["rebuild_id"],
        key=TableKey(row["domain"], row["table_name"]),
        kind=row["kind"],
        base=Layer(row["base"]),
        batches=None if row["batches"] is None else frozenset(json.loads(row["batches"])),
        files_out=tuple(json.loads(row["files_out"])),
        files_back=tuple(json.loads(row["files_back"])),
        why=row["why"],
    )


def _delivered(row: Row) -> DeliveredFile:
    return DeliveredFile(
        row["file_id"],
        row["batch_id"],
        row["name"],
        row["state"],
        None if row["path"] is None else Path(os.fsdecode(row["path"])),
        row["sheet"],
    )
