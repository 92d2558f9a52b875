"""Carries out what people ask for by `undo`, `redo`, `rebuild` and `quarantine replay|release|discard`.

Called regularly by the service's parts. What is asked for becomes a plan of the ledger; the chain does the rest.
"""

from collections.abc import Callable

import structlog

from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild, RebuildKind
from daemon.catalog.requests import Answer, Request
from daemon.catalog.transition import Layer
from daemon.events import Event
from daemon.lake.layout import Layout
from daemon.lake.requests import answer, waiting
from daemon.scheduling.clock import utc_now

log = structlog.get_logger(__name__)


class RefusedRequestError(Exception):
    """What is asked for cannot be done; the message says why and what to do instead."""


class RequestDesk:
    """Answers requests. `wake` is told when the chain has something to do."""

    def __init__(self, ledger: Ledger, layout: Layout, wake: Callable[[], None]) -> None:
        self._ledger = ledger
        self._layout = layout
        self._wake = wake

    def look(self) -> None:
        """Answer everything that waits. Raises OSError and RetryLaterError: it is looked at again then."""
        for request in waiting(self._layout):
            answered = request if isinstance(request, Answer) else self._carry_out(request)
            answer(self._layout, answered)
            log.info(
                Event.REQUEST_ANSWERED,
                request_id=answered.request_id,
                accepted=answered.accepted,
                message=answered.message,
            )
            self._wake()

    def _carry_out(self, request: Request) -> Answer:
        key = TableKey(request.domain, request.table)
        acts: dict[str, Callable[[TableKey, Request], str | None]] = {
            "rebuild": self._rebuild,
            "undo": self._undo,
            "redo": self._redo,
            "replay": self._replay,
            "release": self._judge,
            "discard": self._judge,
        }
        try:
            known = self._ledger.rebuilds.is_known(request.request_id)  # asked for, but never answered
            rebuild_id = request.request_id if known else acts[request.act](key, request)
        except RefusedRequestError as error:
            return Answer(request_id=request.request_id, accepted=False, message=str(error))
        return Answer(
            request_id=request.request_id,
            accepted=True,
            message=f"{request.act} of {key}: {'under way' if rebuild_id else 'done'}",
            rebuild_id=rebuild_id,
        )

    def _rebuild(self, key: TableKey, request: Request) -> str:
        return self._ask(key, request, "rebuild", request.base, batches=_batches(request))

    def _undo(self, key: TableKey, request: Request) -> str:
        files = self._ledger.rebuilds.files(request.files)
        for file in files:
            if file.state != "ingested":
                raise RefusedRequestError(
                    f"{file.name} is {file.state.replace('_', ' ')}, and only what is in gold can be undone"
                )
        return self._ask(
            key,
            request,
            "undo",
            Layer.LANDING,
            batches=frozenset(file.batch_id for file in files),
            files_out=request.files,
        )

    def _redo(self, key: TableKey, request: Request) -> str:
        files = self._ledger.rebuilds.files(request.files)
        for file in files:
            if file.state != "undone":
                raise RefusedRequestError(f"{file.name} was not undone: it is {file.state.replace('_', ' ')}")
            twin = self._ledger.rebuilds.content_is_there(key, file.file_id)
            if twin is not None:
                raise RefusedRequestError(
                    f"{file.name} cannot come back: the table took the same content again as {twin}. Undo that first"
                )
        return self._ask(
            key,
            request,
            "redo",
            Layer.LANDING,
            batches=frozenset(file.batch_id for file in files),
            files_back=request.files,
        )

    def _replay(self, key: TableKey, request: Request) -> str | None:
        if request.files:
            self._ledger.quarantine.replay_files(key, request.files)
        if request.batches:
            return self._ask(key, request, "replay", request.base, batches=_batches(request))
        return None

    def _judge(self, key: TableKey, request: Request) -> str | None:
        """Release records (their batches are made anew, with them), or discard records or files."""
        quarantine = self._ledger.quarantine
        if request.act == "discard":
            quarantine.discard_files(key, request.files, request.why)
            quarantine.decide(key, request.records, "discarded", request.why, utc_now())
            return None
        bound = next((record for record in request.records if not record.rule.startswith("check:")), None)
        if bound is not None:
            raise RefusedRequestError(
                f"{bound.source_file} record {bound.source_row} was caught by {bound.rule}: only a check can be passed "
                "over. Mend the contract or the file, then replay"
            )
        quarantine.decide(key, request.records, "released", request.why, utc_now())
        batches = frozenset(record.batch_id for record in request.records)
        return self._ask(key, request, "replay", Layer.BRONZE, batches=batches)

    def _ask(self, key: TableKey, request: Request, kind: RebuildKind, base: Layer, **what: object) -> str:
        # The request's id is the rebuild's: asked for twice, after a crash, it is still one.
        rebuild = Rebuild(request.request_id, key, kind, base, why=request.why, **what)  # type: ignore[arg-type]
        self._ledger.rebuilds.request(rebuild, utc_now())
        log.info(
            Event.REBUILD_REQUESTED,
            domain=key.domain,
            table=key.table,
            rebuild_id=rebuild.rebuild_id,
            kind=kind,
            why=request.why,
        )
        return rebuild.rebuild_id


def _batches(request: Request) -> frozenset[str] | None:
    return None if request.batches is None else frozenset(request.batches)
