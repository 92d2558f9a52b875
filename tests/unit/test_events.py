"""The events: their names are well formed, and what the code logs is what docs/events.md promises."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import daemon
from daemon.events import Event

LOGGING_CALLS = {"debug", "info", "warning", "error", "critical", "exception"}
PYTHONS_OWN = {"exc_info", "stack_info"}


def logging_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every `log.<level>(Event.NAME, …)` in the program, with its place."""
    for file in sorted(Path(daemon.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                f"log.{name}" for name in LOGGING_CALLS
            }:
                yield f"{file.name}:{node.lineno}", node


@pytest.mark.parametrize("event", list(Event))
def test_a_name_is_snake_case_and_explained(event: Event) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", event)
    assert event == event.name.lower()
    assert event.meaning
    assert len(set(event.fields)) == len(event.fields)


def test_everything_that_is_logged_is_one_of_the_events() -> None:
    for place, call in logging_calls():
        assert "Event." in ast.unparse(call.args[0]) or ast.unparse(call.args[0]) == "event", place


def test_every_event_that_is_promised_is_logged_somewhere() -> None:
    sources = [
        file.read_text("utf-8")
        for file in Path(daemon.__file__).parent.rglob("*.py")
        if file.name != "events.py"
    ]
    said = set(re.findall(r"\bEvent\.([A-Z_]+)\b", "\n".join(sources)))
    assert set(Event.__members__) <= said


def test_a_logged_field_is_one_that_the_event_promises() -> None:
    missing = []
    for place, call in logging_calls():
        name = ast.unparse(call.args[0]).removeprefix("Event.")
        if name in Event.__members__:
            written = {keyword.arg for keyword in call.keywords if keyword.arg} - PYTHONS_OWN
            extra = written - set(Event[name].fields)
            missing += [f"{place}: {name} has no field {field}" for field in sorted(extra)]
    assert missing == []
