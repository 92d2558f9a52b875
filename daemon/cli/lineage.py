"""`medalliond lineage`: where rows came from. A batch with its files and its hops.

A row of any layer names its file, its record and its batch (`_source_file`, `_source_row`, `_batch_id`); this
tells the rest.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from daemon.catalog.ledger.dropped import KnownFile
from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import LayerTransitionLog
from daemon.cli.output import console, count, print_json, printable, styled
from daemon.cli.roots import WrongRequestError, did_you_mean, find_table, open_ledger, open_root
from daemon.lake.layout import Layout

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ACTS = {"retraction": "undone, staged made anew", "restoration": "redone, staged made anew"}
_FILES_SHOWN = 20


def show_lineage(root: Path, name: str, *, limit: int, as_json: bool) -> None:
    """Print the story of every batch that `name` means, the newest `limit` of them."""
    layout = open_root(root)
    with open_ledger(layout) as views:
        kind, batch_ids = find_batches(views, layout, name, limit)
        stories = [_story(views, batch_id, name if kind == "file" else None) for batch_id in batch_ids]
    if as_json:
        print_json({"name": name, "kind": kind, "batches": stories})
        return
    output = console()
    for story in stories:
        output.print(_tree(story))


def find_batches(views: LedgerViews, layout: Layout, name: str, limit: int) -> tuple[str, list[str]]:
    """Return what `name` is (`batch`, `file` or `table`) and the batches it means, newest first.

    Raises WrongRequestError when it means none.
    """
    if batch_id := _batch_named(views, name):
        return "batch", [batch_id]
    files = deliveries(views, layout, name) or views.files.named(Path(name).name)
    if files:
        return "file", list(dict.fromkeys(file.batch_id for file in files))[:limit]
    tables = views.tables()
    try:
        key = find_table(name, tables)
    except WrongRequestError as error:
        raise WrongRequestError(
            f"'{name}' is no batch, no file and no table that the ledger knows. "
            f"{did_you_mean(name, [str(table) for table in tables])}"
        ) from error
    return "table", views.batches_of_table(key, limit)


def _batch_named(views: LedgerViews, name: str) -> str | None:
    """Return the batch of that id, or of the id that a file of ours has in its name."""
    found = _UUID.search(Path(name).name) or _UUID.search(name)
    batch_id = found.group() if found else name
    return batch_id if views.batch(batch_id) or views.transitions_of_batch(batch_id) else None


def deliveries(views: LedgerViews, layout: Layout, name: str) -> list[KnownFile]:
    """Return the deliveries of a dropped file, by where it rests, its name below landing, or its last part."""
    for path in (Path(name).absolute(), layout.root / name):
        if path.is_relative_to(layout.landing):
            return views.files.named(str(path.relative_to(layout.landing)))
        if path.is_relative_to(layout.root) and (found := views.files.at(layout.relative(path))):
            return found
    return views.files.named(name)


def _story(views: LedgerViews, batch_id: str, file: str | None) -> dict[str, Any]:
    batch = views.batch(batch_id)
    transitions = views.transitions_of_batch(batch_id)
    key = _table_of(batch, transitions)
    return {
        "batch_id": batch_id,
        "domain": key.domain,
        "table": key.table,
        "state": batch["state"] if batch else "model",
        "parent": batch["parent"] if batch else None,
        "created_at": batch["created_at"] if batch else None,
        "done_at": batch["done_at"] if batch else None,
        "files": [_file(known) for known in reversed(views.files.of_batch(batch_id))],
        "transitions": [log.model_dump(mode="json") for log in transitions],
        "asked_for": Path(file).name if file else None,
    }


def _table_of(batch: dict[str, Any] | None, transitions: Sequence[LayerTransitionLog]) -> TableKey:
    if batch:
        return TableKey(batch["domain"], batch["table_name"])
    return TableKey(transitions[0].domain, transitions[0].table)


def _file(known: KnownFile) -> dict[str, Any]:
    return {
        "name": known.name,
        "bytes": known.size,
        "sha256": known.sha256,
        "rows": known.rows,
        "state": known.state,
        "kind": known.kind,
        "reason": known.reason,
        "path": known.path,
        "went_back": known.went_back,
    }


def _tree(story: dict[str, Any]) -> Tree:
    tree = Tree(
        f"[bold]{escape(story['domain'])}.{escape(story['table'])}[/]  batch {story['batch_id']}  "
        f"{styled(story['state'])}"
    )
    if story["parent"]:
        tree.add(f"split off from batch {story['parent']}")
    files = _shown_first(story["files"], story["asked_for"])
    for file in files[:_FILES_SHOWN]:
        tree.add(_file_line(file))
    if len(files) > _FILES_SHOWN:
        tree.add(f"and {len(files) - _FILES_SHOWN:,} more files; --json names them all")
    for log in story["transitions"]:
        _add_hop(tree, log)
    return tree


def _shown_first(files: list[dict[str, Any]], name: str | None) -> list[dict[str, Any]]:
    return sorted(files, key=lambda file: Path(file["name"]).name != name)


def _file_line(file: dict[str, Any]) -> str:
    rows = "" if file["rows"] is None else f"  {count(file['rows'], 'row')}"
    digest = f"  sha256 {file['sha256'][:12]}…" if file["sha256"] else ""
    reason = f"\n  {escape(printable(file['reason']))}" if file["reason"] else ""
    where = "back to" if file["went_back"] else "now"
    place = "removed" if file["path"] is None else f"{where} {escape(printable(file['path']))}"
    return f"file {escape(printable(file['name']))}{rows}{digest}  {styled(file['state'])}  {place}{reason}"


def _sources(log: dict[str, Any]) -> list[str]:
    """What is said of the files behind a hop that is no promotion."""
    if log["kind"] in _ACTS:
        return [f"{source['path']}: {source['note']}" for source in log["source_files"]]
    if log["kind"] == "model":
        return [f"from {source['path']}  {count(source['rows'], 'row')}" for source in log["source_files"]]
    return []


def _add_hop(tree: Tree, log: dict[str, Any]) -> None:
    counts = f"{log['row_count_in']:,} in, {log['row_count_out']:,} out"
    for word in ("quarantined", "deduplicated", "filtered", "retracted"):
        if log[f"rows_{word}"]:
            counts += f", {log[f'rows_{word}']:,} {word}"
    state = "" if log["status"] == "success" else f"  {styled(log['status'])}"
    act = _ACTS.get(log["kind"], f"{log['source_layer']} -> {log['target_layer']}")
    hop = tree.add(f"{act}  {counts}{state}")
    if log["target_file"]:
        hop.add(escape(printable(log["target_file"])))
    for source in _sources(log):
        hop.add(escape(printable(source)))
    if log["transforms_applied"]:
        hop.add(escape(printable(", ".join(log["transforms_applied"]))))
    for error in log["errors"]:
        hop.add(f"[red]{escape(printable(error))}[/]")
    if log["supersedes"]:
        hop.add(f"replaces what transition {log['supersedes']} wrote")
