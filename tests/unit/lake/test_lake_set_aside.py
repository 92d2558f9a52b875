"""The reason beside a refused file."""

import json
import os
import stat

import pytest

from daemon.catalog.promotion import TableKey
from daemon.lake.layout import Layout
from daemon.lake.set_aside import reason_path, write_reason


def test_a_reason_stands_beside_its_file_and_is_closed_to_others(layout: Layout, key: TableKey) -> None:
    file = layout.quarantine(key) / "b1-0-a.csv"
    write_reason(file, {"reason": "der Kopf ist beschädigt"})
    written = file.with_name("b1-0-a.csv.reason.json")
    assert json.loads(written.read_bytes()) == {"reason": "der Kopf ist beschädigt"}
    assert "beschädigt" in written.read_text(encoding="utf-8")
    assert (
        stat.S_IMODE(written.stat().st_mode) & 0o027 == 0o000 | stat.S_IMODE(written.stat().st_mode) & 0o020
    )
    assert stat.S_IMODE(written.parent.stat().st_mode) & 0o007 == 0


def test_a_reason_may_be_written_again(layout: Layout, key: TableKey) -> None:
    file = layout.quarantine(key) / "b1-0-a.csv"
    write_reason(file, {"reason": "first"})
    write_reason(file, {"reason": "second"})
    assert [path.name for path in file.parent.iterdir()] == ["b1-0-a.csv.reason.json"]
    assert json.loads(reason_path(file).read_bytes()) == {"reason": "second"}


def test_a_name_that_is_not_utf8_comes_back_byte_for_byte(layout: Layout, key: TableKey) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    file = layout.quarantine(key) / name
    write_reason(file, {"file": name})
    assert os.fsencode(reason_path(file).name) == b"caf\xe9.csv.reason.json"
    assert os.fsencode(json.loads(reason_path(file).read_bytes())["file"]) == b"caf\xe9.csv"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_reason_of_a_very_long_name_fits(layout: Layout, key: TableKey, name: str) -> None:
    file = layout.quarantine(key) / name
    write_reason(file, {"reason": "r"})
    assert reason_path(file).exists()
    assert reason_path(file).name.endswith(".reason.json")
