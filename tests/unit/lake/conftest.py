"""What the tests of the lake share: a root, a table, and an ear for what is synced and named when."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.catalog.promotion import TableKey
from daemon.lake.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def key() -> TableKey:
    return TableKey("sales", "orders")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every sync and naming act from here on, as `fsync name`, `rename name`, `link name` and so on."""
    heard: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        heard.append(f"fsync {_plain(str(Path(f'/proc/self/fd/{descriptor}').readlink()))}")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for name, place in {"rename": 1, "link": 1, "unlink": 0, "mkdir": 0}.items():
        monkeypatch.setattr(os, name, _heard(getattr(os, name), name, place, heard))
    return heard


def _heard(act: Callable[..., None], name: str, place: int, heard: list[str]) -> Callable[..., None]:
    def wrapped(*args: str, **options: object) -> None:
        act(*args, **options)
        heard.append(f"{name} {_plain(os.fspath(args[place]))}")

    return wrapped


def _plain(path: str) -> str:
    """A path's last part; the mark of a temporary name is left out."""
    name = Path(path).name
    return f"{name.rsplit('.', 2)[0]}.tmp" if name.endswith(".tmp") else name
