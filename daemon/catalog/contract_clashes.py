"""What is wrong between contracts that are each right by themselves, and the order of their models.

Two contracts must not want the same dropped file; models must not need each other. Used by contract_store.py.
"""

import graphlib
from collections.abc import Iterable, Iterator, Mapping

from daemon.catalog.contract import Contract
from daemon.catalog.contract_file import ContractFile
from daemon.catalog.globs import globs_overlap, literal_start
from daemon.catalog.promotion import TableKey
from daemon.errors import ContractError

Contracts = Mapping[TableKey, ContractFile]
OwnedGlob = tuple[str, TableKey]


def clashes(contracts: Contracts) -> dict[TableKey, str]:
    """Return what is wrong with each contract that clashes with another one; empty when all is well."""
    return _shared_files(contracts) | _cycle(contracts)


def models_in_order(contracts: Contracts) -> dict[TableKey, Contract]:
    """Return the models, every one after the models it reads. Raises ContractError on a cycle."""
    try:
        order = list(_model_graph(contracts).static_order())
    except graphlib.CycleError as error:
        raise ContractError(f"models need each other: {_drawn(error.args[1])}") from None
    return {key: contracts[key].contract for key in order}


def _shared_files(contracts: Contracts) -> dict[TableKey, str]:
    globs = [(glob, key) for key, file in contracts.items() for glob in file.contract.match]
    found: dict[TableKey, str] = {}
    for one, other in _near_pairs(globs):
        if one[1] != other[1] and globs_overlap(one[0], other[0]):
            found.setdefault(one[1], _shared(contracts, one, other))
            found.setdefault(other[1], _shared(contracts, other, one))
    return found


def _near_pairs(globs: Iterable[OwnedGlob]) -> Iterator[tuple[OwnedGlob, OwnedGlob]]:
    """Yield the pairs of which one's literal start begins the other's; the many others cannot overlap."""
    ordered = sorted((literal_start(owned[0]), owned) for owned in globs)
    for place, (start, one) in enumerate(ordered):
        for further, other in ordered[place + 1 :]:
            if not further.startswith(start):
                break
            yield one, other


def _shared(contracts: Contracts, mine: OwnedGlob, theirs: OwnedGlob) -> str:
    (glob, key), (other, rival) = mine, theirs
    file = contracts[key]
    line = file.marked.line(("match", file.contract.match.index(glob)))
    return (
        f"{file.contract.origin}:{line}: match '{glob}' and '{other}' of "
        f"{contracts[rival].contract.origin} can both fit a file; change one so that it is clear whose it is"
    )


def _cycle(contracts: Contracts) -> dict[TableKey, str]:
    try:
        _model_graph(contracts).prepare()
    except graphlib.CycleError as error:
        cycle: list[TableKey] = error.args[1]
        return {
            key: f"{contracts[key].contract.origin}:{contracts[key].marked.line(('model',))}: "
            f"models need each other: {_drawn(cycle)}"
            for key in cycle
        }
    return {}


def _model_graph(contracts: Contracts) -> graphlib.TopologicalSorter[TableKey]:
    models = {key: file.contract.model for key, file in sorted(contracts.items()) if file.contract.model}
    graph: graphlib.TopologicalSorter[TableKey] = graphlib.TopologicalSorter()
    for key, model in models.items():
        needed = [other for other in models if any(table.means("gold", *other) for table in model.reads)]
        graph.add(key, *needed)
    return graph


def _drawn(cycle: list[TableKey]) -> str:
    return " -> ".join(f"gold.{key}" for key in cycle)
