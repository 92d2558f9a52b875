"""What people ask of the daemon: one JSON file a request in `catalog/requests/`, one beside it with the answer.

Written by the command line, answered by scheduling. A request is carried out at most once: the ledger writes its id
down together with what it changes.
"""

from typing import Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

from daemon.catalog.transition import Layer

Act = Literal["rebuild", "undo", "redo", "replay", "release", "discard"]


class RecordId(NamedTuple):
    """A record that was set aside: the file it came in, its number there, and the rule that caught it."""

    batch_id: str
    source_file: str
    source_row: int
    rule: str


class Request(BaseModel):
    """One request about a table. Frozen.

    `files` are ids of dropped files (undo, redo, replay, discard), `batches` those to be made anew (rebuild, replay),
    above `base`; `records` those released or discarded. `why` is what the person says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str
    act: Act
    domain: str
    table: str
    files: tuple[int, ...] = ()
    batches: tuple[str, ...] | None = None
    base: Layer = Layer.STAGED
    records: tuple[RecordId, ...] = ()
    why: str = ""
    asked_at: AwareDatetime


class Answer(BaseModel):
    """What became of a request: `message` for people; `rebuild_id` where a rebuild carries it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str
    accepted: bool
    message: str
    rebuild_id: str | None = None
