"""`medalliond version`: what is installed, and the version of a root's ledger."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon.catalog.ledger.opening import ledger_version
from daemon.cli.output import print_json, print_line
from daemon.lake.layout import Layout

_FOUNDATIONS = ("polars", "duckdb", "pydantic", "apscheduler", "watchdog", "pebble")


def show_version(root: Path, *, as_json: bool) -> None:
    """Print the versions; the ledger's is null where `root` has none. Raises HaltError where that cannot be read."""
    versions: dict[str, str | int | None] = {
        "medalliond": _version("medalliond"),
        "ledger": None,
        "python": platform.python_version(),
        **{name: _version(name) for name in _FOUNDATIONS},
    }
    path = Layout(root.absolute()).ledger
    try:
        if path.exists():
            versions["ledger"] = ledger_version(path)
    finally:  # what is installed is to be known above all where the ledger is not as it should be
        _print(versions, as_json=as_json)


def _print(versions: Mapping[str, str | int | None], *, as_json: bool) -> None:
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
