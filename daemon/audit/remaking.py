"""A lost layer file, made again: the same hop, from the file below or the dropped files, in a folder of its own.

It is put in place only when it has the very bytes the ledger vouches for. Called when a root is repaired.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from daemon.audit.findings import CannotMendError, Mend, difference
from daemon.catalog.contract import Contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.ledger.inventory import DroppedFile, LedgerInventory, ListedFile
from daemon.catalog.promotion import ClaimedFile, LayerFile, PromotionItem, PromotionTask
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import ContractError, MedalliondError, gist
from daemon.lake.durable import make_directories, publish, remove_tree
from daemon.lake.layout import Layout
from daemon.pipeline.promote import promote
from daemon.pipeline.repacking import write_merged
from daemon.pipeline.writing import DATA_ERRORS


class Remaker:
    """Makes layer files again."""

    def __init__(self, layout: Layout, inventory: LedgerInventory) -> None:
        self._layout = layout
        self._inventory = inventory
        self._contracts = ContractStore(layout.contracts)
        self._contracts.reload()

    @property
    def scratch(self) -> Path:
        """The folder it works in; left behind only by a crash."""
        return self._layout.data / ".repair.tmp"

    def mend(self, listed: ListedFile) -> Mend:
        """Return what makes a file again."""

        def mend() -> None:
            self._remake(listed)

        return mend

    def _remake(self, listed: ListedFile) -> None:
        if listed.file.merged:
            self._remake_merged(listed)
        else:
            self._remake_one(listed)

    def _remake_merged(self, listed: ListedFile) -> None:
        """Make the file of every batch again that a merged file holds, and merge them as before."""
        batches = self._inventory.batches_in(listed)
        with self._workshop() as bench:
            folder = bench.generation(listed.layer, listed.key, 1)
            paths = []
            for batch in batches:
                try:
                    made = self._promote(bench, batch, self._contract(batch), self._item(batch))
                except MedalliondError as error:
                    raise CannotMendError(
                        f"the hop of batch {batch.file.batch_id} cannot be done again: {error}"
                    ) from error
                if made is None:
                    raise CannotMendError(_other_bytes(listed, self._contract(batch)))
                paths.append(folder / made.name)
            try:
                merged = write_merged(paths, folder / listed.file.name)
            except DATA_ERRORS as error:
                raise CannotMendError(f"its batches cannot be merged again: {gist(error)}") from error
            if (merged.size, merged.sha256) != (listed.file.size, listed.file.sha256):
                raise CannotMendError(_other_bytes(listed, self._contract(batches[0])))
            self._put_in_place(listed, folder / merged.name)

    def _remake_one(self, listed: ListedFile) -> None:
        contract, item = self._contract(listed), self._item(listed)
        with self._workshop() as bench:
            try:
                made = self._promote(bench, listed, contract, item)
            except MedalliondError as error:
                raise CannotMendError(f"the hop cannot be done again: {error}") from error
            if made is None or (made.size, made.sha256) != (listed.file.size, listed.file.sha256):
                raise CannotMendError(_other_bytes(listed, contract))
            self._put_in_place(listed, bench.generation(listed.layer, listed.key, 1) / made.name)

    def _put_in_place(self, listed: ListedFile, made: Path) -> None:
        final = self._layout.generation(listed.layer, listed.key, listed.generation) / listed.file.name
        make_directories(final.parent)
        publish(made, final)

    def _contract(self, listed: ListedFile) -> Contract:
        """The contract the file was made under. Raises CannotMendError when it is not in force any more."""
        record = self._inventory.record(listed.transition_id)
        if record is None:
            raise CannotMendError("the ledger has no record of how it was made")
        log = LayerTransitionLog.model_validate_json(record)
        try:
            contract = self._inventory.columns(listed.key).under(self._contracts.get(listed.key))
        except ContractError as error:
            raise CannotMendError(str(error)) from error
        if contract.version != log.contract_version:
            raise CannotMendError(
                f"it was made under version {log.contract_version} of the contract, now it is {contract.version}"
            )
        return contract

    def _item(self, listed: ListedFile) -> PromotionItem:
        batch_id = listed.file.batch_id
        planned_at = self._inventory.planned_at(listed.transition_id)
        if planned_at is None:
            raise CannotMendError("it was rewritten when a later batch came")
        below = listed.layer.below
        if below is Layer.LANDING:
            sources = tuple(self._source(file) for file in self._inventory.sources(batch_id))
            return PromotionItem(listed.transition_id, batch_id, planned_at, 1, sources=sources)
        source = self._inventory.layer_file(listed.key, below, batch_id)
        if source is None:
            raise CannotMendError(f"its batch has nothing in {below} any more")
        return PromotionItem(listed.transition_id, batch_id, planned_at, 1, source=source)

    def _source(self, file: DroppedFile) -> ClaimedFile:
        """A dropped file, wherever it lies now."""
        for place in file.places:
            path = self._layout.root / place
            if difference(path, file.size, file.sha256) is None:
                return ClaimedFile(file.file_id, file.name, path, file.size, path.stat().st_mtime_ns)
        raise CannotMendError(f"the dropped file {file.name} is not there any more, or not as it was")

    @contextmanager
    def _workshop(self) -> Iterator[Layout]:
        """A root to work in, with the transforms of this one, on the same file system; removed afterwards."""
        bench = Layout(self.scratch)
        remove_tree(self.scratch)
        bench.catalog.mkdir(parents=True)
        try:
            bench.transforms.symlink_to(self._layout.transforms)
            yield bench
        finally:
            remove_tree(self.scratch)

    def _promote(
        self, bench: Layout, listed: ListedFile, contract: Contract, item: PromotionItem
    ) -> LayerFile | None:
        bench.generation(listed.layer, listed.key, 1).mkdir(parents=True, exist_ok=True)
        if item.source is not None:
            self._bring(bench, listed, item.source)
        task = PromotionTask(
            bench.root,
            listed.key,
            listed.layer,
            (item,),
            contract,
            1,
            1,
            columns=self._inventory.columns(listed.key),
            released=self._inventory.released(listed.key, listed.file.batch_id),
        )
        return promote(task, lambda: datetime.now(UTC)).items[0].layer_file

    def _bring(self, bench: Layout, listed: ListedFile, source: LayerFile) -> None:
        """Bring the file of the layer below to the bench. Raises CannotMendError when it is damaged itself."""
        below = listed.layer.below
        generation = self._inventory.generation(listed.key, below)
        path = self._layout.generation(below, listed.key, generation) / source.name
        wrong = difference(path, source.size, source.sha256)
        if wrong is not None:
            raise CannotMendError(f"the file below it, {self._layout.relative(path)}, {wrong}")
        copy = bench.generation(below, listed.key, 1) / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():  # it holds other batches too
            return
        try:
            os.link(path, copy)
        except OSError:
            shutil.copyfile(path, copy)


def _other_bytes(listed: ListedFile, contract: Contract) -> str:
    dedup = contract.silver.dedup
    if listed.layer is Layer.SILVER and dedup is not None and dedup.across_batches:
        why = "which of its rows were kept depended on other batches (silver.dedup.across_batches)"
    else:
        why = "a transform, medalliond or Polars has changed since"
    return f"made again it has other bytes than the ledger vouches for: {why}"
