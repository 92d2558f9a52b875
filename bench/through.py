"""Files through the real daemon, each as a table of its own, and what became of each. Used by pollock and outcomes."""

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from bench.common import drain

_WAITS = ("waits", "empty", "it has no bytes, and stays in landing until it has")
_PROVENANCE = ("_source_file", "_source_row", "_ingested_at", "_batch_id", "_layer")


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    `state`: ingested, duplicate or set_aside; waits: it is left in landing, as an empty file is; `kind` and `reason` if set
    aside; `note`: how it was read. `header` as delivered, `rows` of gold as the text that was delivered, in order.
    `quarantined`: line (None above staged) and rule of each record.
    """

    state: str
    kind: str | None
    reason: str | None
    note: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    quarantined: Sequence[tuple[int | None, str]] = ()

    @property
    def has_warning(self) -> bool:
        """Whether the transition log says that the reading may not be what was meant."""
        return "warning" in self.note


def through_daemon(files: Mapping[str, Path], root: Path) -> dict[str, Outcome]:
    """Drop each file (by a name of its own) into a table of its own, drain, and look. Raises RuntimeError."""
    tables = {name: f"t{number:05}" for number, name in enumerate(sorted(files))}
    for name, table in tables.items():
        folder = root / "landing/bench" / table
        folder.mkdir(parents=True)
        shutil.copyfile(files[name], folder / files[name].name)
    drain(root, receipts="false", incomplete_wait="0")
    with sqlite3.connect(root / "catalog/state.sqlite3") as connection:
        rows = connection.execute(
            "SELECT table_name, state, kind, reason FROM files WHERE domain = 'bench'"
        ).fetchall()
        logs = connection.execute(
            "SELECT table_name, record FROM transitions WHERE target_layer = 'staged'"
        ).fetchall()
    states = {table: (state, kind, reason) for table, state, kind, reason in rows}
    notes = {table: _note(json.loads(record)) for table, record in logs}
    return {
        name: _outcome(
            root,
            table,
            *states.get(table, ("waits", "empty", "it has no bytes and stays in landing")),
            notes.get(table, ""),
        )
        for name, table in tables.items()
    }


def _note(record: dict[str, Any]) -> str:
    return " ".join(str(source["note"] or "") for source in record["source_files"])


def _outcome(root: Path, table: str, state: str, kind: str | None, reason: str | None, note: str) -> Outcome:
    header, rows = _gold_as_text(root, table)
    return Outcome(state, kind, reason, note, header, rows, _quarantined(root, table))


def _gold_as_text(root: Path, table: str) -> tuple[list[str], list[list[str]]]:
    """The records of gold as the text they were delivered as: types that were learned give back every text, dates aside."""
    gold = sorted((root / "data/gold/bench" / table).glob("*.parquet"))
    staged = sorted((root / "data/staged/bench" / table).glob("*.parquet"))
    if not gold:
        return _header(root, table, _known_columns(root, table)), []
    keys = ["_source_file", "_source_row"]
    kept = pl.concat([pl.read_parquet(path, columns=keys) for path in gold])
    frame = pl.concat([pl.read_parquet(path) for path in staged], how="diagonal_relaxed").join(
        kept, on=keys, how="semi"
    )
    own = [name for name in frame.columns if name not in _PROVENANCE]
    text = frame.sort(keys).select(_as_text(name, frame.schema[name]) for name in own)
    return _header(root, table, own), [["" if cell is None else cell for cell in row] for row in text.rows()]


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Typed columns (Parquet) are told by their type where they have no text."""
    has_text = dtype == pl.String or dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean
    return pl.col(name).cast(pl.String, strict=False) if has_text else pl.lit(str(dtype)).alias(name)


def _known_columns(root: Path, table: str) -> list[str]:
    """The columns of a table that has no row."""
    path = root / f"catalog/tables/bench.{table}.json"
    return list(json.loads(path.read_text())["columns"].get("staged", {})) if path.exists() else []


def _header(root: Path, table: str, columns: Sequence[str]) -> list[str]:
    if not columns:
        return []
    spelled = json.loads((root / f"catalog/tables/bench.{table}.json").read_text())["original_headers"]
    return [spelled.get(column, [column])[0] for column in columns]


def _quarantined(root: Path, table: str) -> list[tuple[int | None, str]]:
    folder = root / "data/quarantine/bench" / table  # a refused Parquet file lies there as well
    paths = [
        path for layer in ("staged", "bronze", "silver") for path in sorted(folder.glob(f"*-{layer}.parquet"))
    ]
    return [row for path in paths for row in pl.read_parquet(path, columns=["line", "rule"]).rows()]
