"""Where dropped files come to rest once their fate is settled: archive, quarantine, landing again, or nowhere.

Called by the chain, one table at a time. A file is archived only after its rows are durable in gold; a move
that fails is tried again by itself and never ingests anything twice.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from daemon.catalog.contract_store import ContractStore
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.rest import RestLedger, RestlessFile
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError
from daemon.events import Event
from daemon.lake.archive import choose_destination, move_all
from daemon.lake.durable import remove_tree
from daemon.lake.layout import MARKER, Layout
from daemon.lake.receipts import write_receipts
from daemon.lake.set_aside import reason_path, write_reason
from daemon.scheduling.clock import utc_now

log = structlog.get_logger(__name__)

_AT_ONCE = 1000
_TAKEN = frozenset({"ingested", "duplicate", "undone"})
"""Fates of files whose content the table has, or had."""
_LEAVES_QUARANTINE = frozenset({"replayed", "discarded"})
"""Fates of files that lay in quarantine, with their reason beside them."""
_UNTOLD = frozenset({"returned", "undone"}) | _LEAVES_QUARANTINE
"""Fates of which whoever dropped the file is told nothing: it has not come to its end, or was told of before."""


class RestKeeper:
    """Moves settled files out of the claimed folder.

    `policy` (move, keep, delete) and `receipts` hold where a contract says nothing.
    """

    def __init__(
        self, ledger: Ledger, layout: Layout, contracts: ContractStore, *, policy: str, receipts: bool
    ) -> None:
        self._ledger = ledger.rest
        self._layout = layout
        self._root = f"{layout.root}/"
        self._contracts = contracts
        self._policy = policy
        self._receipts = receipts

    def step(self, key: TableKey) -> bool:
        """Bring up to a thousand files of a table to rest. Returns whether there may be more. Raises OSError."""
        files = self._ledger.restless(key, _AT_ONCE)
        if not files:
            return False
        policy, receipts, marked = self._rules(key)
        leaving = [file for file in files if _goes_away(file, policy)]
        staying = [file for file in files if not _goes_away(file, policy)]
        destinations = self._planned(key, staying, policy)
        self._explain(key, staying, destinations)
        for file in files:
            if file.fate in _LEAVES_QUARANTINE:
                remove_tree(reason_path(self._layout.root / file.claimed_path))
        try:
            self._move(staying, destinations)
        except FileExistsError as error:  # somebody put a namesake there since it was chosen: choose again
            self._ledger.plan(
                [(id_, None) for id_, path in destinations.items() if self._root + path == error.filename2]
            )
            raise
        for file in leaving:
            remove_tree(self._layout.root / file.claimed_path)
        if marked:
            self._remove_markers(files)
        if receipts:
            self._write_receipts(key, files, destinations)
        self._ledger.at_rest([file.file_id for file in files])
        self._clear_folders(files)
        archived = sum(file.fate in _TAKEN for file in files)
        if archived:
            log.info(Event.SOURCE_ARCHIVED, domain=key.domain, table=key.table, files=archived, policy=policy)
        return len(files) == _AT_ONCE

    def _move(self, files: Sequence[RestlessFile], destinations: Mapping[int, str]) -> None:
        root, landing = self._root, f"{self._layout.landing.name}/"
        for home in (False, True):
            moves = [
                (root + file.claimed_path, root + destinations[file.file_id])
                for file in files
                if destinations[file.file_id].startswith(landing) is home
            ]
            move_all(moves, private=not home)

    def _rules(self, key: TableKey) -> tuple[str, bool, bool]:
        """The policy, whether receipts are wanted, and whether files come with done-markers."""
        try:
            rules = self._contracts.get(key).landing
        except (
            ContractError
        ):  # while the contract is broken nobody knows what it would say: keep the file safe
            return "move", self._receipts, False
        receipts = self._receipts if rules.receipts is None else rules.receipts
        return rules.archive or self._policy, receipts, rules.done_marker

    def _remove_markers(self, files: Sequence[RestlessFile]) -> None:
        """Remove the done-markers that a death left when it came right after the claim; one of a file in landing stays."""
        for file in files:
            dropped = self._root + file.landing_path
            if not os.path.lexists(dropped):
                with suppress(FileNotFoundError):
                    os.unlink(dropped + MARKER)

    def _write_receipts(
        self, key: TableKey, files: Sequence[RestlessFile], destinations: Mapping[int, str]
    ) -> None:
        """Tell whoever dropped the files what became of each."""
        rejected = self._ledger.rejected_by_file({file.batch_id for file in files if file.fate == "ingested"})
        ended = [file for file in files if file.fate not in _UNTOLD]
        write_receipts(
            (
                self._root + file.landing_path,
                self._receipt(key, file, rejected, destinations.get(file.file_id)),
            )
            for file in ended
        )

    def _receipt(
        self,
        key: TableKey,
        file: RestlessFile,
        rejected: Mapping[tuple[str, str], Mapping[str, int]],
        lies: str | None,
    ) -> dict[str, object]:
        receipt = _receipt(key, file, rejected, lies)
        if file.fate == "duplicate":
            receipt["duplicate_of"] = self._ledger.first_of(key, file)
        return receipt

    def _planned(self, key: TableKey, files: Sequence[RestlessFile], policy: str) -> dict[int, str]:
        """Each file's destination, relative to the root as all paths here; written down before the first move."""
        known = {file.file_id: file.destination for file in files if file.destination}
        fresh: dict[int, str] = {}
        taken = _Taken(self._ledger)
        today = self._layout.relative(self._layout.archive(key, utc_now().date()))
        for file in files:
            if file.file_id in known:
                continue
            if _goes_home(file, policy) and not os.path.lexists(self._root + file.landing_path):
                chosen = file.landing_path
            else:
                folder, name = self._wanted(key, file, policy, today)
                chosen = choose_destination(self._root, folder, name, taken)
            fresh[file.file_id] = chosen
            taken.now.add(chosen)
        if fresh:
            self._ledger.plan(list(fresh.items()))
        return known | fresh

    def _wanted(self, key: TableKey, file: RestlessFile, policy: str, today: str) -> tuple[str, str]:
        """The folder and name a file should rest under."""
        dropped_in, name = os.path.split(file.landing_path)
        if file.fate == "set_aside":
            folder = self._layout.relative(self._layout.quarantine(key))
            return folder, f"{file.batch_id}-{file.ordinal}-{name}"
        if _goes_home(file, policy):
            return dropped_in, name
        return (f"{today}/duplicates" if file.fate == "duplicate" else today), name

    def _explain(self, key: TableKey, files: Sequence[RestlessFile], destinations: dict[int, str]) -> None:
        """Put the reason beside where each refused file will lie."""
        for file in files:
            if file.fate == "set_aside":
                write_reason(
                    self._layout.root / destinations[file.file_id],
                    {
                        "file": file.name,
                        "domain": key.domain,
                        "table": key.table,
                        "batch_id": file.batch_id,
                        "kind": file.kind,
                        "reason": file.reason,
                        "bytes": file.size,
                        "sha256": file.sha256,
                        "set_aside_at": utc_now().isoformat(),
                    },
                )

    def _clear_folders(self, files: Sequence[RestlessFile]) -> None:
        """Remove claimed folders that are empty now; one that a split batch still draws on is not."""
        for folder in {os.path.dirname(file.claimed_path) for file in files}:
            try:
                os.rmdir(self._root + folder)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.ENOENT}:
                    raise


