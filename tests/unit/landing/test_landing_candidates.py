"""What is known of landing is bounded: of a flood the first come first, and other folders keep their room."""

import os
from pathlib import Path

import pytest

from daemon.catalog.contract import LandingRules
from daemon.catalog.promotion import TableKey
from daemon.landing import candidates as module
from daemon.landing import known
from daemon.landing.candidates import Candidates
from daemon.landing.watcher import Hint

FLOODED, CALM = TableKey("main", "flooded"), TableKey("main", "calm")


@pytest.fixture
def candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Candidates:
    monkeypatch.setattr(known, "_MAX_IN_FOLDER", 10)
    monkeypatch.setattr(known, "_MAX_PATHS", 15)
    return Candidates(
        tmp_path / "landing",
        rules=lambda _: LandingRules(settle=0),
        route=lambda _: None,
        settle=0,
        known=lambda *_: None,
        incomplete_wait=0,
    )


def drop(root: Path, table: str, *names: str) -> list[Path]:
    folder = root / "landing" / table
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("a\n1\n")
    return [folder / name for name in names]


def take(candidates: Candidates, key: TableKey, count: int) -> list[str]:
    """Claim that many ready files of a table, the first ready first."""
    paths = list(candidates.known.ready[key])[:count]
    for path in paths:
        candidates.known.taken(key, path)
    return [Path(path).name for path in paths]


def test_of_a_flood_the_first_come_first_and_the_rest_is_found_as_room_is_made(
    tmp_path: Path, candidates: Candidates
) -> None:
    names = [f"{number:02}.csv" for number in range(35)]
    for path in drop(tmp_path, "flooded", *reversed(names)):
        os.utime(path)
    arrived = sorted(names, key=lambda name: (tmp_path / "landing/flooded" / name).stat().st_ctime_ns)
    assert candidates.sweep(0.0) == 35
    assert candidates.known.count == 10
    taken: list[str] = []
    while candidates.known.count:
        taken += take(candidates, FLOODED, 5)
        for name in taken[-5:]:
            (tmp_path / "landing/flooded" / name).unlink()
        if candidates.known.is_worth_a_sweep:
            candidates.sweep(0.0)
        assert candidates.known.count <= 10
    assert taken == arrived


def test_a_flood_in_one_folder_leaves_room_for_another(tmp_path: Path, candidates: Candidates) -> None:
    drop(tmp_path, "flooded", *(f"{number}.csv" for number in range(40)))
    candidates.sweep(0.0)
    (path,) = drop(tmp_path, "calm", "a.csv")
    candidates.hint(Hint(str(path), moved=True, is_directory=False), 0.0)
    assert list(candidates.known.ready[CALM]) == [str(path)]
    (late,) = drop(tmp_path, "flooded", "late.csv")
    candidates.hint(Hint(str(late), moved=True, is_directory=False), 0.0)
    assert str(late) not in candidates.known.ready[FLOODED]


def test_in_all_no_more_is_known_than_the_limit_says(tmp_path: Path, candidates: Candidates) -> None:
    for table in ("one", "two", "three"):
        drop(tmp_path, table, *(f"{number}.csv" for number in range(8)))
    candidates.sweep(0.0)
    assert candidates.known.count == 15


@pytest.mark.parametrize("told_of", ["sweep", "folder", "hints"])
def test_a_daemon_that_stops_does_not_look_a_flood_through(tmp_path: Path, told_of: str) -> None:
    looked_at: list[str] = []

    def known(path: str, _size: int, _mtime_ns: int) -> None:
        looked_at.append(path)
        if len(looked_at) == 3:
            flooded.abandon()

    flooded = Candidates(
        tmp_path / "landing",
        rules=lambda _: LandingRules(settle=3600),
        route=lambda _: None,
        settle=3600,
        known=known,
        incomplete_wait=0,
    )
    paths = drop(tmp_path, "flooded", *(f"{number}.csv" for number in range(40)))
    if told_of == "sweep":
        flooded.sweep(0.0)
    elif told_of == "folder":
        flooded.hint(Hint(str(paths[0].parent), moved=True, is_directory=True), 0.0)
    else:
        for path in paths[:2]:
            flooded.hint(Hint(str(path), moved=False, is_directory=False), 0.0)
        flooded.look_again(3601.0)
    assert len(looked_at) == 3
    assert flooded.sweep(0.0) == 0


def test_while_a_flood_is_looked_through_what_comes_meanwhile_is_heard_and_claimed(
    tmp_path: Path, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BREATH", 7)
    flood = drop(tmp_path, "flooded", *(f"{number:02}.csv" for number in range(40)))
    calm = drop(tmp_path, "calm", "a.csv")[0]
    taken: list[str] = []

    def between() -> None:
        candidates.hint(Hint(str(flood[-1]), moved=True, is_directory=False), 0.0)
        candidates.hint(Hint(str(calm), moved=True, is_directory=False), 0.0)
        for key in list(candidates.known.ready):
            for name in take(candidates, key, 1):
                (tmp_path / "landing" / key.table / name).unlink()
                taken.append(name)

    candidates.between = between
    candidates.sweep(0.0)
    assert taken[:2] == [flood[-1].name, "a.csv"]
    while candidates.known.count or candidates.known.is_worth_a_sweep:
        between()
        candidates.sweep(0.0)
    assert sorted(taken) == sorted(["a.csv", *(path.name for path in flood)])


def test_a_file_that_vanishes_under_the_look_is_no_hindrance(
    tmp_path: Path, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = drop(tmp_path, "calm", "a.csv")

    def gone(_path: Path, _size: int, _mtime_ns: int) -> None:
        path.unlink()

    monkeypatch.setattr(candidates, "_seen_before", gone)
    candidates.sweep(0.0)
    assert candidates.known.count == 0


def test_what_went_with_its_folder_while_it_was_looked_at_is_found_as_soon_as_it_is_back(
    tmp_path: Path,
) -> None:
    landing, away = tmp_path / "landing", tmp_path / "away"
    (path,) = drop(tmp_path, "calm", "a.csv")
    moves = [landing.rename]

    def rules(_: TableKey) -> LandingRules:
        if moves:
            moves.pop()(away)
        return LandingRules(settle=0)

    candidates = Candidates(
        landing, rules=rules, route=lambda _: None, settle=0, known=lambda *_: None, incomplete_wait=0
    )
    candidates.hint(Hint(str(path), moved=True, is_directory=False), 0.0)
    assert not candidates.known.count
    away.rename(landing)
    candidates.sweep(1.0)
    assert list(candidates.known.ready[CALM]) == [str(path)]
