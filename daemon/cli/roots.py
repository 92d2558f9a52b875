"""Finding one's way in a root: is it one, its ledger opened for reading, the table somebody means.

Used by every command of this package that reads. Reading never changes a root, nor waits for the daemon that
works in it.
"""

import difflib
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LAYERS
from daemon.errors import MedalliondError
from daemon.lake.layout import Layout
from daemon.lake.lost_ledger import refuse_lost_ledger


class WrongRequestError(MedalliondError):
    """Somebody asked for what is not there; the message says what is."""


def open_root(root: Path) -> Layout:
    """Return the layout of a root, its path made absolute. Raises WrongRequestError where there is none."""
    root = root.absolute()
    if not root.is_dir():
        raise WrongRequestError(
            f"{root}: there is no such folder; `medalliond init {shlex.quote(str(root))}` makes it."
        )
    layout = Layout(root)
    if not (layout.landing.is_dir() or layout.ledger.parent.is_dir()):
        raise WrongRequestError(
            f"{root}: this is no medalliond root: it has neither landing/ nor catalog/. "
            f"Name one with --root, or make one with `medalliond init {shlex.quote(str(root))}`."
        )
    return layout


@contextmanager
def open_ledger(layout: Layout) -> Iterator[LedgerViews]:
    """Open a root's ledger for reading. Raises HaltError where there is none or it cannot be used."""
    refuse_lost_ledger(layout)
    views = LedgerViews.open(layout.ledger)
    try:
        yield views
    finally:
        views.close()


def find_table(name: str, known: Collection[TableKey]) -> TableKey:
    """Return the table that `name` means: `domain.table`, `table` where clear, or either with a layer.

    Raises WrongRequestError that names the nearest tables.
    """
    parts = name.split(".")
    if len(parts) > 1 and parts[0] in LAYERS and TableKey(parts[0], parts[1]) not in known:
        parts = parts[1:]
    found = [key for key in known if list(key) == parts or [key.table] == parts]
    if len(found) == 1:
        return found[0]
    if found:
        raise WrongRequestError(f"'{name}' may be {one_of(sorted(map(str, found)))}; say which.")
    raise WrongRequestError(f"there is no table '{name}'. {did_you_mean(name, [str(key) for key in known])}")


def did_you_mean(word: str, choices: Collection[str]) -> str:
    """Return a sentence with the choices nearest to `word`, or with all of them when they are few."""
    near = difflib.get_close_matches(word.lower(), choices, n=3)
    near = near or [choice for choice in choices if choice.rpartition(".")[2] == word.rpartition(".")[2]][:3]
    if near:
        return f"Did you mean {one_of(near)}?"
    if not choices:
        return "There are none yet: put a file into landing/<domain>/<table>/."
    few = sorted(choices)[:10]
    more = f" and {len(choices) - len(few)} more" if len(choices) > len(few) else ""
    return f"There are {', '.join(few)}{more}."


def one_of(names: list[str]) -> str:
    """Return `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
