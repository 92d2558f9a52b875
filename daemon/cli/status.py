"""`medalliond status`: tables with their rows per layer, what is on its way, what fails, what was set aside.

Everything comes from the ledger but three things it cannot know: the files that still wait in landing, what
is wrong with a contract, and whether a daemon works on the root.
"""

import os
from pathlib import Path
from typing import Any

from daemon.catalog.contract_store import ContractStore
from daemon.catalog.ledger.lock import lock_holder
from daemon.catalog.ledger.views import Failure, LedgerViews
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LAYERS, Layer
from daemon.cli.landing_view import Waiting, waiting_files
from daemon.cli.output import age, on_terminal, print_json, print_line, print_table, printable
from daemon.cli.roots import open_ledger, open_root
from daemon.errors import ContractError
from daemon.lake.layout import Layout
from daemon.lake.lost_ledger import refuse_lost_ledger
from daemon.lake.room import Room
from daemon.settings import load_settings

_NEXT_STEPS = {
    "contract": "edit the contract or transform; it is read again when it is saved",
    "machine": "nothing, once the machine has what it lacks: it is tried again by itself",
    "worker_died": "nothing: the file that does it is tried alone, then set aside",
    "timed_out": "nothing: the file that does it is tried alone, then set aside",
    "too_much_memory": "raise worker_memory in the settings, or wait: the file that does it is tried alone, then set aside",
}
_NEXT_STEP = (
    "it is tried again by itself; the log has the details, and `medalliond doctor` looks at the machine"
)


def show_status(root: Path, *, as_json: bool) -> None:
    """Print how a root stands."""
    layout = open_root(root)
    contracts = ContractStore(layout.contracts)
    contracts.reload()
    refuse_lost_ledger(layout)
    if layout.ledger.exists():
        with open_ledger(layout) as views:
            known = _known(views, contracts)
            waiting = waiting_files(layout, views.kept_in_landing())
    else:
        known = {"tables": [], "failures": [], "rebuilds": [], "files": {}}
        waiting = waiting_files(layout, {})
    pid = lock_holder(layout.lock)
    floor = load_settings({"root": layout.root}, os.environ).floor
    report = {
        "root": str(layout.root),
        "daemon": {"running": pid is not None, "pid": pid},
        "landing": _landing(waiting) | {"no_room": Room(layout, floor).shortage()},
        "broken_contracts": dict(contracts.broken),
        "models_waiting": _models_waiting(contracts, known["tables"]),
        **known,
    }
    if as_json:
        print_json(report)
    else:
        _print(layout, report)


