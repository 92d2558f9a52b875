"""Rebuilds: layers of a table made anew beside the published ones, then shown in one ledger transaction.

Called by the chain, one table at a time. A rebuild begins when its folders are prepared (files of batches that do not
change are hard links); its batches are then carried up under the table's shadow name by the same hops as any others, one
by one, so that a crash costs one hop; when none is left it is shown. Readers see the old table until then.
"""

from collections import Counter
from datetime import timedelta

import structlog

from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import BatchOutcome, ClaimedFile, TableKey
from daemon.catalog.rebuild import Beginning, DeliveredFile, Rebuild, RestageTask, ShadowLayer, StandingLayer
from daemon.catalog.transition import LAYERS, Layer
from daemon.errors import ContractError, RejectDataError, RetryLaterError
from daemon.events import Event
from daemon.lake.durable import remove_leftovers, remove_tree
from daemon.lake.generations import build_next
from daemon.lake.layout import Layout
from daemon.scheduling.clock import utc_now
from daemon.scheduling.compactor import Compactor
from daemon.scheduling.tasks import restage
from daemon.scheduling.upkeep import keep_up
from daemon.scheduling.workers import StoppingError, WorkerLostError, WorkerPool

log = structlog.get_logger(__name__)

_DEATHS = 2
"""A rebuild that has cost this many workers since the start cannot be made."""


