import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.lake.leases import LeaseAnswer
from daemon.landing.readiness import (
    Ignore,
    Observation,
    Ready,
    Sighting,
    Verdict,
    Wait,
    is_marker,
    is_temporary,
    judge,
)

SETTLE = 1.0
YEAR = 365 * 86_400.0


def seen(  # noqa: PLR0913 - one argument per thing observed
    *,
    name: str = "a.csv",
    mode: int = stat.S_IFREG | 0o644,
    size: int = 10,
    moved: bool = False,
    lease: LeaseAnswer = "free",
    quiet: float = 0.0,
    age: float = 0.0,
    has_marker: bool = False,
) -> Observation:
    sighting = Sighting(name, mode, size, mtime_ns=0, ctime_ns=0, inode=1, device=1)
    return Observation(
        sighting, moved, lease, quiet_since=100.0, now=100.0 + quiet, age=age, has_marker=has_marker
    )


def kind(verdict: Verdict) -> str:
    assert isinstance(verdict, Ignore)
    assert verdict.reason
    return verdict.kind


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        pytest.param(seen(moved=True), Ready(), id="moved in: at once"),
        pytest.param(seen(moved=True, lease="unknown"), Ready(), id="moved in, kernel silent: at once"),
        pytest.param(
            seen(moved=True, lease="open_for_writing"), Wait(1.0), id="moved in and still written: wait"
        ),
        pytest.param(seen(), Wait(1.0), id="written in place, just now: wait"),
        pytest.param(seen(quiet=0.75), Wait(0.25), id="written in place: wait what is missing"),
        pytest.param(seen(quiet=1.0), Ready(), id="written in place and quiet: ready"),
        pytest.param(
            seen(quiet=9.0, lease="open_for_writing"), Wait(1.0), id="quiet but open for writing: wait"
        ),
        pytest.param(seen(age=60.0), Ready(), id="lay there before we looked: at once"),
        pytest.param(seen(age=0.75), Wait(0.25), id="lay there for a moment: wait the rest"),
        pytest.param(seen(age=60.0, lease="unknown"), Wait(1.0), id="kernel silent: its age proves nothing"),
        pytest.param(seen(quiet=1.0, lease="unknown"), Ready(), id="kernel silent and quiet: ready"),
        pytest.param(seen(quiet=1.0, age=-YEAR), Ready(), id="from the future and quiet: ready"),
        pytest.param(seen(age=-YEAR), Wait(1.0), id="from the future: our clock decides"),
        pytest.param(seen(quiet=1 - 1e-12), Wait(0.01), id="a rounding error makes no busy loop"),
        pytest.param(seen(size=0), Wait(1.0), id="empty: may be the start of a file"),
        pytest.param(seen(size=0, moved=True), Wait(1.0), id="empty and moved in: wait too"),
    ],
)
def test_a_file_is_judged_by_how_it_came_and_how_long_it_has_been_quiet(
    observation: Observation, expected: Verdict
) -> None:
    assert judge(observation, SETTLE, marker_required=False) == expected


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        pytest.param(seen(quiet=60.0, age=60.0), Wait(1.0), id="quiet without marker: wait"),
        pytest.param(seen(moved=True), Wait(1.0), id="moved in without marker: wait"),
        pytest.param(seen(has_marker=True), Ready(), id="marker: at once"),
        pytest.param(
            seen(has_marker=True, lease="open_for_writing"), Wait(1.0), id="marker but still written: wait"
        ),
    ],
)
def test_where_a_done_marker_is_wanted_it_decides(observation: Observation, expected: Verdict) -> None:
    assert judge(observation, SETTLE, marker_required=True) == expected


def test_a_file_that_stays_empty_is_reported_and_never_ready() -> None:
    for marker_required in (False, True):
        settled = seen(size=0, quiet=1.0, moved=True, has_marker=True)
        assert kind(judge(settled, SETTLE, marker_required=marker_required)) == "empty"


def test_an_empty_file_that_is_open_for_writing_waits_however_old_it_is() -> None:
    writing = seen(size=0, quiet=99.0, age=99.0, lease="open_for_writing")
    assert judge(writing, SETTLE, marker_required=False) == Wait(1.0)


