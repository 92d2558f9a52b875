"""What is kept of a table's columns."""

from pathlib import Path

from daemon.catalog.promotion import BatchOutcome, TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.lake.layout import Layout
from daemon.lake.tables import read_table, table_path
from daemon.scheduling.tables import TableNotes

KEY = TableKey("sales", "orders")


def outcome(columns: dict[str, str], headers: dict[str, str] | None = None) -> BatchOutcome:
    log = LayerTransitionLog.model_validate(
        {
            "transition_id": "t",
            "batch_id": "b",
            "domain": KEY.domain,
            "table": KEY.table,
            "source_layer": "landing",
            "target_layer": "staged",
            "started_at": "2026-01-01T00:00:00Z",
            "completed_at": "2026-01-01T00:00:00Z",
            "status": "success",
        }
    )
    return BatchOutcome(log, None, columns=tuple(columns.items()), headers=tuple((headers or {}).items()))


def test_columns_of_later_batches_are_added_and_spellings_kept(tmp_path: Path) -> None:
    notes = TableNotes(Layout(tmp_path))
    notes.note(KEY, [(Layer.STAGED, outcome({"id": "String"}, {"id": " id "}))])
    notes.note(KEY, [(Layer.STAGED, outcome({"id": "String", "day": "String"}))])
    notes.note(KEY, [(Layer.BRONZE, outcome({"id": "Int64"}))])
    known = read_table(Layout(tmp_path), KEY)
    assert known is not None
    assert known.columns == {
        Layer.STAGED: {"id": "String", "day": "String"},
        Layer.BRONZE: {"id": "Int64"},
    }
    assert known.original_headers == {"id": (" id ",)}


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    notes = TableNotes(Layout(tmp_path))
    notes.note(KEY, [(Layer.STAGED, outcome({"id": "String"}))])
    before = table_path(Layout(tmp_path), KEY).stat()
    for _ in range(3):
        notes.note(KEY, [(Layer.STAGED, outcome({"id": "String"}))])
    assert table_path(Layout(tmp_path), KEY).stat().st_mtime_ns == before.st_mtime_ns
