"""`medalliond undo`, `redo` and `rebuild`: asking the daemon for a change, and waiting until readers see it.

A request is a file in catalog/requests/. The daemon that works on the root answers it; where none does, one is started
here that takes nothing from landing and stops when the change is made.
"""

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from daemon.catalog.contract_store import ContractStore
from daemon.catalog.identity import new_id
from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.ledger.lock import lock_holder
from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import TableKey
from daemon.catalog.requests import Request
from daemon.catalog.transition import Layer
from daemon.cli.lineage import deliveries
from daemon.cli.output import print_line
from daemon.cli.roots import WrongRequestError, find_table, one_of, open_ledger, open_root
from daemon.lake.generations import is_shown
from daemon.lake.layout import Layout
from daemon.lake.requests import clear, post, read_answer
from daemon.logs import configure
from daemon.service import Service
from daemon.settings import load_settings

_T = TypeVar("_T")
_PATIENCE = 30.0
"""Seconds until a daemon that works on the root must have answered."""
_LOOK = 0.1
_BROKEN_OFF = "but was broken off: `medalliond run` or `drain` goes on with it, `medalliond status` tells how it stands."


def undo_delivery(root: Path, delivery: str, *, why: str, wait: bool) -> int:
    """Take a delivery back; returns the exit status."""
    return _move(root, delivery, "undo", "ingested", why=why, wait=wait)


def redo_delivery(root: Path, delivery: str, *, why: str, wait: bool) -> int:
    """Bring an undone delivery back; returns the exit status."""
    return _move(root, delivery, "redo", "undone", why=why, wait=wait)


def rebuild_table(root: Path, table: str, base: str, *, why: str, wait: bool) -> int:
    """Make a table's layers above `base` anew; returns the exit status."""
    layout = open_root(root)
    with open_ledger(layout) as views:
        key = find_table(table, views.tables())
        batches = tuple(views.batches_with_rows(key)) if base == Layer.LANDING else None
    contracts = ContractStore(layout.contracts)
    contracts.reload()
    if key in contracts.models():
        raise WrongRequestError(
            f"{key} is a model: it is made anew by itself, as a whole, when its contract or an input has changed."
        )
    request = request_for(key, "rebuild", base=Layer(base), batches=batches, why=why)
    return carry_out(layout, request, wait=wait)


def request_for(key: TableKey, act: str, **what: object) -> Request:
    """A new request about a table."""
    return Request.model_validate(
        {
            "request_id": new_id(),
            "act": act,
            "domain": key.domain,
            "table": key.table,
            "asked_at": datetime.now(UTC),
            **what,
        }
    )


def carry_out(layout: Layout, request: Request, *, wait: bool) -> int:
    """Ask, and with `wait` stay until it is done; prints what came of it and returns the exit status."""
    post(layout, request)
    alone = lock_holder(layout.lock) is None
    if alone:
        _work_alone(layout)
    answer = _until(lambda: read_answer(layout, request.request_id), 0.0 if alone else _PATIENCE)
    key = TableKey(request.domain, request.table)
    if answer is None:
        hindrance = _BROKEN_OFF if alone else "but the daemon does not answer: see `medalliond status`."
        print_line(f"{request.act} of {key} is asked for, {hindrance}")
        return 1
    clear(layout, request.request_id)
    if not answer.accepted:
        raise WrongRequestError(answer.message)
    if answer.rebuild_id is None or not wait:
        print_line(f"{answer.message}.")
        return 0
    return _await(layout, f"{request.act} of {key}", key, answer.rebuild_id, 0.0 if alone else None)


def _move(
    root: Path, delivery: str, act: Literal["undo", "redo"], state: str, *, why: str, wait: bool
) -> int:
    layout = open_root(root)
    with open_ledger(layout) as views:
        files = _meant(views, layout, delivery, state)
        sheets = [
            sheet for file in files for sheet in views.files.sheets_of(file.file_id) if sheet.state == state
        ]
    by_batch: dict[str, list[KnownFile]] = {}
    for file in [*files, *sheets]:
        by_batch.setdefault(file.batch_id, []).append(file)
    statuses = [
        carry_out(
            layout,
            request_for(one[0].key, act, files=tuple(file.file_id for file in one), why=why),
            wait=wait,
        )
        for one in by_batch.values()
    ]
    return max(statuses)


def _meant(views: LedgerViews, layout: Layout, delivery: str, state: str) -> Sequence[KnownFile]:
    """The dropped files that `delivery` means and that are in the right state."""
    known = views.files.of_batch(delivery) or deliveries(views, layout, delivery)
    if not known and "!" in delivery:
        packed = delivery.rpartition("!")[0]
        raise WrongRequestError(
            f"'{delivery}' is no delivery of its own; '{packed}' is taken back as a whole, if it came."
        )
    if not known:
        raise WrongRequestError(
            f"there is no batch and no dropped file '{delivery}'. `medalliond lineage TABLE` lists what there is."
        )
    files = [file for file in known if file.state == state]
    if not files:
        raise WrongRequestError(f"{delivery}: it is {known[0].state.replace('_', ' ')}, not {state}.")
    batches = {file.batch_id: f"{file.batch_id} ({file.name})" for file in files}
    if len(batches) > 1:
        named = one_of([batches[batch] for batch in sorted(batches)])
        raise WrongRequestError(f"'{delivery}' came more than once; say which batch: {named}.")
    return files


def _work_alone(layout: Layout) -> None:
    """Be the daemon for as long as the change takes."""
    settings = load_settings({"root": layout.root, "log_level": "error"}, os.environ)
    configure(settings.log_format, settings.log_level, settings.log_file)
    Service(settings).drain(lambda _: None, takes=False)


def _await(layout: Layout, act: str, key: TableKey, rebuild_id: str, patience: float | None) -> int:
    """Return the exit status once readers see the change; `patience` is in seconds, None for as long as it takes."""
    with open_ledger(layout) as views:

        def ended() -> tuple[str, str | None] | None:
            found = views.rebuild(rebuild_id)
            return found if found and found[0] in {"done", "failed"} else None

        def shown() -> bool | None:  # folders follow the ledger, a moment later
            own = [layer for layer in views.layers() if layer.key == key]
            return all(is_shown(layout, layer.layer, key, layer.generation) for layer in own) or None

        found = _until(ended, patience)
        if found is None:
            print_line(f"{act} is under way, {_BROKEN_OFF}")
            return 1
        state, error = found
        if state == "failed":
            raise WrongRequestError(f"{act} failed, and the table is as it was: {error}")
        if _until(shown, _PATIENCE) is None:
            print_line(
                f"{act}: done, but not shown in data/ yet: see `medalliond status` for what hinders it."
            )
            return 1
    print_line(f"{act}: done.")
    return 0


def _until(found: Callable[[], _T | None], seconds: float | None) -> _T | None:
    """What `found` gives as soon as it gives something; None when it does not in time."""
    until = None if seconds is None else time.monotonic() + seconds
    while (result := found()) is None and (until is None or time.monotonic() < until):
        time.sleep(_LOOK)
    return result
