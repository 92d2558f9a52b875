"""The contracts in force: read from catalog/contracts/<domain>/<table>.yaml, and read again when they change.

A broken edit leaves the last good contract in force. A table whose contract never was good has none in force
and is not taken for a table without one: `get` raises. `reload` is called from one thread at a time; all
else may be called from any thread, and sees the contracts before a reload or after it, never a mixture.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from pathlib import Path

from daemon.catalog.contract import NO_CONTRACT, Contract
from daemon.catalog.contract_clashes import clashes, models_in_order
from daemon.catalog.contract_file import ContractFile
from daemon.catalog.contract_scan import Reading, scan
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError

_BARE = Contract()


@dataclass(frozen=True)
class Reload:
    """What a reload found: tables whose contract is another one now, or gone, and what broke.

    Those of `changed` that are `parked` have no contract now that can be used.

    `broken` maps a path relative to the root to what is wrong there and how to mend it. What was broken in
    the same way before is left out (see ContractStore.broken).
    """

    changed: tuple[TableKey, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    parked: frozenset[TableKey] = frozenset()


@dataclass(frozen=True)
class _State:
    """Everything one reload left: replaced as a whole by the next.

    `errors` are by path, `parked` by table (those without a contract in force). `routes` and `held` are
    patterns on file names: whose file it is, and why nobody may take it yet. `unread` says why nothing is
    known at all, as long as the folder never could be read.
    """

    readings: Mapping[str, Reading] = field(default_factory=dict)
    in_force: Mapping[TableKey, ContractFile] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    parked: Mapping[TableKey, str] = field(default_factory=dict)
    routes: tuple[tuple[re.Pattern[str], TableKey], ...] = ()
    held: tuple[tuple[re.Pattern[str], str], ...] = ()
    models: Mapping[TableKey, Contract] = field(default_factory=dict)
    unread: str | None = "the contracts have not been read yet"


class ContractStore:
    """The contracts of the root whose `catalog/contracts` is `folder`; unknown until the first `reload`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = _State()

    def reload(self) -> Reload:
        """Read what has changed on disk. Cheap when nothing has: one stat a file. Never raises."""
        before = self._state
        try:
            readings = scan(self._folder, before.readings)
        except OSError as error:
            message = f"{error.filename}: cannot be listed: {error.strerror}; the contracts stay as they were"
            unread = message if before.unread else None
            self._state = replace(
                before, errors={**before.errors, str(error.filename): message}, unread=unread
            )
            return Reload((), _new(before.errors, self._state.errors))
        if before.unread or readings != before.readings or before.errors.keys() - readings.keys():
            self._state = _decide(readings, before.in_force)
        after = self._state
        tables = before.in_force.keys() | before.parked.keys() | after.in_force.keys() | after.parked.keys()
        changed = tuple(sorted(key for key in tables if _effect(before, key) != _effect(after, key)))
        return Reload(changed, _new(before.errors, after.errors), frozenset(after.parked))

    @property
    def broken(self) -> Mapping[str, str]:
        """All that is wrong now, by path relative to the root."""
        return self._state.errors

    def get(self, key: TableKey) -> Contract:
        """Return the contract in force for `key`, `Contract()` where there is none.

        Raises ContractError when the table has a contract that cannot be used and none that could be before.
        """
        state = self._known()
        if key in state.parked:
            raise ContractError(state.parked[key])
        return state.in_force[key].contract if key in state.in_force else _BARE

    def route(self, file_name: str) -> TableKey | None:
        """Return the table whose `match` fits a file put straight into landing/; None when none does.

        Raises ContractError when that cannot be told until a broken contract is mended: the file must wait.
        """
        state = self._known()
        for pattern, key in state.routes:
            if pattern.fullmatch(file_name):
                return key
        for pattern, message in state.held:
            if pattern.fullmatch(file_name):
                raise ContractError(message)
        return None

    def models(self) -> Mapping[TableKey, Contract]:
        """Return the gold models in force, each after the models it reads."""
        return self._state.models

    def _known(self) -> _State:
        state = self._state
        if state.unread is not None:
            raise ContractError(state.unread)
        return state


def _decide(readings: Mapping[str, Reading], before: Mapping[TableKey, ContractFile]) -> _State:
    """Choose the contracts in force: what was read, or what was in force before where that is broken.

    Whatever is new and clashes is refused, until what is left fits together; what was in force before does.
    """
    errors = {origin: reading.error for origin, reading in readings.items() if reading.error is not None}
    present = {reading.key for reading in readings.values()}
    in_force = {key: file for key, file in before.items() if key in present}
    in_force |= {reading.key: reading.file for reading in readings.values() if reading.file is not None}
    while refused := _new_clashes(in_force, before):
        for key, why in refused.items():
            errors[in_force.pop(key).contract.origin] = why
            if key in before:
                in_force[key] = before[key]
    parked = {
        readings[origin].key: why for origin, why in errors.items() if readings[origin].key not in in_force
    }
    return _State(
        readings=readings,
        in_force=in_force,
        errors=errors,
        parked=parked,
        routes=tuple(
            (_pattern(glob), key) for key in sorted(in_force) for glob in in_force[key].contract.match
        ),
        held=tuple(_held(readings.values(), parked)),
        models=models_in_order(in_force),
        unread=None,
    )


def _new_clashes(
    in_force: Mapping[TableKey, ContractFile], before: Mapping[TableKey, ContractFile]
) -> dict[TableKey, str]:
    def is_new(key: TableKey) -> bool:
        return key not in before or before[key].contract.version != in_force[key].contract.version

    return {key: why for key, why in clashes(in_force).items() if is_new(key)}


def _held(
    readings: Iterable[Reading], parked: Mapping[TableKey, str]
) -> Iterator[tuple[re.Pattern[str], str]]:
    """Yield the patterns of the files that wait for the parked contracts."""
    for reading in readings:
        if reading.key in parked:
            wants = reading.file.contract.match if reading.file else reading.wants
            yield from ((_pattern(glob), parked[reading.key]) for glob in wants)


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def _effect(state: _State, key: TableKey) -> str:
    """Return what tells one contract in force from another, for the eyes of the table."""
    if key in state.parked:
        return "parked"
    return state.in_force[key].contract.version if key in state.in_force else NO_CONTRACT


def _new(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    return {path: why for path, why in after.items() if before.get(path) != why}
