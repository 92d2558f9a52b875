"""What holds for every command: exit statuses, errors on one line, the root, and what `--help` costs."""

import errno
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from cli_world import Root, Run

from daemon.__main__ import main
from daemon.cli.doctor_root import permissions
from daemon.cli.main import app
from daemon.cli.roots import open_ledger

READING = [
    ("status",),
    ("lineage", "sales.orders"),
    ("quarantine", "list"),
    ("quarantine", "show", "sales.orders"),
    ("query", "FROM gold.orders"),
    ("contract", "check"),
    ("contract", "show", "sales.orders"),
    ("doctor",),
    ("version",),
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_reading_command_answers_in_json(orders: Root, run: Run, words: tuple[str, ...]) -> None:
    found = run(*words, "--json", orders)
    assert found.exit_code == 0, found.stderr
    json.loads(found.stdout)


@pytest.mark.parametrize("words", READING[:-1], ids=" ".join)
def test_a_folder_that_is_no_root_is_refused_with_the_way_out(
    tmp_path: Path, run: Run, words: tuple[str, ...]
) -> None:
    found = run(*words, "--root", str(tmp_path))
    assert found.exit_code == 1
    assert found.stdout == ""
    assert found.stderr.startswith(f"medalliond: {tmp_path}: this is no medalliond root")
    assert "medalliond init" in found.stderr


def test_the_root_may_be_named_in_the_environment(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLIOND_ROOT", str(orders.path))
    assert json.loads(run("status", "--json").stdout)["root"] == str(orders.path)


def test_the_root_is_the_current_folder_unless_said_otherwise(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(orders.path)
    assert json.loads(run("status", "--json").stdout)["root"] == str(orders.path)


@pytest.mark.parametrize(
    ("words", "meant"), [(["statsu"], "status"), (["quarantine", "lst"], "list"), (["quey", "x"], "query")]
)
def test_a_mistyped_command_is_answered_with_the_nearest(run: Run, words: list[str], meant: str) -> None:
    found = run(*words)
    assert found.exit_code == 2
    assert f"Did you mean '{meant}'?" in found.stderr


def test_wrong_usage_has_exit_status_two(run: Run) -> None:
    assert run("query").exit_code == 2
    assert run("status", "--no-such-option").exit_code == 2


def test_a_table_that_is_not_there_is_one_line_on_standard_error(orders: Root, run: Run) -> None:
    found = run("lineage", "sales.oders", orders)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert "sales.orders" in found.stderr


def test_a_ledger_that_is_not_there_yet_is_said_so(tmp_path: Path, run: Run) -> None:
    (tmp_path / "landing").mkdir()
    found = run("lineage", "x", "--root", str(tmp_path))
    assert found.exit_code == 1
    assert "there is no ledger here yet" in found.stderr


def test_a_damaged_ledger_is_one_clear_line(root: Root, run: Run) -> None:
    root.ledger.close()
    root.layout.ledger.write_bytes(b"no database" * 1000)
    found = run("status", root)
    assert found.exit_code == 1
    assert found.stderr.startswith(f"medalliond: {root.layout.ledger}: the ledger is damaged")


def test_what_a_user_may_not_is_said_with_whose_it_is(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = orders.layout.lock

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("daemon.cli.status.lock_holder", refuse)
    monkeypatch.setattr("daemon.cli.doctor_root.lock_holder", refuse)
    assert "is yours: give yourself the right" in run("status", orders).stderr
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    found = run("status", orders)
    assert found.exit_code == 1
    assert found.stderr.startswith(
        f"medalliond: {lock}: Permission denied. You are user 4711, and {lock.parent} is "
    )
    assert found.stderr.endswith(": ask as that user, or be given the right.\n")
    assert "ask as that user" in run("doctor", orders).stdout


def test_the_versions_are_said_also_where_the_ledger_is_newer_or_damaged(root: Root, run: Run) -> None:
    root.ledger.close()
    with closing(sqlite3.connect(root.layout.ledger)) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    found = json.loads(run("version", "--json", root).stdout)
    assert found["ledger"] == 99
    root.layout.ledger.write_bytes(b"no database" * 1000)
    broken = run("version", "--json", root)
    assert broken.exit_code == 1
    assert json.loads(broken.stdout) == {**found, "ledger": None}
    assert "the ledger is damaged" in broken.stderr


@pytest.mark.parametrize(
    "words",
    [("status",), ("lineage", "sales.orders"), ("doctor",), ("verify",), ("contract", "adopt", "orders")],
    ids=" ".join,
)
def test_a_ledger_that_is_gone_is_said_so(orders: Root, run: Run, words: tuple[str, ...]) -> None:
    orders.ledger.close()
    orders.layout.ledger.unlink()
    found = run(*words, orders)
    assert found.exit_code == 1
    assert f"{orders.layout.ledger}: the ledger is gone" in found.output


def test_a_root_on_a_file_system_that_is_read_only_is_read_all_the_same(
    orders: Root, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.ledger.close()
    before = sorted(orders.layout.catalog.iterdir())
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with open_ledger(orders.layout) as views:
        assert views.tables()
        assert sorted(orders.layout.catalog.iterdir()) == before  # SQLite makes no file beside it
    run("verify", orders)
    assert sorted(orders.layout.catalog.iterdir()) == before  # nor is there a lock
    assert "read-only" in permissions(orders.layout).found


def test_a_ledger_that_is_just_being_made_is_said_so(root: Root, run: Run) -> None:
    root.ledger.close()
    root.layout.ledger.write_bytes(b"")
    found = run("lineage", "sales.orders", root)
    assert found.exit_code == 1
    assert "there is no ledger here yet" in found.stderr


def test_help_waits_for_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from daemon.cli.main import app;"
        "print(CliRunner().invoke(app, ['--help']).stdout);"
        "heavy = {'polars', 'duckdb', 'pydantic', 'apscheduler', 'watchdog', 'structlog', 'rich', 'yaml'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "quarantine" in done.stdout


class FullDisk(io.StringIO):
    """An output that a full disk takes nothing of."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_standard_output_refuses_is_an_error_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(SystemExit, match="1"):
        app(["version"])
    sys.stdout.close()
    assert capsys.readouterr().err == "medalliond: No space left on device. Make room, and say it again.\n"


def test_a_closed_standard_output_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit, match="0"):
        app(["version"])
    sys.stdout.close()


@pytest.mark.parametrize(
    "words", [("lineage",), ("undo",), ("quarantine", "show"), ("quarantine", "list", "--file")]
)
def test_a_name_may_hold_bytes_that_are_no_text(orders: Root, run: Run, words: tuple[str, ...]) -> None:
    found = run(*words, "caf\udce9\x1b.csv", orders)
    assert found.exit_code == (words[-1] != "--file")
    assert not found.exit_code or r"'caf\xe9\x1b.csv'" in found.stderr


@pytest.mark.parametrize("command", ["run", "drain"])
def test_a_folder_named_by_mistake_is_not_made_a_root(tmp_path: Path, run: Run, command: str) -> None:
    (tmp_path / "of_mine.txt").touch()
    found = run(command, "--root", str(tmp_path))
    assert found.exit_code == 1
    assert "this is no medalliond root" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["of_mine.txt"]


def test_ctrl_c_leaves_no_traceback_while_the_program_is_being_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []

    class Loading(ModuleType):
        def __getattr__(self, name: str) -> Callable[..., None]:
            if name != "app":
                raise AttributeError(name)
            seen.append(signal.getsignal(signal.SIGINT))
            return lambda **_: seen.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setitem(sys.modules, "daemon.cli.main", Loading("main"))
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # it is ignored where tests run in the background
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_DFL, signal.default_int_handler]


def test_a_reader_that_goes_away_leaves_no_traceback(orders: Root) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "daemon", "query", "FROM range(1000000)", "--root", str(orders.path)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
