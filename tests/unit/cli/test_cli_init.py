"""`medalliond init`: the folders, the settings file, the sample."""

import tomllib
from pathlib import Path

from cli_world import Run

from daemon.cli.init import commented_settings
from daemon.settings import load_settings


def test_the_folders_and_a_settings_file_are_made(tmp_path: Path, run: Run) -> None:
    found = run("init", str(tmp_path / "new" / "root"))
    assert found.exit_code == 0
    root = tmp_path / "new" / "root"
    for folder in ("landing", "data", "catalog/contracts", "catalog/transforms"):
        assert (root / folder).is_dir()
    assert (root / "medalliond.toml").is_file()
    assert "medalliond run" in found.stdout


def test_every_setting_is_shown_with_its_default_and_none_is_set(tmp_path: Path) -> None:
    assert tomllib.loads(commented_settings()) == {"batch": {}, "compaction": {}}
    shown = "\n".join(
        line.removeprefix("# ")
        for line in commented_settings().splitlines()
        if " = " in line or line[:1] == "["
    )
    (tmp_path / "medalliond.toml").write_text(shown)
    without_default = {
        "log_format": "json",
        "log_file": "medalliond.log",
        "min_free_bytes": "500MB",
        "min_free_inodes": 10_000,
    }
    assert load_settings({"root": tmp_path}, {}) == load_settings({"root": tmp_path, **without_default}, {})


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path, run: Run) -> None:
    (tmp_path / "medalliond.toml").write_text("settle = 2\n")
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "customers.csv").write_text("mine\n")
    assert run("init", str(tmp_path), "--sample").exit_code == 0
    assert (tmp_path / "medalliond.toml").read_text() == "settle = 2\n"
    assert (tmp_path / "landing" / "customers.csv").read_text() == "mine\n"


def test_the_sample_lies_in_landing_and_its_contracts_are_good(tmp_path: Path, run: Run) -> None:
    found = run("init", str(tmp_path), "--sample")
    assert sorted(path.name for path in (tmp_path / "landing").iterdir()) == [
        "customers.csv",
        "orders-2026-01.csv",
        "orders-2026-02.csv",
    ]
    assert "medalliond drain" in found.stdout
    assert "3 contracts: nothing wrong" in run("contract", "check", "--root", str(tmp_path)).stdout


def test_every_file_of_the_package_is_packed() -> None:
    repository = Path(__file__).parents[3]
    setup = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {path for glob in setup["package-data"]["daemon"] for path in (repository / "daemon").glob(glob)}
    for folder in ("sample", "units"):
        needed = [path for path in (repository / "daemon/cli" / folder).rglob("*") if path.is_file()]
        assert needed
        assert set(needed) <= packed