class _Taken:
    """Whether a path already belongs to another file: one planned just `now`, or one the ledger knows."""

    def __init__(self, ledger: RestLedger) -> None:
        self._ledger = ledger
        self.now: set[str] = set()

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self.now or self._ledger.is_taken(path))


def _goes_home(file: RestlessFile, policy: str) -> bool:
    """Whether a file goes back to where it was dropped: to stay, to wait for its other half, or to be taken anew."""
    return file.fate in {"returned", "replayed"} or (policy == "keep" and file.fate in _TAKEN)


def _goes_away(file: RestlessFile, policy: str) -> bool:
    """Whether nothing of a file is kept."""
    return file.fate == "discarded" or (policy == "delete" and file.fate in _TAKEN)


def _receipt(
    key: TableKey, file: RestlessFile, rejected: Mapping[tuple[str, str], Mapping[str, int]], lies: str | None
) -> dict[str, object]:
    by_rule: dict[str, int] = {}
    for (batch_id, source), rules in rejected.items():
        if batch_id == file.batch_id and (source == file.name or source.startswith(f"{file.name}!")):
            for rule, rows in rules.items():
                by_rule[rule] = by_rule.get(rule, 0) + rows
    accepted = "partly accepted" if by_rule else "accepted"
    why = file.reason
    if by_rule and file.fate == "ingested":
        counted = ", ".join(f"{rows:,} {rule}" for rule, rows in by_rule.items())
        why = f"{sum(by_rule.values()):,} of {file.rows:,} records are set aside: {counted}"
    status = {"set_aside": "rejected", "duplicate": "duplicate"}.get(file.fate, accepted)
    return {
        "file": file.name,
        "status": status,
        "why": why,
        "table": str(key),
        "rows": file.rows,
        "rows_quarantined": by_rule,
        "batch_id": file.batch_id,
        "sha256": file.sha256,
        "lies_in": lies,
        "at": utc_now().isoformat(),
    }
