"""`medalliond version`: what is installed, and the version of a root's ledger."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon.cli.output import print_json, print_line
from daemon.cli.roots import open_ledger
from daemon.lake.layout import Layout

_FOUNDATIONS = ("polars", "duckdb", "pydantic", "apscheduler", "watchdog", "pebble")


def show_version(root: Path, *, as_json: bool) -> None:
    """Print the versions; the ledger's is null where `root` has none."""
    layout = Layout(root.absolute())
    ledger = None
    if layout.ledger.exists():
        with open_ledger(layout) as views:
            ledger = views.version()
    versions = {
        "medalliond": _version("medalliond"),
        "ledger": ledger,
        "python": platform.python_version(),
        **{name: _version(name) for name in _FOUNDATIONS},
    }
    if as_json:
        print_json(versions)
        return
    for name, number in versions.items():
        print_line(f"{name} {'-' if number is None else number}")


def _version(package: str) -> str | None:
    """Return the version of an installed package; None for a source tree that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