def _models_waiting(contracts: ContractStore, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gold models that are not made because an input has had no data yet, each with those inputs."""
    filled = [
        (layer, table["domain"], table["table"])
        for table in tables
        for layer, rows in table["rows"].items()
        if rows
    ]
    waiting = []
    for key, contract in contracts.models().items():
        reads = contract.model.reads if contract.model else ()
        missing = [str(read) for read in reads if not any(read.means(*name) for name in filled)]
        if missing:
            waiting.append({"domain": key.domain, "table": key.table, "inputs_without_data": missing})
    return waiting


def _outdated(views: LedgerViews, contracts: ContractStore, key: TableKey) -> int:
    """How many batches of a table its present contract was not applied to; none where types are learned."""
    try:
        contract = contracts.get(key)
    except ContractError:
        return 0
    if contract.learns or contract.model is not None:
        return 0
    return views.batches_under_another_contract(key, contract.version)


def _known(views: LedgerViews, contracts: ContractStore) -> dict[str, Any]:
    in_flight = views.batches_in_flight()
    files, rules = views.files_set_aside(), views.quarantined_by_rule()
    rows = {(totals.key, totals.layer): totals.rows for totals in views.layers()}
    return {
        "tables": [
            {
                "domain": key.domain,
                "table": key.table,
                "rows": {str(layer): rows.get((key, layer), 0) for layer in LAYERS},
                "batches_in_flight": in_flight.get(key, 0),
                "quarantined_records": sum(rows for (table, _), rows in rules.items() if table == key),
                "quarantined_by_rule": {
                    rule: count for (table, rule), count in rules.items() if table == key
                },
                "files_set_aside": files.get(key, 0),
                "batches_under_another_contract": _outdated(views, contracts, key),
            }
            for key in views.tables()
        ],
        "failures": [
            *map(_failure, views.failures()),
            *(_model_failure(key, error) for key, error in views.model_failures().items()),
        ],
        "rebuilds": views.rebuilds(),
        "files": views.counts(),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "domain": failure.key.domain,
        "table": failure.key.table,
        "batch_id": failure.batch_id,
        "target_layer": str(failure.target),
        "attempt": failure.attempt,
        "kind": failure.kind,
        "error": failure.error,
        "next_step": _NEXT_STEPS.get(failure.kind, _NEXT_STEP),
    }


def _model_failure(key: TableKey, error: str) -> dict[str, Any]:
    return {
        "domain": key.domain,
        "table": key.table,
        "batch_id": None,
        "target_layer": str(Layer.GOLD),
        "attempt": None,
        "kind": "model",
        "error": error,
        "next_step": "edit the model if it is wrong; it is made again after it or an input has changed",
    }


def _landing(waiting: Waiting) -> dict[str, Any]:
    oldest = waiting.oldest
    return {
        "waiting_files": waiting.files,
        "oldest": None if oldest is None else {"file": oldest, "seconds": round(waiting.seconds, 1)},
        "problems": waiting.problems,
    }


def _print(layout: Layout, report: dict[str, Any]) -> None:
    daemon = report["daemon"]
    at_work = f"a daemon is at work (pid {daemon['pid']})" if daemon["running"] else "no daemon is running"
    print_line(f"{layout.root}: {at_work}")
    _print_landing(report)
    if report["tables"]:
        print_table(
            "tables",
            ("table", *map(str, LAYERS), "in flight", "records set aside", "files set aside"),
            (
                (
                    f"{table['domain']}.{table['table']}",
                    *table["rows"].values(),
                    table["batches_in_flight"],
                    table["quarantined_records"],
                    table["files_set_aside"],
                )
                for table in report["tables"]
            ),
        )
    else:
        print_line("no tables yet: put a file into landing/<domain>/<table>/")
    for message in report["broken_contracts"].values():
        print_line(f"contract: {message}")
    for model in report["models_waiting"]:
        inputs = ", ".join(model["inputs_without_data"])
        print_line(
            f"waiting: the model {model['domain']}.{model['table']} is made once there is data in {inputs}"
        )
    for failure in report["failures"]:
        _print_failure(failure)
    for rebuild in report["rebuilds"]:
        _print_rebuild(rebuild)
    for table in report["tables"]:
        _print_notes(table)
    if on_terminal() and any(
        table["quarantined_records"] or table["files_set_aside"] for table in report["tables"]
    ):
        print_line("`medalliond quarantine list` tells what was set aside, and why.")


def _print_notes(table: dict[str, Any]) -> None:
    """What is to be known of a table besides its rows."""
    name = f"{table['domain']}.{table['table']}"
    caught = ", ".join(
        f"{rows:,} by {printable(rule)}" for rule, rows in table["quarantined_by_rule"].items()
    )
    if caught:
        print_line(f"quarantined: {name}: {caught}")
    batches = table["batches_under_another_contract"]
    if batches:
        were = "1 batch was" if batches == 1 else f"{batches:,} batches were"
        next_step = f"`medalliond rebuild {name}` applies the present one"
        print_line(f"contract: {name}: {were} made under another one; {next_step}")


def _print_landing(report: dict[str, Any]) -> None:
    waiting, oldest = report["landing"]["waiting_files"], report["landing"]["oldest"]
    no_room = report["landing"]["no_room"]
    if no_room:
        print_line(f"landing: nothing new is taken in until there is room: {no_room}")
    for problem in report["landing"]["problems"]:
        print_line(f"landing: {printable(problem)}")
    if not oldest:
        print_line("landing: nothing is waiting")
        return
    files = "1 file is" if waiting == 1 else f"{waiting:,} files are"
    print_line(
        f"landing: {files} waiting, the oldest for {age(oldest['seconds'])}: {printable(oldest['file'])}"
    )


def _print_rebuild(rebuild: dict[str, Any]) -> None:
    state = {
        "requested": "is asked for",
        "building": "is under way",
        "failed": "failed; the table is as it was",
    }
    why = f" ({printable(rebuild['why'])})" if rebuild["why"] else ""
    print_line(f"{rebuild['kind']}: {rebuild['domain']}.{rebuild['table']} {state[rebuild['state']]}{why}")
    if rebuild["error"]:
        print_line(f"    {printable(rebuild['error'])}")


def _print_failure(failure: dict[str, Any]) -> None:
    batch = f", batch {failure['batch_id']}, attempt {failure['attempt']}" if failure["batch_id"] else ""
    print_line(f"failing: {failure['domain']}.{failure['table']} -> {failure['target_layer']}{batch}")
    print_line(f"    {failure['kind']}: {printable(failure['error'])}")
    print_line(f"    next: {failure['next_step']}")
