"""Transition files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.catalog.transition import LayerTransitionLog
from daemon.lake.layout import Layout
from daemon.lake.lineage import read_transition, transition_path, write_transition


def _log(attempt: int = 1) -> LayerTransitionLog:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return LayerTransitionLog(
        transition_id="t1",
        batch_id="b1",
        domain="sales",
        table="orders",
        source_layer="landing",
        target_layer="staged",
        row_count_in=3,
        row_count_out=2,
        rows_quarantined=1,
        started_at=now,
        completed_at=now,
        attempt=attempt,
        status="partial",
    )


def test_a_transition_comes_back_as_it_was_written(layout: Layout) -> None:
    write_transition(layout, _log())
    assert read_transition(layout.root / "catalog/lineage/t1.json") == _log()


def test_a_transition_written_again_replaces_the_file_and_needs_no_sync(
    layout: Layout, steps: list[str]
) -> None:
    write_transition(layout, _log())
    write_transition(layout, _log(attempt=2))
    assert [path.name for path in layout.lineage.iterdir()] == ["t1.json"]
    assert read_transition(transition_path(layout, "t1")).attempt == 2
    assert not [step for step in steps if step.startswith("fsync")]


def test_a_file_that_a_power_cut_emptied_is_told(tmp_path: Path) -> None:
    (tmp_path / "t1.json").touch()
    with pytest.raises(ValidationError):
        read_transition(tmp_path / "t1.json")
