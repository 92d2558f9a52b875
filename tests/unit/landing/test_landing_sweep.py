import os
import shutil
import stat
from pathlib import Path

import pytest

from daemon.landing.sweep import sweep


def found(folder: Path) -> set[str]:
    problems: list[str] = []
    names = {one.path.removeprefix(f"{folder}/") for one in sweep(str(folder), problems)}
    assert not problems
    return names


def put(path: Path, content: str = "a\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_files_are_found_at_every_depth(tmp_path: Path) -> None:
    names = {"a.csv", "t/b.csv", "d/t/c.csv", "d/t/2024/05/e.csv"}
    for name in names:
        put(tmp_path / name)
    assert found(tmp_path) == names


def test_folders_with_a_dot_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / ".claimed/1/0-a.csv")
    put(tmp_path / "t/.receipts/a.csv")
    put(tmp_path / "t/a.csv")
    assert found(tmp_path) == {"t/a.csv"}


def test_a_sighting_is_what_lstat_says(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "abc")
    (one,) = sweep(str(tmp_path), [])
    truth = path.lstat()
    assert one.path == str(path)
    assert one.sighting.name == "a.csv"
    assert (one.sighting.size, one.sighting.inode, one.sighting.mtime_ns, one.sighting.ctime_ns) == (
        3,
        truth.st_ino,
        truth.st_mtime_ns,
        truth.st_ctime_ns,
    )


def test_links_are_shown_as_links_and_not_followed(tmp_path: Path) -> None:
    landing, outside = tmp_path / "landing", tmp_path / "outside"
    put(outside / "secret.csv")
    landing.mkdir()
    (landing / "folder").symlink_to(outside)
    (landing / "file.csv").symlink_to(outside / "secret.csv")
    (landing / "dangling.csv").symlink_to("nowhere")
    (landing / "round").symlink_to(landing)
    kinds = {Path(one.path).name: stat.S_ISLNK(one.sighting.mode) for one in sweep(str(landing), [])}
    assert kinds == {"folder": True, "file.csv": True, "dangling.csv": True, "round": True}


def test_a_landing_that_is_itself_a_link_is_looked_through(tmp_path: Path) -> None:
    put(tmp_path / "disk/t/a.csv")
    (tmp_path / "landing").symlink_to("disk")
    assert found(tmp_path / "landing") == {"t/a.csv"}


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    (one,) = sweep(str(tmp_path), [])
    assert os.fsencode(one.path) == raw


def test_what_goes_away_meanwhile_is_no_problem(tmp_path: Path) -> None:
    for name in ("a/1.csv", "b/2.csv", "c/3.csv"):
        put(tmp_path / name)
    problems: list[str] = []
    walk = sweep(str(tmp_path), problems)
    first = next(walk)
    for folder in ("a", "b", "c"):
        shutil.rmtree(tmp_path / folder)
    assert list(walk) == []
    assert Path(first.path).name in {"1.csv", "2.csv", "3.csv"}
    assert problems == []


def test_a_file_that_goes_away_between_listing_and_looking_is_left_out(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.csv")
    walk = sweep(str(tmp_path), [])
    first = next(walk)
    for path in tmp_path.iterdir():
        path.unlink()
    assert [first.path, *(one.path for one in walk)] == [first.path]


def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "closed/a.csv")
    put(tmp_path / "open/b.csv")
    truth = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return truth(path)

    monkeypatch.setattr(os, "scandir", scandir)
    problems: list[str] = []
    assert [Path(one.path).name for one in sweep(str(tmp_path), problems)] == ["b.csv"]
    (problem,) = problems
    assert str(tmp_path / "closed") in problem
    assert "Permission denied" in problem


def test_a_landing_that_is_gone_is_told(tmp_path: Path) -> None:
    problems: list[str] = []
    assert list(sweep(str(tmp_path / "landing"), problems)) == []
    assert str(tmp_path / "landing") in problems[0]
