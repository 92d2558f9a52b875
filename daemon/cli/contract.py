"""`medalliond contract`: contracts checked before the daemon meets them, or shown with their defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from daemon.catalog.columns import TableColumns
from daemon.catalog.contract import CastRule, Contract
from daemon.catalog.contract_file import parse_contract
from daemon.catalog.contract_store import ContractStore
from daemon.catalog.promotion import TableKey
from daemon.cli.inventory import open_inventory
from daemon.cli.output import count, print_json, print_line
from daemon.cli.roots import find_table, open_ledger, open_root
from daemon.errors import ContractError, gist
from daemon.lake.layout import Layout


def check_contracts(root: Path, files: tuple[Path, ...], *, as_json: bool) -> int:
    """Print every mistake in `files`, or in all contracts, and return the exit status: 1 for any."""
    layout = open_root(root)
    mistakes = _mistakes(layout, files)
    checked = len(files) or len(_contract_files(layout))
    if as_json:
        found = [
            {"path": path, "mistakes": message.splitlines()}
            for path, message in sorted(mistakes.items())
            if message
        ]
        print_json({"checked": checked, "broken": found})
    else:
        for message in mistakes.values():
            print_line(message)
        if not mistakes:
            print_line(f"{count(checked, 'contract')}: nothing wrong")
    return int(bool(mistakes))


def show_contract(root: Path, table: str, *, as_json: bool) -> None:
    """Print the contract in force for a table. Raises ContractError when it is broken."""
    layout = open_root(root)
    key = find_table(table, _known_tables(layout))
    store = ContractStore(layout.contracts)
    store.reload()
    contract = store.get(key)
    learned = _learned(layout, key) if contract.learns else TableColumns()
    shown = _shown(key, learned.under(contract) if learned.columns else contract)
    shown["learned"] = plain_casts(learned.rules)
    if as_json:
        print_json(shown)
        return
    where = contract.origin or "none: what holds for a table without a contract"
    print_line(f"# {key}: {where}, version {shown['version']}")
    print_line(yaml.safe_dump(shown["contract"], sort_keys=False, allow_unicode=True, width=110).rstrip())
    if learned.rules:
        print_line(
            f"# learned from what was delivered so far; `medalliond contract adopt {key}` makes it a contract:"
        )
        lines = yaml.safe_dump(shown["learned"], sort_keys=False, allow_unicode=True, width=110).splitlines()
        print_line("\n".join(f"#   {line}" for line in lines))


def _learned(layout: Layout, key: TableKey) -> TableColumns:
    """What is known of the table's columns."""
    if not layout.ledger.exists():
        return TableColumns()
    with open_inventory(layout) as inventory:
        return inventory.columns(key)


def _mistakes(layout: Layout, files: tuple[Path, ...]) -> dict[str, str]:
    """Return what is wrong, by the path of the contract."""
    store = ContractStore(layout.contracts)
    store.reload()
    found = {}
    for file in files or _contract_files(layout):
        path = file.absolute()
        origin = layout.relative(path) if path.is_relative_to(layout.contracts) else str(file)
        message = store.broken.get(origin) or _mistake(layout, path, origin)
        if message:
            found[origin] = message
    return found if files else {**store.broken, **found}


def _mistake(layout: Layout, path: Path, origin: str) -> str | None:
    """Return what is wrong with one contract by itself, transforms included; None when nothing is."""
    try:
        contract = parse_contract(path.read_bytes(), origin).contract
        _try_transforms(layout, contract)
        _try_checks(contract)
        _try_sql(contract)
    except ContractError as error:
        return str(error)
    except OSError as error:
        return f"{origin}: cannot be read: {error.strerror}"
    return None


def _try_transforms(layout: Layout, contract: Contract) -> None:
    names = [*contract.silver.transforms, *contract.gold.transforms]
    if contract.model is not None and contract.model.function is not None:
        names.append(contract.model.function)
    if names:
        from daemon.pipeline.transforms import load_transforms  # noqa: PLC0415 - polars, for those who need it only

        load_transforms(names, layout.transforms, contract.origin)


def _try_checks(contract: Contract) -> None:
    """Raise ContractError for a check whose SQL is none; whether its columns are there, only data can tell."""
    if contract.silver.checks:
        from daemon.pipeline.silver import condition  # noqa: PLC0415 - polars, for those who need it only

        for check in contract.silver.checks:
            condition(check, contract.origin)


def _try_sql(contract: Contract) -> None:
    """Raise ContractError where gold or a model is computed by what is no SQL."""
    if contract.gold.sql is not None:
        import polars as pl  # noqa: PLC0415 - for those who need it only

        try:
            pl.SQLContext(silver=pl.LazyFrame()).execute(contract.gold.sql, eager=False)
        except (pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError) as error:
            raise ContractError(f"{contract.origin}: gold.sql is no SQL: {gist(error)}") from error
    if contract.model is not None and contract.model.sql is not None:
        import duckdb  # noqa: PLC0415 - for those who need it only

        try:
            duckdb.extract_statements(contract.model.sql)
        except duckdb.ParserException as error:
            raise ContractError(f"{contract.origin}: model.sql is no SQL: {gist(error)}") from error


def _contract_files(layout: Layout) -> list[Path]:
    return sorted(layout.contracts.rglob("*.yaml"))


def _known_tables(layout: Layout) -> set[TableKey]:
    """Tables that have a contract, and those that the ledger knows."""
    known = {TableKey(path.parent.name, path.stem) for path in _contract_files(layout)}
    if layout.ledger.exists():
        with open_ledger(layout) as views:
            known.update(views.tables())
    return known


def _shown(key: TableKey, contract: Contract) -> dict[str, Any]:
    unused = {"model"} if contract.model is None else set(Contract.model_fields) - {"description", "model"}
    return {
        "domain": key.domain,
        "table": key.table,
        "origin": contract.origin or None,
        "version": contract.version,
        "contract": _plain(contract, unused),
    }


def _plain(contract: Contract, unused: set[str]) -> dict[str, Any]:
    """Return the contract as it would be written: casts in their short form, no key for what is found out."""
    plain: dict[str, Any] = contract.model_dump(mode="json", exclude=unused, exclude_none=True)
    if "bronze" in plain:
        plain["bronze"]["cast"] = plain_casts(contract.bronze.cast)
    return plain


def plain_casts(casts: Mapping[str, CastRule]) -> dict[str, Any]:
    """Return casts as they would be written: in their short form where they have no options."""
    rules = {column: rule.model_dump(mode="json", exclude_defaults=True) for column, rule in casts.items()}
    return {column: rule["type"] if set(rule) == {"type"} else rule for column, rule in rules.items()}
