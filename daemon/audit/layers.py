"""Layer files, their generations and links, held against the ledger. Called by `audit.proof`."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from daemon.audit.findings import Mend, Problem, Report, difference, side_by_side
from daemon.audit.remaking import Remaker
from daemon.catalog.ledger.inventory import LedgerInventory, ListedFile
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake.durable import TEMPORARY, remove_tree
from daemon.lake.generations import point_link
from daemon.lake.layout import Layout
from daemon.lake.parquet import count_rows

_BACKUP = "`--repair` makes it again from the layer below if that gives the same bytes; else restore it from a backup"
_MODEL = (
    "`medalliond drain` makes it again if it is due; if it stays so, edit its contract: a comment will do"
)
_REMOVE = "`--repair` removes it"


class LayerAudit:
    """Looks at data/.generations and the links to it."""

    def __init__(
        self, layout: Layout, inventory: LedgerInventory, remaker: Remaker, tell: Callable[[int], None]
    ) -> None:
        self._layout = layout
        self._inventory = inventory
        self._remaker = remaker
        self._tell = tell
        self._names: dict[tuple[Layer, TableKey], set[str]] = defaultdict(set)

    def run(self, report: Report) -> None:
        """Add to `report` what is there and what is wrong."""
        for problem in side_by_side(self._look, self._listed(report)):
            report.problems.append(problem)
        for key, layer in self._inventory.miscounted():
            report.problems.append(
                Problem(
                    "totals",
                    f"catalog/{self._layout.ledger.name}",
                    f"the totals of {layer} {key} are not the sums over its files",
                    "restore the ledger from a backup",
                )
            )
        for key, layer, name in self._inventory.mismerged():
            report.problems.append(
                Problem(
                    "totals",
                    f"catalog/{self._layout.ledger.name}",
                    f"the totals of {name} in {layer} {key} are not the sums over its batches",
                    "restore the ledger from a backup",
                )
            )
        for totals in self._inventory.views.layers():
            report.checked["links"] += 1
            report.problems.extend(self._link(totals.layer, totals.key, totals.generation))
        self._expect_uncommitted()
        report.problems.extend(self._strangers())

    def _listed(self, report: Report) -> Iterator[ListedFile]:
        for listed in self._inventory.layer_files():
            self._names[listed.layer, listed.key.real].add(listed.file.name)
            report.checked["layer files"] += 1
            report.checked["rows"] += listed.file.rows
            report.checked["bytes"] += listed.file.size
            yield listed

    def _look(self, listed: ListedFile) -> list[Problem]:
        path = self._layout.generation(listed.layer, listed.key, listed.generation) / listed.file.name
        found = difference(path, listed.file.size, listed.file.sha256)
        self._tell(listed.file.size)
        if found is not None:
            shown = self._layout.relative(path)
            if listed.is_model:
                return [Problem("layer file", shown, found, _MODEL)]
            return [Problem("layer file", shown, found, _BACKUP, self._remaker.mend(listed))]
        try:
            rows = count_rows(path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            found = f"cannot be read as Parquet: {error}"
        else:
            if rows == listed.file.rows:
                return []
            found = f"has {rows} rows, the ledger says {listed.file.rows}"
        return [Problem("layer file", self._layout.relative(path), found, "restore the root from a backup")]

    def _link(self, layer: Layer, key: TableKey, generation: int) -> Iterator[Problem]:
        link = self._layout.layer_link(layer, key)
        target = Path(os.path.relpath(self._layout.generation(layer, key, generation), link.parent))

        def mend() -> None:
            point_link(self._layout, layer, key, generation)

        path = self._layout.relative(link)
        if not os.path.lexists(link):
            yield Problem("link", path, "is missing", "`--repair`, or the next start, makes it", mend)
        elif not link.is_symlink():
            yield Problem(
                "link",
                path,
                f"is no link to {target}",
                "move it away, then `--repair` makes the link: a copy of the root must keep symbolic links",
            )
        elif link.readlink() != target:
            found = f"shows {link.readlink()}, the ledger says {target}"
            yield Problem("link", path, found, "`--repair`, or the next start, puts it right", mend)

    def _expect_uncommitted(self) -> None:
        """A hop that was cut short may have published its file: the next start removes it, so it must be told."""
        self._uncommitted = {
            (layer, key.real, f"{batch_id}.parquet")
            for key, target, batch_id in self._inventory.planned()
            for layer in (target, *target.all_above)
            if f"{batch_id}.parquet" not in self._names[layer, key.real]
        }

    def _strangers(self) -> Iterator[Problem]:
        removals = self._inventory.removals()
        being_filled = self._inventory.shadow_generations()
        for folder in sorted(self._layout.data.glob(".generations/*/*/*")):
            layer, key = Layer(folder.parts[-3]), TableKey(*folder.parts[-2:])
            current = self._inventory.generation(key, layer)
            for entry in sorted(folder.iterdir()):
                if self._layout.relative(entry) in removals or (key, layer, entry.name) in being_filled:
                    continue
                if entry.name == str(current):
                    yield from self._strange_files(entry, layer, key, removals)
                elif entry.name.isdecimal():
                    found = f"is another generation than the published one, {current}"
                    yield self._leftover(entry, found, _REMOVE)
                else:
                    yield self._leftover(entry, "is no generation", _REMOVE)

    def _strange_files(
        self, folder: Path, layer: Layer, key: TableKey, removals: set[str]
    ) -> Iterator[Problem]:
        for path in sorted(folder.iterdir()):
            name = path.name
            if name in self._names[layer, key] or self._layout.relative(path) in removals:
                continue
            if name.endswith(TEMPORARY):
                yield self._leftover(path, "was never finished", _REMOVE)
            elif (layer, key, name) in self._uncommitted:
                yield self._leftover(path, "was never committed", _REMOVE)
            else:
                yield Problem(
                    "orphan",
                    self._layout.relative(path),
                    "is not in the ledger, yet readers of the folder count its rows",
                    "move it out of data/, unless somebody put it there on purpose",
                )

    def _leftover(self, path: Path, found: str, next_step: str) -> Problem:
        return Problem("leftover", self._layout.relative(path), found, next_step, removing(path))


def removing(path: Path) -> Mend:
    """Return what removes `path` with all it holds."""

    def mend() -> None:
        remove_tree(path)

    return mend
