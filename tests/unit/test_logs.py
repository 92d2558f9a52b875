"""The log: what a line looks like, where it goes, and what never stands in it."""

import errno
import io
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from daemon.errors import HaltError
from daemon.events import Event, LogFormat
from daemon.logs import CELL_FIELDS, configure

log = structlog.get_logger("daemon.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("daemon")
    before = (list(root.handlers), root.level, ours.level)
    yield
    for handler in [handler for handler in root.handlers if handler not in before[0]]:
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_is_one_json_object_with_time_level_event_and_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("json", "info", None)

    log.info(Event.BATCH_CLAIMED, domain="noc", table="dim_noc", files=2, path=Path("/a"))

    (line,) = lines(capsys.readouterr().out)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["event"], line["level"], line["files"], line["path"]) == ("batch_claimed", "info", 2, "/a")
    age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "warning", None)

    log.info(Event.BATCH_CLAIMED)
    log.warning(Event.FILE_EMPTY)

    assert [line["event"] for line in lines(capsys.readouterr().out)] == ["file_empty"]


def test_the_libraries_speak_in_the_same_form_and_only_when_something_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("json", "debug", None)

    logging.getLogger("apscheduler.executors").info("Running job")
    logging.getLogger("watchdog.observers.inotify_c").warning("queue %s", "overflowed")

    (line,) = lines(capsys.readouterr().out)
    assert (line["event"], line["level"]) == ("library_logged", "warning")
    assert (line["logger"], line["message"]) == ("watchdog.observers.inotify_c", "queue overflowed")


def fail_holding_a_cell() -> None:
    cell = f"4111-{1111}"
    raise ValueError(f"a cell of {len(cell)} characters")


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_stands_in_its_line_without_the_values_of_variables(
    capsys: pytest.CaptureFixture[str], form: LogFormat
) -> None:
    configure(form, "info", None)

    try:
        fail_holding_a_cell()
    except ValueError:
        log.exception(Event.DAEMON_FAILED)

    output = capsys.readouterr().out
    assert "ValueError: a cell of 9 characters" in output
    assert "4111-1111" not in output


def test_the_values_of_cells_stand_in_no_line_above_debug(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "debug", None)
    cells = dict.fromkeys(CELL_FIELDS, "4111-1111")

    log.warning(Event.RECORDS_QUARANTINED, rows=1, **cells)
    log.debug(Event.RECORDS_QUARANTINED, rows=1, **cells)

    above, below = lines(capsys.readouterr().out)
    assert "4111-1111" not in above.values()
    assert above["rows"] == 1
    assert below["raw"] == "4111-1111"


def test_a_hostile_file_name_stays_on_its_line_and_away_from_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\n\x1b[31m\udcff.csv"

    configure("json", "info", None)
    log.info(Event.FILE_IGNORED, file=name)
    configure("console", "info", None)
    log.info(Event.FILE_IGNORED, file=name)

    as_json, for_people = capsys.readouterr().out.splitlines()
    assert json.loads(as_json)["file"] == name
    assert "\x1b[31m" not in for_people
    assert "file_ignored" in for_people


def test_without_a_terminal_the_form_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(None, "info", None)

    log.info(Event.DAEMON_READY)

    assert lines(capsys.readouterr().out)[0]["event"] == "daemon_ready"


def test_a_terminal_gets_lines_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    configure(None, "info", None)

    log.info(Event.DAEMON_READY)

    assert not capsys.readouterr().out.startswith("{")


def test_the_log_file_gets_json_even_when_the_terminal_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("console", "info", tmp_path / "log")

    log.info(Event.DAEMON_READY, seconds=0.5)

    assert lines((tmp_path / "log").read_text())[0]["seconds"] == 0.5
    assert "daemon_ready" in capsys.readouterr().out


def test_the_log_file_is_begun_anew_after_it_was_rotated_away(tmp_path: Path) -> None:
    file = tmp_path / "log"
    configure("json", "info", file)
    log.info(Event.DAEMON_STARTED)

    file.rename(tmp_path / "log.1")
    log.info(Event.DAEMON_READY)

    assert lines((tmp_path / "log.1").read_text())[0]["event"] == "daemon_started"
    assert [line["event"] for line in lines(file.read_text())] == ["daemon_ready"]


def test_a_log_file_whose_folder_vanished_stops_nobody_and_is_written_again_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    configure("json", "info", folder / "log")
    folder.rename(tmp_path / "away")

    log.info(Event.DAEMON_STARTED)
    folder.mkdir()
    log.info(Event.DAEMON_READY)

    assert [line["event"] for line in lines(capsys.readouterr().out)] == ["daemon_started", "daemon_ready"]
    assert [line["event"] for line in lines((folder / "log").read_text())] == ["daemon_ready"]


class _FullDisk(io.StringIO):
    name = "<stdout>"

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_that_a_full_disk_refuses_are_missed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", _FullDisk())
    configure("json", "info", tmp_path / "log")
    log.info(Event.DAEMON_STARTED)
    log.info(Event.DAEMON_READY)
    assert len(lines((tmp_path / "log").read_text())) == 2
    assert capsys.readouterr().err == "medalliond: log lines are lost: <stdout>: No space left on device\n"


def test_a_log_file_that_cannot_be_opened_halts_the_start_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(HaltError, match="cannot write the log there: No such file or directory"):
        configure("json", "info", tmp_path / "nowhere" / "log")


def test_configuring_again_does_not_say_everything_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("json", "info", tmp_path / "log")
    configure("json", "info", tmp_path / "log")

    log.info(Event.DAEMON_READY)

    assert len(lines(capsys.readouterr().out)) == len(lines((tmp_path / "log").read_text())) == 1