@pytest.mark.parametrize(
    "name",
    [
        ".a.csv",
        ".a.csv.Xy12z",
        "a.csv.tmp",
        "a.csv.TMP",
        "a.part",
        "a.partial",
        "a.csv.filepart",
        "a.csv.crdownload",
        "~$a.xlsx",
        ".a.csv.swp",
        "a.swp",
        ".canary",
    ],
)
def test_a_temporary_name_is_never_taken(name: str) -> None:
    assert is_temporary(name)
    assert kind(judge(seen(name=name, moved=True, age=YEAR), SETTLE, marker_required=False)) == "temporary"


@pytest.mark.parametrize("name", ["a.csv", "tmp", "part.csv", "a.tmp.csv", "a~$.xlsx", "a.done", "partial"])
def test_a_name_that_only_resembles_a_temporary_one_is_taken(name: str) -> None:
    assert not is_temporary(name)


@pytest.mark.parametrize(
    ("file_type", "said"),
    [
        (stat.S_IFLNK, "symbolic link"),
        (stat.S_IFIFO, "named pipe"),
        (stat.S_IFSOCK, "socket"),
        (stat.S_IFBLK, "block device"),
        (stat.S_IFCHR, "character device"),
        (stat.S_IFDIR, "folder"),
        (0, "not a regular file but of an unknown kind"),
    ],
)
def test_what_is_not_a_regular_file_is_ignored_with_the_reason(file_type: int, said: str) -> None:
    verdict = judge(seen(mode=file_type | 0o644, moved=True), SETTLE, marker_required=False)
    assert kind(verdict) == "irregular"
    assert isinstance(verdict, Ignore)
    assert said in verdict.reason


def test_a_done_marker_is_never_data_where_markers_are_wanted() -> None:
    assert kind(judge(seen(name="a.csv.done", moved=True), SETTLE, marker_required=True)) == "marker"


def test_a_file_that_is_called_done_is_data_where_no_markers_are_wanted() -> None:
    assert judge(seen(name="a.csv.done", moved=True), SETTLE, marker_required=False) == Ready()


def test_a_marker_is_named_after_a_file() -> None:
    assert is_marker("a.csv.done")
    assert not is_marker(".done")
    assert not is_marker("done.csv")


@given(
    lease=st.sampled_from(["free", "unknown"]),
    age=st.floats(-YEAR, YEAR),
    settle=st.floats(0, 3600),
)
def test_no_date_of_a_file_keeps_it_waiting_once_it_has_been_quiet(
    lease: LeaseAnswer, age: float, settle: float
) -> None:
    assert judge(seen(lease=lease, age=age, quiet=settle + 1), settle, marker_required=False) == Ready()


@given(
    moved=st.booleans(),
    quiet=st.floats(0, YEAR),
    age=st.floats(-YEAR, YEAR),
    size=st.integers(0, 9),
    wanted=st.booleans(),
)
def test_a_file_that_is_open_for_writing_is_never_taken(
    *, moved: bool, quiet: float, age: float, size: int, wanted: bool
) -> None:
    observation = seen(
        lease="open_for_writing", moved=moved, quiet=quiet, age=age, size=size, has_marker=wanted
    )
    assert judge(observation, SETTLE, wanted) == Wait(SETTLE)


def test_the_reasons_of_what_stays_in_landing_say_when_it_will_be_taken() -> None:
    def reason(observation: Observation) -> str:
        verdict = judge(observation, SETTLE, marker_required=False)
        assert isinstance(verdict, Ignore)
        return verdict.reason

    assert reason(seen(size=0, quiet=9.0)) == "the file is empty; it is taken once it has content"
    assert reason(seen(name="a.tmp")) == "a temporary name; the file is taken once it is renamed"


def test_a_sighting_is_what_lstat_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    os.utime(path, ns=(1, 123_456_789))
    found = path.lstat()
    assert Sighting.of("a.csv", found) == Sighting(
        name="a.csv",
        mode=found.st_mode,
        size=8,
        mtime_ns=123_456_789,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
        device=found.st_dev,
    )
