"""YAML with its line numbers: text to plain values, and the line on which each of them stands.

Only YAML 1.2's own words are anything but text: `NO` is a country, and 2024-01-31 stays as written. Keys are
always text, as written, and none may stand twice. Used by contract_file.py.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from daemon.errors import ContractError

Location = tuple[str | int, ...]
"""The way from the top to a value: keys, and places in lists from 0."""

_TAGS = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the plain words of YAML 1.2 instead of 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML keeps its table of words on each class


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(_TAGS + _kind, re.compile(f"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True)
class MarkedValues:
    """What a file says: `values` (dicts, lists, plain values) and the line, from 1, of each location."""

    values: object
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """Return the line of `location`, or of the nearest value around it that the file has."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_marked(text: str, origin: str) -> MarkedValues:
    """Parse YAML `text`. Raises ContractError with `origin` and the line for whatever is not plain YAML."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        reader = _Reader(origin)
        return MarkedValues(None if node is None else reader.value(node, ()), reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ContractError(f"{origin}:{line}: this is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ContractError(f"{origin}:{line}: this is not YAML: a character that is no text") from None
    except RecursionError:
        raise ContractError(f"{origin}:1: values stand too deep inside one another") from None


class _Reader:
    """Turns PyYAML's nodes into values and notes their lines. `origin` goes into the messages."""

    def __init__(self, origin: str) -> None:
        self.lines: dict[Location, int] = {}
        self._origin = origin
        self._open: set[int] = set()

    def value(self, node: yaml.Node, location: Location) -> object:
        self.lines.setdefault(location, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._error(node, "this value contains itself")
        self._open.add(id(node))
        value = (
            self._list(node, location)
            if isinstance(node, yaml.SequenceNode)
            else self._mapping(node, location)
        )
        self._open.remove(id(node))
        return value

    def _list(self, node: yaml.SequenceNode, location: Location) -> list[object]:
        return [self.value(item, (*location, place)) for place, item in enumerate(node.value)]

    def _mapping(self, node: yaml.Node, location: Location) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be plain text")
            key = str(key_node.value)
            if key in values:
                first = self.lines[(*location, key)]
                raise self._error(
                    key_node, f"key '{key}' stands here a second time; the first is on line {first}"
                )
            self.lines[(*location, key)] = _line(key_node)
            values[key] = self.value(value_node, (*location, key))
        return values

    def _scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        text, tag = str(node.value), node.tag.removeprefix(_TAGS)
        if tag not in _MEANINGS:
            raise self._error(node, f"tag '{node.tag}' means nothing here; put the text in quotes")
        try:
            return _MEANINGS[tag](text)
        except ValueError:
            raise self._error(node, f"this cannot be read as {tag}; put it in quotes if it is text") from None

    def _error(self, node: yaml.Node, message: str) -> ContractError:
        return ContractError(f"{self._origin}:{_line(node)}: {message}")


_MEANINGS: dict[str, Callable[[str], str | int | float | bool | None]] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": float,
}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
