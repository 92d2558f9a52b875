"""Requests and their answers as files of `catalog/requests/`. Written by cli, read and answered by scheduling."""

import json
from pathlib import Path

from pydantic import ValidationError

from daemon.catalog.requests import Answer, Request
from daemon.lake.durable import TEMPORARY, make_directories, remove_tree, write_bytes
from daemon.lake.layout import Layout

_ANSWER = ".answer.json"


def post(layout: Layout, request: Request) -> None:
    """Put a request where the daemon looks, durably. Raises OSError."""
    make_directories(layout.requests)
    write_bytes(_path(layout, request.request_id), request.model_dump_json(indent=1).encode() + b"\n")


def waiting(layout: Layout) -> list[Request | Answer]:
    """The requests without an answer, oldest first; one that nobody can read comes as the answer it deserves.

    Raises OSError where the disk refuses: that is no answer to what was asked.
    """
    if not layout.requests.is_dir():
        return []
    names = sorted(path.name for path in layout.requests.iterdir() if path.suffix == ".json")
    asked = [name.removesuffix(".json") for name in names if not name.endswith(_ANSWER)]
    return [_read(layout, name) for name in asked if f"{name}{_ANSWER}" not in names]


def answer(layout: Layout, answered: Answer) -> None:
    """Put an answer beside its request. Raises OSError."""
    write_bytes(
        layout.requests / f"{answered.request_id}{_ANSWER}",
        answered.model_dump_json(indent=1).encode() + b"\n",
    )


def remove_unfinished(layout: Layout) -> int:
    """Remove answers that a death cut short, and return how many; requests are others' to write. Raises OSError."""
    unfinished = list(layout.requests.glob(f"*{_ANSWER}.*{TEMPORARY}"))
    for path in unfinished:
        remove_tree(path)
    return len(unfinished)


def read_answer(layout: Layout, request_id: str) -> Answer | None:
    """The answer to a request, None as long as there is none."""
    try:
        return Answer.model_validate_json((layout.requests / f"{request_id}{_ANSWER}").read_bytes())
    except FileNotFoundError:
        return None


def clear(layout: Layout, request_id: str) -> None:
    """Remove a request and its answer, once the person has read it."""
    remove_tree(layout.requests / f"{request_id}{_ANSWER}")
    remove_tree(_path(layout, request_id))


def _read(layout: Layout, name: str) -> Request | Answer:
    try:
        return Request.model_validate_json(_path(layout, name).read_bytes())
    except (ValidationError, json.JSONDecodeError, PermissionError, IsADirectoryError) as error:
        return Answer(request_id=name, accepted=False, message=f"this request cannot be read: {error}")


def _path(layout: Layout, request_id: str) -> Path:
    return layout.requests / f"{request_id}.json"
