"""The folder catalog/contracts as it stands on disk: each file's contract, or what is wrong with it.

Used by contract_store.py. A file whose stat result is as before is not opened again.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.catalog.contract import Contract
from daemon.catalog.contract_file import ContractFile, parse_contract
from daemon.catalog.contract_yaml import read_marked
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError

EVERY_FILE: Final = ("*",)
_NAME: Final = re.compile(r"\w+(-\w+)*")

Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class Reading:
    """One file: its contract, or an `error` that says what is wrong with it.

    With an error, `wants` is what its `match` asks for as far as that can be read; `*` where it cannot.
    """

    key: TableKey
    signature: Signature | None
    file: ContractFile | None = None
    error: str | None = None
    wants: tuple[str, ...] = ()


def scan(folder: Path, before: Mapping[str, Reading]) -> dict[str, Reading]:
    """Read the contracts in `folder`, by their paths relative to the root, which is two folders above it.

    `before` is the scan before this one. Raises OSError when a folder cannot be listed.
    """
    readings = {}
    for path in _contract_paths(folder):
        origin = path.relative_to(folder.parent.parent).as_posix()
        signature = _signature(path)
        known = before.get(origin)
        unchanged = known is not None and signature is not None and known.signature == signature
        readings[origin] = known if known and unchanged else _read(path, origin, signature)
    return readings


def _contract_paths(folder: Path) -> Iterator[Path]:
    """Yield all that look like contracts: one in a wrong place is to be told of, not passed over."""
    for above, folders, names in os.walk(folder, onerror=_raise_unless_gone):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".yaml", ".yml")) and not name.startswith("."):
                yield Path(above, name)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _signature(path: Path) -> Signature | None:
    """Return what changes whenever the file does; None when it cannot be read or is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path, origin: str, signature: Signature | None) -> Reading:
    domain = (
        path.parent.name if len(Path(origin).parts) > len(("catalog", "contracts", "table.yaml")) else "main"
    )
    key = TableKey(domain, path.stem)
    if signature is None:
        return Reading(key, None, error=f"{origin}: this is not a file that can be read", wants=EVERY_FILE)
    try:
        data = path.read_bytes()
    except OSError as error:
        return Reading(key, None, error=f"{origin}: cannot be read: {error.strerror}", wants=EVERY_FILE)
    try:
        _refuse_wrong_place(origin, key)
        return Reading(key, signature, file=parse_contract(data, origin))
    except ContractError as error:
        return Reading(key, signature, error=str(error), wants=_wanted_globs(data))


def _refuse_wrong_place(origin: str, key: TableKey) -> None:
    right = f"catalog/contracts/{key.domain}/{key.table}.yaml"
    if origin != right:
        raise ContractError(f"{origin}: the contract of {key} belongs at {right}; move it there")
    for name in key:
        if _NAME.fullmatch(name) is None or name != name.lower():
            raise ContractError(
                f"{origin}: no table is called '{name}': use small letters, digits, '_' and '-' in names"
            )


def _wanted_globs(data: bytes) -> tuple[str, ...]:
    """Return the `match` of a contract that is broken elsewhere; every file when it cannot be made out."""
    try:
        values = read_marked(data.decode("utf-8-sig"), "").values
    except (ContractError, UnicodeDecodeError):
        return EVERY_FILE
    if not isinstance(values, dict) or set(values) - set(Contract.model_fields):
        return EVERY_FILE
    globs = values.get("match") or []
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        return EVERY_FILE
    return tuple(globs)
