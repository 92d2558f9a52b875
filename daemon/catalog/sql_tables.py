"""Which tables an SQL statement reads, found from its words alone: the parent need not import an SQL engine.

Used by contract.py for the inputs of gold models. The rule: a name that begins with a layer and stands where
FROM or JOIN, or a comma after them, wants a table. Comments and quoted text are skipped; names may be quoted.
A name that is found but not read costs a needless refresh; one in a place not named here is not found.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

LAYERS: Final = frozenset({"staged", "bronze", "silver", "gold"})

_WORD = re.compile(
    r"""(?P<skipped>--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<name>(?:[^\W\d]\w*|"(?:[^"]|"")*")(?:\s*\.\s*(?:[^\W\d]\w*|"(?:[^"]|"")*"))*)
      | (?P<sign>[(),;])""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(r'"((?:[^"]|"")*)"|(\w+)')
_BEFORE_A_TABLE = frozenset({"from", "join", "pivot", "unpivot"})
_AFTER_THE_TABLES = frozenset(
    {
        "select",
        "where",
        "group",
        "having",
        "window",
        "qualify",
        "order",
        "limit",
        "union",
        "except",
        "intersect",
    }
)


class TableReference(NamedTuple):
    """A table as SQL names it. `domain` is None in `gold.sales`: the table `sales` of whatever domain."""

    layer: str
    domain: str | None
    table: str

    def __str__(self) -> str:
        """As people write it: `gold.noc.dim_noc`."""
        return ".".join(part for part in self if part is not None)

    def means(self, layer: str, domain: str, table: str) -> bool:
        """Whether this may be the table `domain.table` of `layer`."""
        return (self.layer, self.table) == (layer, table) and self.domain in (None, domain)


def reference(parts: Sequence[str]) -> TableReference | None:
    """Make a reference of `(layer, domain, table)` or `(layer, table)`; None when `parts` is neither."""
    if len(parts) not in {2, 3} or not all(parts) or parts[0].lower() not in LAYERS:
        return None
    return TableReference(parts[0].lower(), parts[1] if parts[2:] else None, parts[-1])


def tables_in(sql: str) -> tuple[TableReference, ...]:
    """Return the tables of any layer that `sql` reads, each once, in the order of their first mention."""
    found = (reference(_parts(name)) for name in _table_places(sql))
    return tuple(dict.fromkeys(table for table in found if table is not None))


def _parts(name: str) -> list[str]:
    return [quoted.replace('""', '"') if quoted else plain.lower() for quoted, plain in _PART.findall(name)]


def _table_places(sql: str) -> Iterator[str]:
    """Yield every name that stands where a table is wanted: after FROM, JOIN, or a comma of their list."""
    wanted = False
    listing = [False]  # for each open bracket: is a list of tables being read?
    for match in _WORD.finditer(sql):
        word = match["name"] or match["sign"]
        if word is None:
            continue
        if word == "(":
            listing.append(wanted)
        elif word == ")":
            listing = listing[:-1] or [False]
            wanted = False
        elif word == ",":
            wanted = listing[-1]
        elif word.lower() in _BEFORE_A_TABLE:
            wanted = listing[-1] = True
        elif word.lower() in _AFTER_THE_TABLES:
            wanted = listing[-1] = False
        elif wanted and word.lower() not in {"lateral", "only"}:
            yield word
            wanted = False
