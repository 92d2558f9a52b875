"""`medalliond contract diff` and `contract adopt`: a contract tried on what was delivered, or made of what was learned."""

from pathlib import Path
from typing import Any

import yaml

from daemon.audit.trial import Difference, try_contract
from daemon.catalog.contract_file import parse_contract
from daemon.catalog.ledger.inventory import LedgerInventory
from daemon.catalog.promotion import TableKey
from daemon.cli.contract import plain_casts
from daemon.cli.inventory import open_inventory
from daemon.cli.output import count, print_json, print_line, printable
from daemon.cli.roots import WrongRequestError, find_table, open_root
from daemon.lake.durable import make_directories, write_bytes
from daemon.lake.layout import Layout

_ADOPTED = """\
# What medalliond learned of {key} from its deliveries so far: every value of them fits these types.
# From now on a value that does not is set aside with its record. Columns that are not named stay text.
"""


def diff_contract(root: Path, file: Path, table: str | None, *, as_json: bool) -> None:
    """Print what the contract in `file` would change. Raises ContractError when it is broken."""
    layout = open_root(root)
    if not file.is_file():
        raise WrongRequestError(f"{file}: there is no such file.")
    with open_inventory(layout) as inventory:
        key = _table_of(layout, inventory, file, table)
        contract = parse_contract(file.read_bytes(), str(file)).contract
        if contract.model is not None:
            raise WrongRequestError(f"{file}: this is a model; it is made anew as a whole when it is saved.")
        found = try_contract(layout, inventory, key, contract)
    if as_json:
        print_json({"table": str(key), **_document(found)})
    else:
        _print(key, found)


def adopt_contract(root: Path, table: str) -> None:
    """Write a contract with the learned types. Raises WrongRequestError where the table has one, or learned nothing."""
    layout = open_root(root)
    with open_inventory(layout) as inventory:
        key = find_table(table, inventory.views.tables())
        rules = inventory.columns(key).rules
    path = layout.contracts / key.domain / f"{key.table}.yaml"
    if path.exists():
        raise WrongRequestError(
            f"{path}: {key} has a contract already; `bronze: {{learn: true}}` in it goes on learning."
        )
    if not rules:
        raise WrongRequestError(f"nothing was learned of {key} yet: it has had no rows.")
    casts = {name: rule for name, rule in rules.items() if rule.type != "text"}
    body = yaml.safe_dump(
        {"bronze": {"cast": plain_casts(casts)}}, sort_keys=False, allow_unicode=True, width=110
    )
    make_directories(path.parent)
    write_bytes(path, (_ADOPTED.format(key=key) + body).encode())
    print_line(
        f"{path}: {len(casts)} columns of {len(rules)} have a type of their own. It is in force at once."
    )


def _table_of(layout: Layout, inventory: LedgerInventory, file: Path, table: str | None) -> TableKey:
    if table is not None:
        return find_table(table, inventory.views.tables())
    path = file.absolute()
    if not path.is_relative_to(layout.contracts):
        raise WrongRequestError(f"{file}: say which table it is for, with --table DOMAIN.TABLE.")
    return find_table(f"{path.parent.name}.{path.stem}", inventory.views.tables())


def _document(found: Difference) -> dict[str, Any]:
    return {
        "batches": found.batches,
        "rows_in_gold": {"now": found.rows[0], "then": found.rows[1]},
        "types": {name: {"now": now, "then": then} for name, (now, then) in found.types.items()},
        "newly_quarantined": dict(found.quarantined),
        "released": dict(found.released),
        "refused": dict(found.refused),
    }


def _print(key: TableKey, found: Difference) -> None:
    batches = "batch" if found.batches == 1 else "batches"
    print_line(
        f"{key}, {found.batches:,} {batches}: {found.rows[0]:,} rows in gold now, {found.rows[1]:,} under this contract"
    )
    for name, (now, then) in found.types.items():
        print_line(f"    column {printable(name)}: {now or 'not there'} -> {then or 'not there'}")
    for rule, rows in found.quarantined.items():
        print_line(f"    {printable(rule)}: {count(rows, 'more record')} would be set aside")
    for rule, rows in found.released.items():
        print_line(f"    {printable(rule)}: {count(rows, 'record')} would no longer be set aside")
    for batch, reason in found.refused.items():
        print_line(f"    batch {batch} would be refused: {printable(reason)}")
    if found.types or found.quarantined or found.released or found.refused:
        print_line(
            f"Once it is saved it holds for new deliveries; `medalliond rebuild {key}` applies it to the old ones."
        )
    else:
        print_line("Nothing would change in what was delivered so far.")