class Rebuilder:
    """Begins, shows and drops rebuilds. `grace` is how long a generation stays that readers may still be in."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        layout: Layout,
        contracts: ContractStore,
        workers: WorkerPool,
        compactor: Compactor,
        grace: timedelta,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._contracts = contracts
        self._workers = workers
        self._compactor = compactor
        self._grace = grace
        self._deaths: Counter[str] = Counter()

    def step(self, key: TableKey) -> bool:
        """Do what the table's first rebuild needs next. Returns whether anything was done.

        Raises OSError, and RetryLaterError: it is still asked for then.
        """
        current = self._ledger.rebuilds.current(key)
        if current is None:
            return False
        rebuild, has_begun = current
        try:
            contract = contract_in_force(self._contracts, self._ledger, key)
        except ContractError:
            return False  # it waits, as every batch of the table does
        if not has_begun:
            return self._begin(rebuild, contract)
        return self._end(rebuild, contract)

    def is_due(self, key: TableKey) -> bool:
        """Whether a step would do something."""
        current = self._ledger.rebuilds.current(key)
        return current is not None and not (current[1] and self._ledger.rebuilds.is_climbing(key))

    def fail(self, key: TableKey, reason: str) -> None:
        """Give up the table's rebuild: its data cannot be made so. The table stays as it is."""
        current = self._ledger.rebuilds.current(key.real)
        if current is not None:
            self._ledger.shadows.drop(current[0], "failed", reason, utc_now())
            log.error(Event.REBUILD_FAILED, **_about(current[0]), reason=reason)

    def _end(self, rebuild: Rebuild, contract: Contract) -> bool:
        """Show what was built, if all of it is there and of one contract."""
        ledger = self._ledger.rebuilds
        if ledger.is_climbing(rebuild.key):
            return False
        if ledger.contract_versions(rebuild.key) - {contract.version}:
            self._ledger.shadows.drop(
                rebuild, "requested", "contract or learned types changed meanwhile", utc_now()
            )
            keep_up(self._ledger, self._layout)
        else:
            self._show(rebuild)
        return True

    def _begin(self, rebuild: Rebuild, contract: Contract) -> bool:
        asked, rebuild = rebuild, self._ledger.rebuilds.as_things_stand(rebuild)
        if self._ledger.rebuilds.is_needless(asked, rebuild, contract.version):
            self._ledger.rebuilds.end(rebuild, utc_now())
            return True
        standing = {layer: self._ledger.rebuilds.layer(rebuild.key, layer) for layer in LAYERS}
        log.info(Event.REBUILD_STARTED, **_about(rebuild), why=rebuild.why)
        shadows: dict[Layer, ShadowLayer] = {}
        try:
            if self._take_apart(rebuild, contract, standing):
                return True  # look again
            beginning = self._prepare(rebuild, contract, standing, shadows)
            self._ledger.shadows.begin(rebuild, beginning, new_id, utc_now())
            shadows.clear()
        except StaleSourceError:
            return True  # a hop that was under way has committed: look again
        except StoppingError:
            return False
        except WorkerLostError as error:
            self._after_death(rebuild, error)
        except RejectDataError as error:
            self.fail(rebuild.key, str(error))
        finally:
            if shadows:
                self._ledger.settle()
            for layer, shadow in shadows.items():  # built, and not begun with
                remove_tree(self._layout.generation(layer, rebuild.key, shadow.generation))
        return True

    def _take_apart(self, rebuild: Rebuild, contract: Contract, standing: dict[Layer, StandingLayer]) -> bool:
        """Take the batches that change out of merged files which others stay in; returns whether there were any."""
        gone = rebuild.batches or frozenset()
        above = LAYERS[LAYERS.index(rebuild.base) + 1 if rebuild.base in LAYERS else 0 :]
        found = False
        for layer in above:
            if layer in {Layer.SILVER, Layer.GOLD} and _everything_competes(contract):
                continue  # nothing of it is kept
            files = standing[layer].files
            stays = {file.name for batch_id, file in files.items() if batch_id not in gone}
            torn = [batch_id for batch_id in gone & files.keys() if files[batch_id].name in stays]
            if torn:
                found |= self._compactor.take_apart_alone(rebuild.key, layer, torn)
        return found

    def _after_death(self, rebuild: Rebuild, error: WorkerLostError) -> None:
        """Give it a second try: the worker may have been killed for another's sake."""
        remove_leftovers(self._layout.undone(rebuild.key))
        self._deaths[rebuild.rebuild_id] += 1
        if self._deaths[rebuild.rebuild_id] < _DEATHS:
            raise RetryLaterError(str(error)) from error
        self.fail(rebuild.key, str(error))

    def _prepare(
        self,
        rebuild: Rebuild,
        contract: Contract,
        standing: dict[Layer, StandingLayer],
        shadows: dict[Layer, ShadowLayer],
    ) -> Beginning:
        """Build the folders of every layer above the base into `shadows`, and the staged files that change."""
        restaged: list[BatchOutcome] = []
        staged = set(standing[Layer.STAGED].files)
        if rebuild.base is Layer.LANDING:
            changing = self._changing(rebuild)
            shadows[Layer.STAGED] = self._build(rebuild.key, Layer.STAGED, standing, set(changing))
            for batch_id, files in changing.items():
                outcome = self._restage(
                    rebuild, contract, files, standing[Layer.STAGED], shadows[Layer.STAGED]
                )
                restaged.append(outcome)
                (staged.add if outcome.layer_file else staged.discard)(batch_id)
        chosen = staged if rebuild.batches is None else staged & rebuild.batches
        if rebuild.base is Layer.BRONZE:
            chosen &= set(standing[Layer.BRONZE].files)
        gone = rebuild.batches or chosen
        hops = [
            (batch_id, (rebuild.base if rebuild.base is Layer.BRONZE else Layer.STAGED).above)
            for batch_id in chosen
        ]
        if rebuild.base is not Layer.BRONZE:
            shadows[Layer.BRONZE] = self._build(rebuild.key, Layer.BRONZE, standing, gone)
        rivals = set(standing[Layer.BRONZE].files) - gone if _everything_competes(contract) else set()
        hops += [(batch_id, Layer.SILVER) for batch_id in rivals]
        for layer in (Layer.SILVER, Layer.GOLD):
            shadows[layer] = self._build(rebuild.key, layer, standing, gone | rivals)
        return Beginning(
            states={layer: (found.generation, found.version) for layer, found in standing.items()},
            layers=shadows,
            restaged=restaged,
            hops=[(batch_id, layer) for batch_id, layer in sorted(hops) if layer is not None],
        )

    def _build(
        self,
        key: TableKey,
        layer: Layer,
        standing: dict[Layer, StandingLayer],
        gone: set[str] | frozenset[str],
    ) -> ShadowLayer:
        found = standing[layer]
        kept = {batch_id: file for batch_id, file in found.files.items() if batch_id not in gone}
        names = dict.fromkeys(file.name for file in kept.values())
        new = self._ledger.promotions.reserve_generation(key, layer)
        build_next(self._layout, layer, key, found.generation, new, names)
        return ShadowLayer(new, frozenset(kept))

    def _changing(self, rebuild: Rebuild) -> dict[str, list[DeliveredFile]]:
        """The batches whose staged rows change, each with its dropped files."""
        ids = (*rebuild.files_out, *rebuild.files_back)
        batches = (
            {file.batch_id for file in self._ledger.rebuilds.files(ids)} if ids else rebuild.batches or ()
        )
        found: dict[str, list[DeliveredFile]] = {batch_id: [] for batch_id in sorted(batches)}
        for file in self._ledger.rebuilds.delivered(found):
            found[file.batch_id].append(file)
        return found

    def _restage(
        self,
        rebuild: Rebuild,
        contract: Contract,
        files: list[DeliveredFile],
        found: StandingLayer,
        shadow: ShadowLayer,
    ) -> BatchOutcome:
        ledger, batch_id = self._ledger.rebuilds, files[0].batch_id
        moved = bool(rebuild.files_out or rebuild.files_back)
        task = RestageTask(
            root=self._layout.root,
            key=rebuild.key.shadow,
            batch_id=batch_id,
            transition_id=new_id(),
            planned_at=utc_now(),
            source_generation=found.generation,
            generation=shadow.generation,
            options=contract.reader,
            files=tuple(file.name for file in files),
            out=tuple(file for file in files if file.file_id in rebuild.files_out),
            back=tuple(file for file in files if file.file_id in rebuild.files_back),
            sources=() if moved else tuple(self._source(file) for file in files if file.state != "undone"),
            staged=found.files.get(batch_id),
            quarantine_file=ledger.staged_quarantine(rebuild.key, batch_id),
            supersedes=ledger.standing(rebuild.key, Layer.STAGED, batch_id),
        )
        return self._workers.call(restage, task)

    def _source(self, file: DeliveredFile) -> ClaimedFile:
        """A source to read again, where it lies now."""
        path = None if file.path is None else self._layout.root / file.path
        if path is None or not path.is_file():
            raise RejectDataError(
                f"{file.name}: its source is not there any more ({file.path or 'deleted, as its contract says'}), "
                "so it cannot be read again",
                kind="source_gone",
            )
        facts = path.stat()
        return ClaimedFile(file.file_id, file.name, path, facts.st_size, facts.st_mtime_ns, file.sheet)

    def _show(self, rebuild: Rebuild) -> None:
        now = utc_now()
        self._ledger.shadows.show(rebuild, now, now + self._grace)
        keep_up(self._ledger, self._layout)
        log.info(Event.REBUILD_COMPLETED, **_about(rebuild))


def _everything_competes(contract: Contract) -> bool:
    """Whether the rows of every batch may win or lose a key by what becomes of any other."""
    return contract.silver.dedup is not None and contract.silver.dedup.across_batches


def contract_in_force(contracts: ContractStore, ledger: Ledger, key: TableKey) -> Contract:
    """The contract of a table, its version naming the learned types where types are learned. Raises ContractError."""
    return ledger.promotions.columns(key).under(contracts.get(key.real))


def _about(rebuild: Rebuild) -> dict[str, object]:
    return {
        "domain": rebuild.key.domain,
        "table": rebuild.key.table,
        "rebuild_id": rebuild.rebuild_id,
        "kind": rebuild.kind,
    }
