"""Transition records held against each other, against the layer files they made, and against the lineage files.

Called by `audit.proof`. The sum of each record is checked by its model; here hop is held against hop: what
went into one is what came out of the one below.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from pydantic import ValidationError

from daemon.audit.findings import Mend, Problem, Report
from daemon.audit.layers import removing
from daemon.catalog.compaction import is_merged_name
from daemon.catalog.ledger.inventory import LedgerInventory, ListedFile, PlannedHop
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LAYERS, Layer, LayerTransitionLog
from daemon.lake.durable import TEMPORARY
from daemon.lake.layout import Layout
from daemon.lake.lineage import read_transition, transition_path, write_transition

_LEDGER = "restore the root from a backup, and report this: the ledger contradicts itself"
_WITHDRAWN = frozenset({"split", "set_aside"})


@dataclass(frozen=True, slots=True)
class History:
    """All that was done to a batch: its records, its committed files by layer, the hops it still waits for."""

    batch_id: str
    state: str | None
    logs: Sequence[LayerTransitionLog]
    files: Mapping[Layer, ListedFile]
    planned: frozenset[Layer]

    def standing(self, layer: Layer) -> LayerTransitionLog | None:
        """The record that counts in a layer: the one that made its file, else the newest nothing has superseded."""
        made = [log for log in self.logs if log.target_layer == layer and log.status != "failed"]
        if layer in self.files:
            return next((log for log in made if log.transition_id == self.files[layer].transition_id), None)
        superseded = {log.supersedes for log in made}
        return next((log for log in reversed(made) if log.transition_id not in superseded), None)


def contradictions(history: History) -> Iterator[str]:
    """Yield what does not fit in the history of a batch."""
    for log in history.logs:
        if log.kind == "promotion":
            yield from _broken_chain(log, history.logs)
    if history.state in _WITHDRAWN:
        yield from (f"it is {history.state}, yet has a file in {layer}" for layer in history.files)
    elif history.state in {"open", "done"}:
        yield from _lost_rows(history)
    for layer, listed in history.files.items():
        made = history.standing(layer)
        if made is None:
            yield f"no record tells how its file in {layer} was made"
        elif made.row_count_out != listed.file.rows or not _may_be(listed.file.name, made.target_file):
            yield f"{layer}: its record and its file differ ({made.transition_id})"


def _broken_chain(log: LayerTransitionLog, logs: Sequence[LayerTransitionLog]) -> Iterator[str]:
    """What one record says it read or replaced must be what another made."""
    if log.supersedes is not None and not any(
        other.transition_id == log.supersedes and other.target_layer == log.target_layer for other in logs
    ):
        yield f"{log.transition_id} supersedes {log.supersedes}, which is not there"
    if log.status == "failed" and log.source_layer == "landing":
        return
    if log.source_layer == "landing":
        if sum(source.rows for source in log.source_files) != log.row_count_in:
            yield f"{log.transition_id}: its files do not hold the {log.row_count_in} rows that went in"
        return
    path = log.source_files[0].path if log.source_files else None
    if not any(
        below.target_layer == log.source_layer
        and below.row_count_out == log.row_count_in
        and (path is None or _may_be(path, below.target_file))
        for below in logs
    ):
        yield f"{log.transition_id}: {log.row_count_in} rows went into {log.target_layer}, but none came out below so"


def _lost_rows(history: History) -> Iterator[str]:
    """Yield where rows that stand in a layer neither went on nor wait to."""
    if history.standing(Layer.STAGED) is None and Layer.STAGED not in history.planned:
        yield "it was never staged and nothing is planned for it"
    for layer in LAYERS:
        log, above = history.standing(layer), layer.above
        if log is None:
            continue
        if log.row_count_out and layer not in history.files:
            yield f"{layer}: {log.transition_id} made {log.row_count_out} rows, but no file is listed"
        if above is None or above in history.planned:
            continue
        if not log.row_count_out:  # what is recorded above was made of rows that it had before
            if above in history.files:
                yield f"no row stands in {layer}, yet there is a file in {above}"
            return
        upper = history.standing(above)
        if upper is None:
            yield f"{log.row_count_out} rows stand in {layer}, and nothing is planned to carry them on"
        elif upper.row_count_in != log.row_count_out:
            yield f"{log.row_count_out} rows came out of {layer}, {upper.row_count_in} went into {above}"


class HistoryAudit:
    """Looks at every batch of every table, and at catalog/lineage."""

    def __init__(self, layout: Layout, inventory: LedgerInventory) -> None:
        self._layout = layout
        self._inventory = inventory
        self._known: set[str] = set()

    def run(self, report: Report) -> None:
        """Add to `report` what is there and what is wrong."""
        files: dict[TableKey, dict[str, dict[Layer, ListedFile]]] = {}
        for listed in self._inventory.batch_files():
            files.setdefault(listed.key, {}).setdefault(listed.file.batch_id, {})[listed.layer] = listed
        planned = self._inventory.planned()
        for key in self._inventory.views.tables():
            self._table(key, files.get(key, {}), planned, report)
            self._known.update(name for _, name, _ in self._inventory.records(key.shadow))
        report.problems.extend(self._strangers())

    def _table(
        self,
        key: TableKey,
        files: Mapping[str, Mapping[Layer, ListedFile]],
        planned: set[PlannedHop],
        report: Report,
    ) -> None:
        states = self._inventory.batch_states(key)
        unseen = set(states) | set(files)
        for batch_id, records in groupby(self._inventory.records(key), itemgetter(0)):
            unseen.discard(batch_id)
            logs = [log for _, name, text in records if (log := self._log(name, text, report)) is not None]
            waiting = frozenset(hop for hop in LAYERS if PlannedHop(key, hop, batch_id) in planned)
            history = History(batch_id, states.get(batch_id), logs, files.get(batch_id, {}), waiting)
            report.problems.extend(self._ledger_problem(found, batch_id) for found in contradictions(history))
            report.checked["batches"] += 1
        for batch_id in sorted(unseen):
            waiting = frozenset(hop for hop in LAYERS if PlannedHop(key, hop, batch_id) in planned)
            history = History(batch_id, states.get(batch_id), (), files.get(batch_id, {}), waiting)
            report.problems.extend(self._ledger_problem(found, batch_id) for found in contradictions(history))
            report.checked["batches"] += 1

    def _log(self, transition_id: str, text: str, report: Report) -> LayerTransitionLog | None:
        """Read one record, and hold its lineage file against it."""
        self._known.add(transition_id)
        report.checked["transitions"] += 1
        try:
            log = LayerTransitionLog.model_validate_json(text)
        except ValidationError as error:
            found = f"transition {transition_id}: {error.errors()[0]['msg']}"
            report.problems.append(self._ledger_problem(found))
            return None
        problem = self._lineage_problem(log)
        if problem is None:
            report.checked["lineage files"] += 1
        else:
            report.problems.append(problem)
        return log

    def _lineage_problem(self, log: LayerTransitionLog) -> Problem | None:
        path = transition_path(self._layout, log.transition_id)
        try:
            if read_transition(path) == log:
                return None
            found = "differs from the ledger"
        except FileNotFoundError:
            found = "is missing"
        except (ValidationError, OSError):
            found = "cannot be read"
        next_step = "`--repair` writes it again from the ledger"
        return Problem("lineage", self._layout.relative(path), found, next_step, self._writing(log))

    def _writing(self, log: LayerTransitionLog) -> Mend:
        def mend() -> None:
            write_transition(self._layout, log)

        return mend

    def _strangers(self) -> Iterator[Problem]:
        if not self._layout.lineage.is_dir():
            return
        for path in sorted(self._layout.lineage.iterdir()):
            shown = self._layout.relative(path)
            if path.name.endswith(TEMPORARY):
                next_step = "`--repair` removes it"
                yield Problem("leftover", shown, "was never finished", next_step, removing(path))
            elif path.stem not in self._known:
                yield Problem(
                    "lineage", shown, "is not in the ledger", "move it away: the daemon did not do this"
                )

    def _ledger_problem(self, found: str, batch_id: str | None = None) -> Problem:
        about = f"batch {batch_id}: {found}" if batch_id else found
        return Problem("ledger", self._layout.relative(self._layout.ledger), about, _LEDGER)


def _may_be(path: str, made: str | None) -> bool:
    """Whether a file may hold the rows that a record says were written to `made`.

    It is that file; a compaction has merged it with others since, or taken it out again, then it is called after the batch.
    """
    name, was = path.rpartition("/")[2], (made or "").rpartition("/")[2]
    return is_merged_name(name) or name.partition(".")[0] == was.partition(".")[0]
