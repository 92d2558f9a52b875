"""The settings: which source wins, and that a mistake is told with its place and the way out."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import HaltError
from daemon.lake.room import Floor
from daemon.settings import FILE_NAME, Settings, load_settings, setting_locations, variable_name


def test_without_anything_said_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings({"root": tmp_path}, {})

    assert settings.root == tmp_path
    assert (settings.settle, settings.archive, settings.log_level) == (1.0, "move", "info")
    assert (settings.batch.max_files, settings.batch.max_bytes) == (1000, 256_000_000)
    assert settings.workers == len(os.sched_getaffinity(0))
    assert 0 < settings.worker_memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_worker_may_hold_three_fifths_of_what_the_control_groups_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "groups/system.slice/medalliond.service"
    service.mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/elsewhere\n0::/system.slice/medalliond.service\n")
    (service / "memory.max").write_text("max\n")
    (service.parent / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr("daemon.settings._OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr("daemon.settings._GROUPS", tmp_path / "groups")

    assert load_settings({"root": tmp_path}, {}).worker_memory == 600_000_000


def test_the_command_line_wins_over_a_variable_and_a_variable_over_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("settle = 2\nretry_base = 3\nretry_cap = 4\n")

    settings = load_settings(
        {"root": tmp_path, "settle": 20.0, "log_file": None},
        {"MEDALLIOND_SETTLE": "200", "MEDALLIOND_RETRY_BASE": "300", "HOME": "/root"},
    )

    assert (settings.settle, settings.retry_base, settings.retry_cap) == (20.0, 300.0, 4.0)


def test_the_parts_of_batch_come_each_from_its_own_source(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[batch]\nmax_files = 5\nmax_bytes = "64MB"\n')

    settings = load_settings({"root": tmp_path}, {"MEDALLIOND_BATCH_MAX_BYTES": "1MiB"})

    assert (settings.batch.max_files, settings.batch.max_bytes) == (5, 2**20)


def test_the_root_is_given_or_a_variable_or_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    variables = {"MEDALLIOND_ROOT": str(tmp_path / "b")}

    assert load_settings({"root": Path("a")}, variables).root == tmp_path / "a"
    assert load_settings({"root": None}, variables).root == tmp_path / "b"
    assert load_settings({}, {}).root == tmp_path


def test_no_floor_at_all_is_a_floor_of_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("min_free_bytes = 0\nmin_free_inodes = 0\n")

    assert load_settings({"root": tmp_path}, {}).floor == Floor(0, 0)


def test_the_file_is_that_of_the_root_in_use(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("settle = 7\n")

    assert load_settings({}, {"MEDALLIOND_ROOT": str(tmp_path)}).settle == 7.0


def test_an_empty_variable_says_nothing(tmp_path: Path) -> None:
    assert load_settings({"root": tmp_path}, {"MEDALLIOND_LOG_FILE": ""}).log_file is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nsetle = 1", ":2: unknown key 'setle'; did you mean 'settle'?"),
        ("[batch]\nmax_fils = 1", ":2: unknown key 'max_fils' in batch; did you mean 'max_files'?"),
        (
            "[batch]\nworkers = 1",
            ":2: unknown key 'workers' in batch; it stands at the top of the file, outside of 'batch'",
        ),
        ("max_files = 1", ":1: unknown key 'max_files'; did you mean 'batch.max_files'?"),
        ("batch.max_fils = 1", ":1: unknown key 'max_fils' in batch; did you mean 'max_files'?"),
        ("# settle = 1\n[settel]\nx = 1", ":2: unknown key 'settel'; did you mean 'settle'?"),
        ("batch = 5", ":1: batch: wants keys and values, e.g. {key: value}, not 5"),
        ("\n\narchive = 'mve'", ":3: archive: there is no 'mve'; did you mean 'move'?"),
        ("workers = 0", ":1: workers: wants a number greater than or equal to 1, not 0"),
        ("workers = 'all'", ":1: workers: wants a whole number, not 'all'"),
        (
            "settle = 'soon'",
            ":1: settle: cannot read 'soon' as a duration: write seconds, or text such as '500ms'",
        ),
        ("sweep_interval = 0", ":1: sweep_interval: wants a number greater than 0, not 0"),
        ("log_file = 3", ":1: log_file: wants a path, not 3"),
        ("settle = ", ": this is not TOML: "),
        ("root = '/'", ":1: the root is where this file is; remove 'root'"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line_and_what_is_wanted(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / FILE_NAME).write_text(text)

    with pytest.raises(HaltError) as caught:
        load_settings({"root": tmp_path}, {})

    assert str(caught.value).startswith(f"{tmp_path / FILE_NAME}{expected}")


def test_every_mistake_in_the_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("setle = 1\nworkers = 0\n")

    with pytest.raises(HaltError) as caught:
        load_settings({"root": tmp_path}, {})

    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_there_but_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    with pytest.raises(HaltError, match="cannot be read: Is a directory"):
        load_settings({"root": tmp_path}, {})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "MEDALLIOND_SETTEL",
            "1",
            "MEDALLIOND_SETTEL: there is no such setting; did you mean 'MEDALLIOND_SETTLE'?",
        ),
        ("MEDALLIOND_WORKERS", "x", "MEDALLIOND_WORKERS: workers: wants a whole number, not 'x'"),
        ("MEDALLIOND_BATCH_MAX_FILES", "0", "MEDALLIOND_BATCH_MAX_FILES: batch.max_files: wants a number"),
    ],
)
def test_a_mistake_in_a_variable_is_told_with_its_name(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    with pytest.raises(HaltError) as caught:
        load_settings({"root": tmp_path}, {name: value})

    assert str(caught.value).startswith(expected)


def test_a_mistake_on_the_command_line_is_told_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(HaltError, match="--log-level: log_level: there is no 'inf'"):
        load_settings({"root": tmp_path, "log_level": "inf"}, {})


def test_settings_cannot_be_changed_after_they_were_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({"root": tmp_path}, {}).settle = 5.0


seconds = st.floats(min_value=0.001, max_value=1e6).map(lambda value: round(value, 3))
anything = st.fixed_dictionaries(
    {},
    optional={
        "settle": seconds,
        "retry_cap": seconds,
        "workers": st.integers(1, 500),
        "archive": st.sampled_from(["move", "keep", "delete"]),
        "log_format": st.sampled_from(["json", "console"]),
        "batch": st.fixed_dictionaries(
            {}, optional={"max_files": st.integers(1, 10**6), "max_bytes": st.integers(1, 10**12)}
        ),
    },
)


@given(values=anything)
def test_settings_come_back_the_same_from_the_file_and_from_variables(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    root = tmp_path_factory.getbasetemp()
    expected = Settings.model_validate({"root": root, **values})
    flat = {location: _at(values, location) for location in setting_locations()}
    given_values = {location: value for location, value in flat.items() if value is not None}

    (root / FILE_NAME).write_text(
        "".join(f"{'.'.join(at)} = {value!r}\n" for at, value in given_values.items())
    )
    from_file = load_settings({"root": root}, {})
    (root / FILE_NAME).unlink()
    from_variables = load_settings(
        {"root": root}, {variable_name(at): str(v) for at, v in given_values.items()}
    )

    assert from_file == from_variables == expected


def _at(values: object, location: tuple[str, ...]) -> object:
    for name in location:
        values = values.get(name) if isinstance(values, dict) else None
    return values
