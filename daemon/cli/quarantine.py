"""`medalliond quarantine`: what was set aside, and why. Lists come from the ledger, records from Parquet."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.ledger.views import LedgerViews, QuarantinedRecords
from daemon.catalog.promotion import TableKey
from daemon.cli.lake_sql import records_of, write_rows
from daemon.cli.lineage import find_batches
from daemon.cli.output import console, count, on_terminal, print_json, print_line, print_table, printable
from daemon.cli.roots import WrongRequestError, find_table, open_ledger, open_root
from daemon.cli.selection import Selection
from daemon.lake.layout import Layout

_BATCHES = 1000
"""So many deliveries of one file are looked at, the newest."""
NOTHING_MEANT = "nothing that was set aside is meant by this; see `medalliond quarantine list`."
_COLUMNS = ("domain", "table", "what", "file", "rows", "rule", "reason", "batch_id", "layer", "at", "path")
_ON_A_TERMINAL = ("domain", "table", "what", "file", "rows", "rule", "reason")


def list_quarantine(root: Path, chosen: Selection, *, as_json: bool) -> None:
    """Print what was set aside and not discarded: sets of records first, then whole files."""
    sets, files = selected(open_root(root), chosen, needed=False)
    entries = [*map(_records, sets), *map(_file, files)]
    if as_json:
        print_json(entries)
    elif entries:
        columns = _ON_A_TERMINAL if on_terminal() else _COLUMNS
        print_table("set aside", columns, ([entry[column] for column in columns] for entry in entries))
        if on_terminal():
            print_line("`medalliond quarantine show TABLE` shows the records.")
    elif on_terminal():
        print_line("Nothing was set aside.")


def selected(
    layout: Layout, chosen: Selection, *, needed: bool = True
) -> tuple[list[QuarantinedRecords], list[KnownFile]]:
    """The sets of records and the files that are meant. Raises WrongRequestError when there are none but `needed`."""
    with open_ledger(layout) as views:
        key = None if chosen.table is None else find_table(chosen.table, views.tables())
        sets = [
            found
            for found in views.quarantined(key)
            if chosen.rule in (None, found.rule)
            and chosen.is_after(found.at)
            and chosen.is_of(found.file)
            and found.rows > found.discarded
        ]
        files = [
            file
            for file in views.files.set_aside(key)
            if chosen.rule in (None, file.kind) and chosen.is_of(file.name) and not chosen.records
        ]
    if needed and not sets and not files:
        raise WrongRequestError(NOTHING_MEANT)
    return sets, files


def chosen_rows(layout: Layout, chosen: Selection, *, needed: bool = True) -> Iterator[dict[str, Any]]:
    """The records that are meant and were not discarded, each with `domain` and `table`."""
    sets, _ = selected(layout, chosen, needed=needed)
    return _rows(layout, sets, chosen)


def _rows(layout: Layout, sets: Sequence[QuarantinedRecords], chosen: Selection) -> Iterator[dict[str, Any]]:
    """Those records of the sets that are meant."""
    wanted = {(found.path, found.rule) for found in sets}
    with open_ledger(layout) as views:
        discarded = views.discarded()
    for path, key in {found.path: found.key for found in sets}.items():
        for row in records_of(layout, layout.root / path):
            if (
                (path, row["rule"]) in wanted
                and chosen.is_of(row["_source_file"])
                and (not chosen.records or row["_source_row"] in chosen.records)
                and (row["_batch_id"], row["_source_file"], row["_source_row"], row["rule"]) not in discarded
            ):
                yield {"domain": key.domain, "table": key.table, **row}


def export_quarantine(root: Path, path: Path, chosen: Selection) -> None:
    """Write the records that are meant to a new file, in the form its name says."""
    if path.exists():
        raise WrongRequestError(f"{path}: there is such a file already; name a new one.")
    rows = list(chosen_rows(open_root(root), chosen))
    write_rows(rows, path)
    print_line(f"{path}: {count(len(rows), 'record')}")


def show_quarantine(root: Path, name: str, *, limit: int, as_json: bool) -> None:
    """Print the set-aside records and files of what `name` means: a batch, a dropped file or a table."""
    layout = open_root(root)
    with open_ledger(layout) as views:
        sets, files, chosen = _wanted(views, layout, name)
    rows = list(itertools.islice(_rows(layout, sets, chosen), limit))
    if as_json:
        print_json({"records": rows, "files": [_file(file) for file in files]})
        return
    for row in rows:
        _print_record(row)
    for file in files:
        print_line(f"{printable(file.name)}  the whole file was set aside: {file.kind}")
        print_line(f"    {printable(file.reason)}")
        print_line(f"    it is now {printable(file.path)}")
    more = sum(found.rows - found.discarded for found in sets) - len(rows)
    if more > 0:
        print_line(f"and {count(more, 'more record')}; --limit N shows more of them")
    if not rows and not files and on_terminal():
        print_line("Nothing was set aside of it.")


def _wanted(
    views: LedgerViews, layout: Layout, name: str
) -> tuple[list[QuarantinedRecords], list[KnownFile], Selection]:
    """Return sets of records and files, and which of those records are wanted."""
    kind, batch_ids = find_batches(views, layout, name, limit=_BATCHES)
    if kind == "table":
        key = find_table(name, views.tables())
        return views.quarantined(key), views.files.set_aside(key), Selection()
    chosen = Selection(file=Path(name).name if kind == "file" else None)
    return (
        [found for found in views.quarantined() if found.batch_id in batch_ids and chosen.is_of(found.file)],
        [file for file in views.files.set_aside() if file.batch_id in batch_ids and chosen.is_of(file.name)],
        chosen,
    )


def _print_record(row: dict[str, Any]) -> None:
    where = f"{row['_source_file']}, record {row['_source_row']}"
    if row["line"] is not None:
        where += f", line {row['line']}"
    print_line(f"{TableKey(row['domain'], row['table'])}  {printable(where)}  did not reach {row['_layer']}")
    rule, reason, raw = printable(row["rule"]), printable(row["reason"]), printable(row["raw"])
    under = _field(raw, row["rule"])
    if under is None or (on_terminal() and len(raw) >= console().width):
        print_line(f"    {rule}: {reason}")
        print_line(f"    {raw}")
    else:
        start, end = under
        print_line(f"    {rule}")
        print_line(f"    {raw}")
        print_line(f"    {' ' * start}{'^' * (end - start)} {reason}")


def _field(raw: str, rule: str) -> tuple[int, int] | None:
    """Where the value that a cast refused stands in the record as it is shown; None for other rules."""
    column = rule.removeprefix("cast:")
    if column == rule:
        return None
    found = re.search(
        re.escape(json.dumps(column, ensure_ascii=False)) + r':("(?:[^"\\\\]|\\\\.)*"|[^,}]*)', raw
    )
    return found.span(1) if found else None


def _records(found: QuarantinedRecords) -> dict[str, Any]:
    return {
        "domain": found.key.domain,
        "table": found.key.table,
        "what": "records",
        "file": found.file,
        "rows": found.rows - found.discarded,
        "rule": found.rule,
        "reason": None,
        "batch_id": found.batch_id,
        "layer": str(found.layer),
        "at": found.at,
        "path": found.path,
    }


def _file(found: KnownFile) -> dict[str, Any]:
    return {
        "domain": found.key.domain,
        "table": found.key.table,
        "what": "file",
        "file": found.name,
        "rows": found.rows,
        "rule": found.kind,
        "reason": found.reason,
        "batch_id": found.batch_id,
        "layer": None,
        "at": None,
        "path": found.path,
    }
