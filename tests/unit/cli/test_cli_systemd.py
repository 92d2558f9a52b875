"""`medalliond systemd install` and the units: what they say, that systemd takes them, that no copy drifts."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_world import Run

from daemon.cli.systemd import STATE_DIRECTORY, UNITS, Installation, unit

REPOSITORY = Path(__file__).parents[3]
PROGRAM = Path("/usr/local/bin/medalliond")
EXPOSURE = 1.5
"""What `systemd-analyze security` may say at most."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (package systemd)"
)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation: a Python with the script `medalliond` beside it."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    script = folder / "medalliond"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return script


def settings(text: str) -> dict[str, list[str]]:
    """The settings of a unit: key -> its values."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def analyze(*words: str | Path) -> str:
    """Call systemd-analyze, which must find nothing wrong."""
    command = ["systemd-analyze", *map(str, words)]
    environment = {"XDG_RUNTIME_DIR": "/tmp", **os.environ}  # noqa: S108 - verify --user only wants a name
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_the_units_of_the_repository_are_those_of_the_package(name: str) -> None:
    ours = REPOSITORY / "daemon" / "cli" / "units" / name
    copy = REPOSITORY / "systemd" / name
    assert copy.read_text() == ours.read_text(), f"cp {ours} {copy}"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_for_the_usual_places_is_the_one_in_the_repository(name: str) -> None:
    usual = Installation(STATE_DIRECTORY, PROGRAM, "medalliond", hidden_homes=True)
    assert unit(name, usual) == (REPOSITORY / "systemd" / name).read_text()


def test_the_template_is_as_hardened_as_the_single_unit() -> None:
    single, template = (settings((REPOSITORY / "systemd" / name).read_text()) for name in UNITS)
    differing = {key for key in single.keys() | template.keys() if single.get(key) != template.get(key)}
    assert differing == {
        "Description",
        "RequiresMountsFor",
        "ExecStart",
        "StateDirectory",
        "StateDirectoryMode",
        "ReadWritePaths",
    }


def test_an_installation_is_written_and_explained(tmp_path: Path, run: Run, program: Path) -> None:
    root = tmp_path / "drop box"
    found = run("systemd", "install", "--root", str(root), "--into", str(tmp_path / "units"))
    assert found.exit_code == 0, found.stderr
    written = settings((tmp_path / "units" / "medalliond.service").read_text())
    assert written["ExecStart"] == [f'{program} run --root "{root}" --log-format json']
    assert written["ReadWritePaths"] == [f'"{root}"']
    assert "StateDirectory" not in written
    for words in ("daemon-reload", "enable --now medalliond", "medalliond@$(systemd-escape", "journalctl"):
        assert words in found.stdout


def test_a_root_of_a_person_is_served_as_that_person(tmp_path: Path, run: Run, program: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    if os.geteuid() == 0:
        os.chown(root, 65534, -1)
    assert run("systemd", "install", "--root", str(root), "--into", str(tmp_path)).exit_code == 0
    user = settings((tmp_path / "medalliond.service").read_text())["User"][0]
    assert user == ("nobody" if os.geteuid() == 0 else root.owner())
    assert program.exists()


@pytest.mark.usefixtures("program")
def test_a_users_own_unit_asks_for_nothing_that_needs_root(tmp_path: Path, run: Run) -> None:
    found = run("systemd", "install", "--user", "--root", str(tmp_path / "root"), "--into", str(tmp_path))
    written = settings((tmp_path / "medalliond.service").read_text())
    assert not {"User", "AmbientCapabilities", "ProtectSystem", "PrivateNetwork", "ReadWritePaths"} & set(
        written
    )
    assert {"NoNewPrivileges", "SystemCallFilter", "WatchdogSec"} <= set(written)
    assert written["WantedBy"] == ["default.target"]
    assert "systemctl --user enable" in found.stdout
    assert "enable-linger" in found.stdout


def test_a_users_own_units_go_where_systemd_looks_for_them(
    tmp_path: Path, run: Run, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert run("systemd", "install", "--user", "--root", str(tmp_path)).exit_code == 0
    text = (tmp_path / "config/systemd/user/medalliond.service").read_text()
    assert str(program) in text


@pytest.mark.usefixtures("program")
def test_an_edited_unit_is_not_written_over_unless_forced(tmp_path: Path, run: Run) -> None:
    words = ("systemd", "install", "--root", str(tmp_path / "root"), "--into", str(tmp_path))
    assert run(*words).exit_code == 0
    assert run(*words).exit_code == 0
    path = tmp_path / "medalliond.service"
    written = path.read_text()
    path.write_text(written + "# mine\n")
    refused = run(*words)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert path.read_text().endswith("# mine\n")
    assert run(*words, "--force").exit_code == 0
    assert path.read_text() == written


def test_homes_stay_visible_when_something_of_ours_is_in_one() -> None:
    for root, program in (
        (Path("/home/eve/drop"), PROGRAM),
        (Path("/srv/x"), Path("/home/eve/bin/medalliond")),
    ):
        made = Installation(root, program, "eve", hidden_homes=False)
        assert settings(unit("medalliond.service", made))["ProtectHome"] == ["read-only"]


def test_a_service_needs_an_installed_program(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = run("systemd", "install", "--root", str(tmp_path), "--into", str(tmp_path))
    assert found.exit_code == 1
    assert "pip install" in found.stderr


@pytest.mark.usefixtures("program")
def test_who_may_not_write_there_is_told_of_the_other_way(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr("daemon.cli.systemd.make_directories", refuse)
    found = run("systemd", "install", "--root", str(tmp_path), "--into", str(tmp_path / "units"))
    assert found.exit_code == 1
    assert "--user" in found.stderr


@needs_systemd
@pytest.mark.parametrize("user", [(), ("--user",)], ids=["system", "user"])
def test_systemd_finds_nothing_wrong_with_what_is_written(
    tmp_path: Path, run: Run, program: Path, user: tuple[str, ...]
) -> None:
    root = tmp_path / "100 % mine"
    found = run("systemd", "install", *user, "--root", str(root), "--into", str(tmp_path / "units"))
    assert found.exit_code == 0
    for name in ("medalliond.service", "medalliond@srv-sales.service"):
        copy = tmp_path / "units" / name
        if not copy.exists():
            shutil.copy(tmp_path / "units" / "medalliond@.service", copy)
        assert analyze("verify", *user, copy) == ""
    assert program.exists()


@needs_systemd
def test_the_units_of_the_repository_are_hardly_exposed(tmp_path: Path) -> None:
    for name in UNITS:
        copy = tmp_path / name.replace("@", "@srv-sales")
        copy.write_text((REPOSITORY / "systemd" / name).read_text().replace(str(PROGRAM), "/bin/true"))
        assert analyze("verify", copy) == ""
        threshold = f"--threshold={round(EXPOSURE * 10)}"
        analyze("security", "--offline=true", "--no-pager", threshold, copy)
