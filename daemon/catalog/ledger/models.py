"""The ledger's part for gold models: which inputs have changed since a model was made. Called by scheduling.

A model is due when the versions of its inputs, or its contract, differ from those it was last made from: no
dirty flag can be lost.
"""

import json
from collections.abc import Mapping, Sequence

from daemon.catalog.ledger.committing import place, record
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import BatchOutcome, TableKey
from daemon.catalog.transition import Layer


class ModelLedger:
    """What each model was last made from."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, layer: Layer) -> list[TableKey]:
        """The tables that have had data in a layer."""
        rows = self._store.rows(
            "SELECT domain, table_name FROM layers WHERE layer = ? ORDER BY 1, 2", (layer,)
        )
        return [TableKey(*row) for row in rows]

    def versions(self, inputs: Sequence[tuple[Layer, TableKey]]) -> dict[str, int]:
        """The present version of each input, keyed `gold.domain.table`; 0 for a table that has nothing yet."""
        found = {}
        for layer, key in inputs:
            row = self._store.row(
                "SELECT version FROM layers WHERE domain = ? AND table_name = ? AND layer = ?", (*key, layer)
            )
            found[f"{layer}.{key}"] = row["version"] if row else 0
        return found

    def is_due(self, model: TableKey, contract_version: str, versions: Mapping[str, int]) -> bool:
        """Whether the model must be made anew for these inputs under this contract.

        It waits until each has had data.
        """
        if not all(versions.values()):
            return False
        row = self._store.row("SELECT * FROM models WHERE domain = ? AND table_name = ?", model)
        if row is None or not row["batch_id"]:
            return True
        return bool(row["contract_version"] != contract_version) or json.loads(row["inputs"]) != dict(
            versions
        )

    def commit(self, model: TableKey, outcome: BatchOutcome, versions: Mapping[str, int]) -> None:
        """Make a refreshed model the truth. `versions` are those read before the refresh began."""
        log = outcome.transition
        with self._store.transaction() as tx:
            record(tx, log, model)
            for old in tx.rows(
                "SELECT batch_id FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'gold' "
                "AND batch_id <> ?",
                (*model, log.batch_id),
            ):
                tx.execute(
                    "DELETE FROM layer_files WHERE domain = ? AND table_name = ? AND layer = 'gold' AND batch_id = ?",
                    (*model, old["batch_id"]),
                )
            tx.execute(
                "UPDATE layers SET rows = 0, files = 0 WHERE domain = ? AND table_name = ? AND layer = 'gold'",
                model,
            )
            place(tx, model, Layer.GOLD, outcome)
            tx.execute(
                "UPDATE layers SET version = version + 1 WHERE domain = ? AND table_name = ? AND layer = 'gold'",
                model,
            )
            tx.execute(
                "INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (
                    *model,
                    log.contract_version or "none",
                    json.dumps(dict(versions), sort_keys=True),
                    log.batch_id,
                    log.row_count_out,
                ),
            )

    def fail(self, model: TableKey, error: str) -> None:
        """Write down why a refresh failed; the model stays due."""
        with self._store.transaction() as tx:
            tx.execute(
                "INSERT INTO models VALUES (?, ?, '', '{}', '', 0, ?) ON CONFLICT DO UPDATE SET error = excluded.error",
                (*model, error),
            )
