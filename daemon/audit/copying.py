"""A consistent copy of a root while a daemon works in it. Called by the command `backup`.

The ledger is copied first, as it stands at one instant; then every file that copy lists is brought beside it.
What the daemon moved meanwhile is looked for where the live ledger says it lies now; where it is gone for
good (a delivery taken back, a model made anew), the ledger is copied once more and only what differs is
brought. The ledger gets its name last: a copy without one is not finished.
"""

import errno
import os
import shutil
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemon.audit.findings import CannotMendError, difference
from daemon.audit.tables import missing_metadata
from daemon.catalog.ledger.inventory import DroppedFile, LedgerInventory, ListedFile
from daemon.catalog.transition import LayerTransitionLog
from daemon.errors import RetryLaterError
from daemon.lake.archive import PRIVATE_FOLDER
from daemon.lake.durable import make_directories, publish, sync_directory, sync_files, temporary_beside
from daemon.lake.generations import ensure_generation
from daemon.lake.layout import Layout
from daemon.lake.lineage import transition_path, write_transition
from daemon.lake.set_aside import reason_path

_ROUNDS = 20
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Copied:
    """What a finished copy holds: rows of layer files, all files, bytes; and how often the ledger was copied."""

    rows: int
    files: int
    bytes: int
    rounds: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file of the copy: what makes it that file, where it goes, and where it may be found, the likeliest first.

    `place` is relative to the root. A file that is not `needed` is left out where it is gone.
    """

    identity: Hashable
    place: Path
    size: int
    found: Callable[[], Iterable[Path]]
    sha256: str | None = None
    needed: bool = True


class _GoneError(Exception):
    """A file that the copied ledger lists is not there any more."""


class RootCopy:
    """Copies the root of `layout` to that of `copy`, an empty folder; `tell` hears the bytes of every file brought."""

    def __init__(self, layout: Layout, copy: Layout, tell: Callable[[int], None]) -> None:
        self._layout = layout
        self._copy = copy
        self._tell = tell
        self._brought: dict[Hashable, Path] = {}

    def run(self) -> Copied:
        """Make the copy. Raises OSError, and RetryLaterError where the daemon is always faster."""
        for folder in (self._copy.landing / ".claimed", self._copy.data, self._copy.lineage):
            make_directories(folder)
        snapshot = self._copy.ledger.with_name(f"{self._copy.ledger.name}.tmp")
        with LedgerInventory.open(self._layout.ledger) as live:
            for number in range(1, _ROUNDS + 1):
                snapshot.unlink(missing_ok=True)
                live.copy_to(snapshot)
                with LedgerInventory.open(snapshot) as taken, suppress(_GoneError):
                    wanted = self._bring_all(taken, live)
                    copied = self._finish(taken, wanted, number)
                    break
            else:
                raise RetryLaterError(
                    f"{self._layout.root}: files were replaced faster than they could be copied, {_ROUNDS} times. "
                    "Nothing was left behind; try again when less is going on."
                )
        publish(snapshot, self._copy.ledger)
        return copied

    def _copy_small_files(self) -> None:
        """Copy contracts, transforms, settings and table metadata: people edit some of them in place, so no links."""
        ignore = shutil.ignore_patterns("*.tmp", "__pycache__")
        for source, target in (
            (self._layout.contracts, self._copy.contracts),
            (self._layout.transforms, self._copy.transforms),
            (self._layout.tables, self._copy.tables),
        ):
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, ignore=ignore)
        settings = self._layout.root / "medalliond.toml"
        if settings.exists():
            shutil.copy2(settings, self._copy.root)

    def _bring_all(self, taken: LedgerInventory, live: LedgerInventory) -> dict[Hashable, _Wanted]:
        """Bring every file that the copied ledger lists. Raises _GoneError."""
        wanted = {}
        for file in _wanted(self._layout, taken, live):
            if self._bring(file):
                wanted[file.identity] = file
        return wanted

    def _bring(self, file: _Wanted) -> bool:
        """Make sure that the copy has a file in its place; False where it may be left out and is gone."""
        target = self._copy.root / file.place
        before = self._brought.get(file.identity)
        if before == target:
            return True
        make_directories(target.parent, PRIVATE_FOLDER)
        if before is not None:
            before.rename(target)
        elif not self._fetch(file, target):
            if file.needed:
                raise _GoneError(str(file.place))
            return False
        self._brought = {name: path for name, path in self._brought.items() if path != target}
        self._brought[file.identity] = target
        return True

    def _fetch(self, file: _Wanted, target: Path) -> bool:
        for source in file.found():
            target.unlink(missing_ok=True)
            try:
                _link_or_copy(source, target)
            except FileNotFoundError:
                continue
            if file.sha256 is None or difference(target, file.size, file.sha256) is None:
                self._tell(file.size)
                return True
        target.unlink(missing_ok=True)
        return False

    def _finish(self, taken: LedgerInventory, wanted: dict[Hashable, _Wanted], number: int) -> Copied:
        """Complete what the ledger stands for, remove what only an earlier round wanted, make all of it durable."""
        for identity in self._brought.keys() - wanted.keys():
            self._brought.pop(identity).unlink()
        self._copy_small_files()
        rows = 0
        for totals in taken.views.layers():
            ensure_generation(self._copy, totals.layer, totals.key, totals.generation)
            rows += totals.rows
        for problem in missing_metadata(self._copy, taken):  # a table's first commit, a moment ago
            if problem.mend is not None:
                with suppress(CannotMendError):
                    problem.mend()
        files = [*self._brought.values(), *self._write_lineage(taken)]
        sync_files(files)
        for folder in {path.parent for path in files}:
            sync_directory(folder)
        return Copied(rows, len(wanted), sum(file.size for file in wanted.values()), number)

    def _write_lineage(self, taken: LedgerInventory) -> Iterator[Path]:
        for key in taken.views.tables():
            for _, transition_id, record in taken.records(key):
                write_transition(self._copy, LayerTransitionLog.model_validate_json(record))
                yield transition_path(self._copy, transition_id)


def _wanted(layout: Layout, taken: LedgerInventory, live: LedgerInventory) -> Iterator[_Wanted]:
    """Yield every file the copied ledger lists, those that are soonest gone first."""
    later = []
    for listed in taken.layer_files():
        if listed.is_model:
            yield _layer_file(layout, live, listed)
        else:
            later.append(listed)
    for file in taken.dropped_files():
        yield from _dropped_file(layout, live, file)
    for listed in later:
        yield _layer_file(layout, live, listed)
    for name, rows in taken.quarantine_files():
        yield _Wanted((name, rows), Path(name), 0, partial(_only, layout.root / name))


def _layer_file(layout: Layout, live: LedgerInventory, listed: ListedFile) -> _Wanted:
    path = layout.generation(listed.layer, listed.key, listed.generation) / listed.file.name

    def found() -> Iterator[Path]:
        yield path
        generation = live.generation(listed.key, listed.layer)
        yield layout.generation(listed.layer, listed.key, generation) / listed.file.name

    # a model is replaced under its name; every other name has one content for good
    sha256 = listed.file.sha256 if listed.is_model else None
    identity = (listed.key, listed.layer, listed.file)
    return _Wanted(identity, path.relative_to(layout.root), listed.file.size, found, sha256)


def _dropped_file(layout: Layout, live: LedgerInventory, file: DroppedFile) -> Iterator[_Wanted]:
    if file.state == "undone":
        for part in ("", "-quarantine"):
            path = layout.undone(file.key) / f"{file.file_id}{part}.parquet"
            place = path.relative_to(layout.root)
            yield _Wanted((file.file_id, f"undone{part}"), place, 0, partial(_only, path), needed=False)
    if not file.places:
        return

    def found() -> Iterator[Path]:
        yield from (layout.root / place for place in file.places)
        now = live.dropped_file(file.file_id)
        if now is not None:
            yield from (layout.root / place for place in now.places)

    needed = file.state != "claiming" and not file.is_kept
    yield _Wanted(
        file.file_id, file.places[0], file.size, found, file.sha256 if file.is_kept else None, needed
    )
    if file.at_rest and file.state == "set_aside":
        reason = reason_path(layout.root / file.places[0])
        place = reason.relative_to(layout.root)
        yield _Wanted((file.file_id, "reason"), place, 0, partial(_only, reason), needed=False)


def _only(path: Path) -> list[Path]:
    return [path]


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be. Raises FileNotFoundError where it is gone."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        with temporary_beside(target) as temporary:
            shutil.copy2(source, temporary, follow_symlinks=False)
            temporary.rename(target)
