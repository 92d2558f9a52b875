"""A contract's file read into a Contract, or one ContractError that names every mistake with its line.

Used by contract_store.py and `contract check`. A mistake reads
`catalog/contracts/d/t.yaml:12: unknown key 'renam' in bronze; did you mean 'rename'?`.
"""

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from daemon.catalog.complaints import complaint
from daemon.catalog.contract import Contract
from daemon.catalog.contract_yaml import Location, MarkedValues, read_marked
from daemon.catalog.key_hints import model_at
from daemon.errors import ContractError


@dataclass(frozen=True)
class ContractFile:
    """A contract and the lines of its file on which its parts stand."""

    contract: Contract
    marked: MarkedValues


def parse_contract(data: bytes, origin: str) -> ContractFile:
    """Read the bytes of a contract; `origin` is its path relative to the root. Raises ContractError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ContractError(f"{origin}:{line}: this is not UTF-8; save the file as UTF-8") from None
    marked = read_marked(text, origin)
    if marked.values is None:
        raise ContractError(f"{origin}:1: this file is empty; write a description at least, or delete it")
    try:
        contract = Contract.model_validate(_without_blanks(marked.values, ()))
    except ValidationError as error:
        raise ContractError(_explain(error, marked, origin)) from None
    return ContractFile(
        contract.stamped(version=hashlib.sha256(data).hexdigest()[:12], origin=origin), marked
    )


def _without_blanks(values: object, location: Location) -> object:
    """Drop the keys of sections that have nothing after the colon: they mean the same as an absent key."""
    if isinstance(values, list):
        return [_without_blanks(item, (*location, place)) for place, item in enumerate(values)]
    if not isinstance(values, dict):
        return values
    section = model_at(Contract, location) is not None
    return {
        key: _without_blanks(value, (*location, key))
        for key, value in values.items()
        if value is not None or not section
    }


def _explain(error: ValidationError, marked: MarkedValues, origin: str) -> str:
    """Say each mistake once, in the order of the file, one a line."""
    mistakes: dict[Location, tuple[int, str]] = {}
    for details in error.errors(include_url=False):
        location = _known(details["loc"], marked)
        mistakes.setdefault(location, (marked.line(location), complaint(Contract, details, location)))
    return "\n".join(f"{origin}:{line}: {reason}" for line, reason in sorted(mistakes.values()))


def _known(location: Location, marked: MarkedValues) -> Location:
    """Cut off what pydantic adds for the branches of a union and for keys: the file has no such place."""
    while location and location not in marked.lines:
        location = location[:-1]
    return location
