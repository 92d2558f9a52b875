"""The floor: below it there is no room for more, and a little above it there is again."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.lake.layout import Layout
from daemon.lake.room import Floor, Room

GB = 10**9


class Disk:
    """The file system of every folder, as `os.statvfs` shows it."""

    def __init__(self, *, size: int, inodes: int) -> None:
        self.size, self.inodes = size, inodes
        self.free, self.free_inodes = size, inodes

    def statvfs(self, _folder: Path) -> SimpleNamespace:
        return SimpleNamespace(
            f_frsize=1000,
            f_blocks=self.size // 1000,
            f_bavail=self.free // 1000,
            f_files=self.inodes,
            f_favail=self.free_inodes,
        )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name in ("landing", "data", "catalog"):
        (tmp_path / name).mkdir()
    return Layout(tmp_path)


def disk(monkeypatch: pytest.MonkeyPatch, *, size: int = 500 * GB, inodes: int = 10**7) -> Disk:
    disk = Disk(size=size, inodes=inodes)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


def test_once_short_it_stays_so_until_a_quarter_more_than_the_floor_is_free(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, room = disk(monkeypatch), Room(layout, Floor(2 * GB, None))
    shortages = []
    for free in (2 * GB, 2 * GB - 1000, 2 * GB + 1000, 5 * GB // 2, 2 * GB):
        found.free = free
        shortages.append(room.shortage())

    assert [bool(shortage) for shortage in shortages] == [False, True, True, False, False]
    assert shortages[1] == "landing/: 1,999,999,000 bytes are free, the floor is 2,000,000,000"


@pytest.mark.parametrize(("size", "floor"), [(100_000_000, 1_000_000), (50 * GB, GB // 2), (9000 * GB, GB)])
def test_the_floor_of_a_disk_is_a_hundredth_of_it_but_a_gigabyte_at_most(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, size: int, floor: int
) -> None:
    found = disk(monkeypatch, size=size)
    found.free = floor
    assert Room(layout, Floor(None, None)).shortage() is None
    found.free = floor - 1000
    assert Room(layout, Floor(None, None)).shortage()


def test_inodes_run_out_as_well(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = disk(monkeypatch, inodes=50_000)
    found.free_inodes = 499

    assert Room(layout, Floor(None, None)).shortage() == "landing/: 499 inodes are free, the floor is 500"
    assert Room(layout, Floor(None, 400)).shortage() is None


def test_a_file_system_that_makes_inodes_as_needed_has_enough(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, inodes=0)

    assert Room(layout, Floor(None, 100)).shortage() is None
