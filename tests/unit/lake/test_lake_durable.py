"""Durable steps: their order, what a fault leaves, and what a crash's leftovers become."""

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from daemon.lake import durable


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(
    tmp_path: Path, steps: list[str]
) -> None:
    durable.write_bytes(tmp_path / "a.json", b"{}")
    assert steps == ["fsync a.json.tmp", "rename a.json", f"fsync {tmp_path.name}"]
    assert (tmp_path / "a.json").read_bytes() == b"{}"


def test_publishing_replaces_the_file_before_it(tmp_path: Path, steps: list[str]) -> None:
    final = tmp_path / "a.parquet"
    final.write_text("old")
    with durable.temporary_beside(final) as temporary:
        temporary.write_text("new")
        durable.publish(temporary, final)
    assert steps == ["fsync a.parquet.tmp", "rename a.parquet", f"fsync {tmp_path.name}"]
    assert final.read_text() == "new"


def test_every_new_folder_is_synced_in_its_parent(tmp_path: Path, steps: list[str]) -> None:
    durable.make_directories(tmp_path / "a" / "b")
    assert steps == ["mkdir a", f"fsync {tmp_path.name}", "mkdir b", "fsync a"]


def test_folders_that_are_there_cost_no_sync(tmp_path: Path, steps: list[str]) -> None:
    durable.make_directories(tmp_path)
    assert steps == []


def test_a_folder_whose_name_could_not_be_synced_is_not_there_for_the_next_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        durable.make_directories(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(FileExistsError):
        durable.make_directories(tmp_path / "a")


def test_a_failed_sync_is_told_not_tried_again_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_bytes(b"old")
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        durable.write_bytes(tmp_path / "a.json", b"new")
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"old"


def test_when_the_clean_up_fails_too_the_first_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", read_only)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.write_bytes(tmp_path / "a", b"")


def test_a_disk_that_takes_no_more_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.json"):
        durable.write_bytes(tmp_path / "a.json", b"{}")


def test_two_writers_of_one_file_never_share_a_temporary_name(tmp_path: Path) -> None:
    final = tmp_path / "a.parquet"
    with durable.temporary_beside(final) as one, durable.temporary_beside(final) as other:
        assert one != other
        assert {one.parent, other.parent} == {tmp_path}
        assert one.name.startswith("a.parquet.")


def test_a_temporary_file_that_cannot_be_removed_is_told_but_not_in_place_of_the_blocks_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, f"refused, {missing_ok}")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OSError, match="refused"), durable.temporary_beside(tmp_path / "a") as temporary:
        temporary.touch()
    with pytest.raises(ValueError, match="its own"), durable.temporary_beside(tmp_path / "a"):
        raise ValueError("its own")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, os.fsdecode(b"\xff" * 255)])
def test_the_temporary_name_of_a_very_long_name_fits(tmp_path: Path, name: str) -> None:
    durable.write_bytes(tmp_path / name, b"1")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_can_be_closed_to_others(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "a", b"", 0o640)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & ~0o640 == 0


def test_leftovers_of_a_crash_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    (tmp_path / "b.parquet.0011.tmp").touch()
    (tmp_path / "scratch.tmp").mkdir()
    (tmp_path / "scratch.tmp" / "part").touch()
    (tmp_path / "1.22.tmp").symlink_to("nowhere")
    assert durable.remove_leftovers(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    assert durable.remove_leftovers(tmp_path / "none") == 0


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "link").symlink_to("kept")
    durable.remove_tree(tmp_path / "link")
    durable.remove_tree(tmp_path / "link")
    assert (tmp_path / "kept" / "file").exists()
    assert not (tmp_path / "link").is_symlink()


def test_a_few_files_are_synced_one_by_one(tmp_path: Path, steps: list[str]) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.touch()
    durable.sync_files(files)
    assert steps == ["fsync a", "fsync b"]


class _Libc:
    """The C library, but for one answer."""

    def __init__(self, fault: int) -> None:
        self.fault = fault
        self.calls = 0

    def syncfs(self, _: int) -> int:
        self.calls += 1
        ctypes.set_errno(self.fault)
        return -1 if self.fault else 0


@pytest.mark.parametrize("fault", [0, errno.EIO])
def test_many_files_are_synced_at_once_and_a_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    files = [tmp_path / str(number) for number in range(20)]
    for file in files:
        file.touch()
    libc = _Libc(fault)
    monkeypatch.setattr(durable, "_libc", libc)
    if fault:
        with pytest.raises(OSError, match="syncfs"):
            durable.sync_files(files)
    else:
        durable.sync_files(files)
    assert libc.calls == 1


def test_syncing_many_files_really_works_here(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(20)]
    for file in files:
        file.write_text("x")
    durable.sync_files(files)
