"""Gold models: made anew after their inputs change, in the order of their dependencies.

Called by the chain as one job.

A model that failed waits and is tried again; it never holds up the others, nor any promotion.
"""

from collections.abc import Collection
from contextlib import suppress

import structlog

from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import ModelInput, ModelTask, TableKey
from daemon.catalog.transition import Layer
from daemon.errors import ContractError, MedalliondError
from daemon.events import Event
from daemon.lake.generations import ensure_generation, remove_unpublished
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.scheduling.backoff import Backoff
from daemon.scheduling.clock import utc_now
from daemon.scheduling.tasks import refresh_model
from daemon.scheduling.workers import StoppingError, WorkerLostError, WorkerPool

log = structlog.get_logger(__name__)


class ModelRefresher:
    """Makes due models, one after the other."""

    def __init__(
        self, ledger: Ledger, layout: Layout, contracts: ContractStore, workers: WorkerPool, backoff: Backoff
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._contracts = contracts
        self._workers = workers
        self._backoff = backoff

    @property
    def are_there(self) -> bool:
        """Whether there is any model."""
        return bool(self._contracts.models())

    def due(self, waiting: Collection[str]) -> list[TableKey]:
        """The models whose inputs or contract differ from those they were made from, less those that are `waiting`."""
        return [
            key
            for key, contract in self._contracts.models().items()
            if _name(key) not in waiting
            and self._ledger.models.is_due(key, contract.version, self._versions(contract))
        ]

    def step(self) -> None:
        """Refresh every due model once, inputs before those that are made from them."""
        waiting = self._backoff.waiting()
        for key, contract in self._contracts.models().items():
            versions = self._versions(contract)
            if _name(key) in waiting or not self._ledger.models.is_due(key, contract.version, versions):
                continue
            try:
                self._refresh(key, contract, versions)
            except StoppingError:
                return
            except (MedalliondError, WorkerLostError, OSError) as error:
                self._failed(key, error)
            else:
                self._backoff.forget(_name(key))

    def _inputs(self, contract: Contract) -> list[tuple[Layer, TableKey]]:
        """The tables a model reads, in the order in which it names them; a name without domain is looked for."""
        inputs = []
        for table in contract.model.reads if contract.model else ():
            layer = Layer(table.layer)
            found = [key for key in self._ledger.models.known(layer) if table.means(layer, *key)]
            inputs += [(layer, key) for key in found or [TableKey(table.domain or "main", table.table)]]
        return inputs

    def _versions(self, contract: Contract) -> dict[str, int]:
        return self._ledger.models.versions(self._inputs(contract))

    def _refresh(self, key: TableKey, contract: Contract, versions: dict[str, int]) -> None:
        promotions = self._ledger.promotions
        generation = promotions.generation(key, Layer.GOLD)
        ensure_generation(self._layout, Layer.GOLD, key, generation)
        inputs = tuple(
            ModelInput(layer, table, promotions.generation(table, layer), promotions.published(table, layer))
            for layer, table in self._inputs(contract)
        )
        task = ModelTask(
            root=self._layout.root,
            key=key,
            transition_id=new_id(),
            batch_id=new_id(),
            planned_at=utc_now(),
            contract=contract,
            inputs=inputs,
            generation=generation,
        )
        outcome = self._workers.call(refresh_model, task)
        self._ledger.models.commit(key, outcome, versions)
        write_transition(self._layout, outcome.transition)
        done = outcome.transition
        log.info(
            Event.MODEL_REFRESHED,
            domain=key.domain,
            table=key.table,
            batch_id=done.batch_id,
            rows=done.row_count_out,
            rows_in=done.row_count_in,
            seconds=round(done.seconds, 4),
        )

    def _failed(self, key: TableKey, error: Exception) -> None:
        with suppress(OSError):  # then the next start removes it
            generation = self._ledger.promotions.generation(key, Layer.GOLD)
            remove_unpublished(self._layout, Layer.GOLD, key, generation)
        self._ledger.models.fail(key, str(error))
        wait = self._backoff.park if isinstance(error, ContractError) else self._backoff.hold
        seconds = wait(_name(key), "contract")
        log.error(
            Event.MODEL_FAILED,
            domain=key.domain,
            table=key.table,
            error=str(error),
            seconds=round(seconds, 3),
        )


def _name(key: TableKey) -> str:
    return f"model {key}"
