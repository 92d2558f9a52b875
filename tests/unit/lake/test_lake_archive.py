"""Moving for good: the names chosen, and a crash at every step of the move."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.lake.archive import choose_destination, move_all


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "claimed" / "0-a.csv"
    path.parent.mkdir()
    path.write_text("x,y\n1,2\n")
    return path


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "archive" / "2026-03-01" / "a.csv"


@pytest.fixture
def cannot_link(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """Make the source's file system another one than the destination's."""
    real = os.link

    def link(one: Path, other: Path, *, follow_symlinks: bool) -> None:
        if Path(one) == source and not os.path.lexists(other):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(one, other, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", link)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


def test_a_free_name_is_kept(tmp_path: Path) -> None:
    assert choose_destination(str(tmp_path), "", "a.csv", ()) == "a.csv"


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("a.csv", "a~3.csv"),
        ("a.csv.gz", "a~3.csv.gz"),
        ("a.2024.csv", "a.2024~3.csv"),
        ("README", "README~3"),
        (".hidden", ".hidden~3"),
        ("a.no ending of a file", "a.no ending of a file~3"),
        ("été.csv", "été~3.csv"),
        (os.fsdecode(b"caf\xe9.csv"), os.fsdecode(b"caf\xe9~3.csv")),
    ],
)
def test_a_name_on_disk_or_in_the_ledger_gets_a_number(tmp_path: Path, name: str, chosen: str) -> None:
    (tmp_path / name).touch()
    second = choose_destination(str(tmp_path), "", name, ())
    assert choose_destination(str(tmp_path), "", name, {second}) == chosen


def test_a_dangling_link_is_a_namesake_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("nowhere")
    assert choose_destination(str(tmp_path), "", "a.csv", ()) == "a~2.csv"


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".csv", "id-" * 20 + "é" * 125 + ".csv.gz", os.fsdecode(b"\xff" * 255)]
)
def test_a_name_that_would_be_too_long_is_cut_before_its_ending(tmp_path: Path, name: str) -> None:
    first = choose_destination(str(tmp_path), "", name, ())
    (tmp_path / first).touch()
    second = choose_destination(str(tmp_path), "", name, ())
    (tmp_path / second).touch()
    assert len({first, second}) == 2
    assert Path(second).suffix == Path(name).suffix
    second.removesuffix(".gz").encode(errors="surrogateescape").decode(errors="surrogateescape")


def test_a_cut_never_halves_a_character(tmp_path: Path) -> None:
    for length in (200, 201, 202):
        chosen = choose_destination(str(tmp_path), "", "x" * length + "é" * 40 + ".csv", ())
        chosen.encode()  # would raise for half a character


def test_a_file_moves_under_its_chosen_name(source: Path, destination: Path) -> None:
    move_all([(source, destination)])
    assert destination.read_text() == "x,y\n1,2\n"
    assert _files(source.parent) == []


def test_content_then_the_new_name_are_durable_before_the_old_name_goes(
    source: Path, destination: Path, steps: list[str]
) -> None:
    destination.parent.mkdir(parents=True)
    steps.clear()
    move_all([(source, destination)])
    assert steps == ["link a.csv", "fsync a.csv", "fsync 2026-03-01", "unlink 0-a.csv", "fsync claimed"]


def test_every_folder_is_synced_once_however_many_files_move(tmp_path: Path, steps: list[str]) -> None:
    moves = []
    for number in range(20):
        path = tmp_path / f"in{number % 2}" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        moves.append((path, tmp_path / "out" / str(number)))
    (tmp_path / "out").mkdir()
    steps.clear()
    move_all(moves)
    syncs = [step for step in steps if step.startswith("fsync")]
    assert syncs[0] == "fsync out"
    assert sorted(syncs[1:]) == ["fsync in0", "fsync in1"]
    assert len(_files(tmp_path / "out")) == 20


def test_a_move_that_is_done_may_be_repeated(source: Path, destination: Path) -> None:
    move_all([(source, destination)])
    source.parent.rmdir()
    move_all([(source, destination)])
    assert destination.read_text() == "x,y\n1,2\n"


def test_a_namesake_is_never_replaced_and_the_file_stays(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.write_text("another")
    with pytest.raises(FileExistsError) as told:
        move_all([(source, destination)])
    assert Path(told.value.filename2) == destination
    assert destination.read_text() == "another"
    assert source.exists()


def test_a_namesake_of_the_same_length_is_no_copy_of_ours(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.write_text("x,y\n1,3\n")
    with pytest.raises(FileExistsError):
        move_all([(source, destination)])


def test_a_link_in_the_destinations_place_is_a_namesake(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.symlink_to(source)
    with pytest.raises(FileExistsError):
        move_all([(source, destination)])
    assert source.exists()


def test_a_file_that_is_nowhere_is_told(source: Path, destination: Path) -> None:
    source.unlink()
    with pytest.raises(FileNotFoundError, match="neither the file nor its destination"):
        move_all([(source, destination)])


def _kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], bool]:
    """Die at the entry of call `step` (from 0) that changes the disk; the answer says whether we did."""
    count = 0

    def wrap(act: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count > step:  # a dead process does nothing more
                raise KilledError
            return act(*args, **options)

        return wrapped

    for name in ("link", "unlink", "rename", "fsync", "mkdir", "chmod"):
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    monkeypatch.setattr(shutil, "copy2", wrap(shutil.copy2))
    return lambda: count > step


def _killed_everywhere(source: Path, destination: Path, patch: pytest.MonkeyPatch) -> int:
    """Kill a move at every call in turn, repeat it, and look; return how many points that were."""
    for step in range(100):
        destination.unlink(missing_ok=True)
        source.write_text("x,y\n1,2\n")
        with patch.context() as crash:
            died = _kill_at(crash, step)
            try:
                move_all([(source, destination)])
            except KilledError:
                assert source.exists() or destination.read_text() == "x,y\n1,2\n"
        if not died():
            return step
        move_all([(source, destination)])
        assert destination.read_text() == "x,y\n1,2\n"
        assert _files(source.parent) == []
        assert _files(destination.parent) == ["a.csv"]
    raise AssertionError("it never came to an end")


def test_killed_at_any_call_a_repeat_finishes_the_move(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _killed_everywhere(source, destination, monkeypatch) >= 5


@pytest.mark.usefixtures("cannot_link")
def test_killed_at_any_call_a_repeat_finishes_a_move_to_another_file_system(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _killed_everywhere(source, destination, monkeypatch) >= 8


@pytest.mark.usefixtures("cannot_link")
def test_a_copy_is_synced_before_it_gets_its_name(source: Path, destination: Path, steps: list[str]) -> None:
    destination.parent.mkdir(parents=True)
    steps.clear()
    move_all([(source, destination)])
    assert steps[:2] == ["fsync a.csv.tmp", "link a.csv"]
    assert steps.index("fsync 2026-03-01") < steps.index("unlink 0-a.csv")


def test_where_there_are_no_hard_links_a_copy_is_renamed(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    move_all([(source, destination)])
    assert _files(destination.parent) == ["a.csv"]
    assert not source.exists()


@pytest.mark.usefixtures("cannot_link")
def test_a_full_disk_leaves_the_file_where_it_was(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, target: Path, **__: object) -> None:
        target.write_text("hal")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match="No space"):
        move_all([(source, destination)])
    assert source.exists()
    assert _files(destination.parent) == []


def test_what_people_sent_is_closed_to_others(source: Path, destination: Path) -> None:
    source.chmod(0o644)
    move_all([(source, destination)])
    assert stat.S_IMODE(destination.stat().st_mode) == 0o640
    assert stat.S_IMODE(destination.parent.stat().st_mode) & 0o007 == 0


def test_a_file_closed_to_its_group_is_not_opened(source: Path, destination: Path) -> None:
    source.chmod(0o600)
    move_all([(source, destination)])
    assert stat.S_IMODE(destination.stat().st_mode) == 0o600


def test_closing_a_file_adds_nothing_to_its_mode(source: Path, destination: Path) -> None:
    source.chmod(0o604)
    move_all([(source, destination)])
    assert stat.S_IMODE(destination.stat().st_mode) == 0o600


@pytest.mark.usefixtures("cannot_link")
def test_a_copy_never_writes_through_a_link_that_was_left(
    tmp_path: Path, source: Path, destination: Path
) -> None:
    (tmp_path / "secret").write_text("s")
    destination.parent.mkdir(parents=True)
    (destination.parent / "a.csv.copy.tmp").symlink_to(tmp_path / "secret")
    move_all([(source, destination)])
    assert (tmp_path / "secret").read_text() == "s"
    assert destination.read_text() == "x,y\n1,2\n"


def test_a_file_of_another_user_is_moved_all_the_same(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    source.chmod(0o666)
    monkeypatch.setattr(os, "chmod", not_ours)
    move_all([(source, destination)])
    assert destination.exists()


def test_a_file_that_its_owner_keeps_elsewhere_keeps_its_mode(
    tmp_path: Path, source: Path, destination: Path
) -> None:
    source.chmod(0o644)
    os.link(source, tmp_path / "the owner's")
    move_all([(source, destination)])
    assert stat.S_IMODE((tmp_path / "the owner's").stat().st_mode) == 0o644


def test_what_is_handed_back_keeps_its_mode(source: Path, destination: Path) -> None:
    source.chmod(0o644)
    move_all([(source, destination)], private=False)
    assert stat.S_IMODE(destination.stat().st_mode) == 0o644


def test_a_link_is_moved_as_a_link_and_its_target_left_alone(tmp_path: Path, destination: Path) -> None:
    target = tmp_path / "secret"
    target.write_text("s")
    target.chmod(0o644)
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    move_all([(link, destination)])
    assert destination.readlink() == target
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


@pytest.mark.parametrize("failing", ["a.csv", "2026-03-01"])
def test_after_a_sync_that_failed_name_and_content_are_made_anew_before_the_next_is_trusted(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, content, inode = os.fsync, source.read_bytes(), source.stat().st_ino
    failed: list[int] = []

    def fsync(descriptor: int) -> None:
        if not failed and Path(f"/proc/self/fd/{descriptor}").readlink().name == failing:
            failed.append(descriptor)
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    destination.parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        move_all([(source, destination)])
    assert failed
    assert not destination.exists()
    move_all([(source, destination)])
    assert destination.read_bytes() == content
    assert destination.stat().st_ino != inode
    assert not source.exists()
