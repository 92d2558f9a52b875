"""Scenes in which the daemon's rarer steps happen: what fails by itself, other disks, dying workers, people who meddle."""

import errno
import os
import shutil
from pathlib import Path

from torture.life import LEFT_FOR_LATER, MEANWHILE_IS, SETUP, Scene, expect, stopping
from torture.scenes import ask, deliver, drop, events, file_ids, looked_up, orders
from torture.shim import Action, Calls, Fault, Roles
from torture.warm import Warm

_FAILING_CHECK = """
silver:
  checks: [{name: small, sql: "id < 100", on_failure: fail}]
bronze:
  cast: {id: int64}
"""


_WORDS = "word\n" + "\n".join(f"w{number}" for number in range(50_001)) + "\n"
"""So many rows that they are not held in memory."""


def contract(root: Path, table: str, text: str) -> None:
    """Write or change a contract."""
    path = root / f"catalog/contracts/{table}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _marked(_: Warm, root: Path) -> None:
    """A file with its done-marker, and so many others that they are synced together."""
    contract(root, "main/marked", "landing: {done_marker: true}\n")
    drop(root, "marked/0.csv", events(0))
    drop(root, "marked/0.csv.done", "")
    for number in range(1, 11):
        drop(root, f"events/{number}.csv", events(number))


def _rejected(_: Warm, root: Path) -> None:
    """Of two files taken together one fails a check that its table insists on."""
    contract(root, "sales/strict", _FAILING_CHECK)
    drop(root, "sales/strict/good.csv", "id\n1\n2\n")
    drop(root, "sales/strict/bad.csv", "id\n3\n400\n")


def _failing(_: Warm, root: Path) -> None:
    """A model that cannot be made, and a table whose contract asks for a column that is not there."""
    contract(root, "sales/broken", "model: {sql: SELECT nothing FROM gold.main.events}\n")
    contract(root, "sales/wrong", "gold: {sql: SELECT nothing FROM silver}\n")
    drop(root, "events/0.csv", events(0))
    drop(root, "sales/wrong/0.csv", "id\n1\n")


def _other_disk(_: Warm, root: Path) -> None:
    """The archive is on another file system: hard links are refused."""
    drop(root, "kept/0.csv", "id,code\nT0,1\n")
    drop(root, "events/0.csv", events(0))


def _copied(warm: Warm, root: Path) -> None:
    """A source was copied to the archive on another file system; a crash came before it was removed."""
    _other_disk(warm, root)
    fault = Fault(Action.KILL_DAEMON, 1, calls=Calls.CHMOD, roles=Roles.PARENT)
    if warm.run(root, ["drain"], setup=SETUP, fault=fault) != -9:
        raise AssertionError("the kill after the move did not fire")
    moved = next((root / "data/archive/main/events").rglob("0.csv"))
    batch = looked_up(root, "SELECT claimed_path FROM files WHERE name = 'events/0.csv'")[0]
    claimed = root / (batch.decode() if isinstance(batch, bytes) else batch)
    claimed.parent.mkdir(exist_ok=True)
    shutil.copy2(moved, claimed)


def _late(warm: Warm, root: Path) -> None:
    """Older rows arrive after newer ones; of an earlier change a generation is left that was never shown."""
    deliver(warm, root, 3)
    (root / "data/.generations/silver/sales/orders/9").mkdir()
    drop(root, "sales/orders/1.csv", orders(1))


def _undo(warm: Warm, root: Path) -> None:
    """One of two deliveries is undone."""
    deliver(warm, root, 1, 3)
    ask(root, "undo", files=file_ids(root, "1.csv"))


def _undo_twice(warm: Warm, root: Path) -> None:
    """A delivery is undone by two people at once, another comes back."""
    deliver(warm, root, 1, 3, 5)
    ask(root, "undo", files=file_ids(root, "5.csv"))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    ask(root, "undo", files=file_ids(root, "1.csv"))
    ask(root, "undo", files=file_ids(root, "1.csv"))
    ask(root, "redo", files=file_ids(root, "5.csv"))


def _undo_by_hand(warm: Warm, root: Path) -> None:
    """A person is about to undo a delivery, no daemon runs."""
    deliver(warm, root, 1, 3)


def _doomed_rebuild(warm: Warm, root: Path) -> None:
    """A rebuild is asked for under a contract that old deliveries fail."""
    contract(root, "sales/strict", "bronze: {cast: {id: int64}}\n")
    drop(root, "sales/strict/bad.csv", "id\n3\n400\n")
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    contract(root, "sales/strict", _FAILING_CHECK)
    ask(root, "rebuild", "strict")


def _decisions(warm: Warm, root: Path) -> None:
    """Of records and files that were set aside one is released, one discarded, one taken up again."""
    deliver(warm, root, 7)
    broken = b"PK\x03\x04" + bytes(range(256))
    for number in range(2):
        drop(root, f"sales/orders/{number}.xlsx", broken + bytes([number]))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    again, never = file_ids(root, "0.xlsx"), file_ids(root, "1.xlsx")
    records = _caught_by_a_check(root)
    ask(root, "release", records=records[:1])
    ask(root, "discard", records=records[1:2])
    ask(root, "discard", files=never)
    ask(root, "replay", files=again)


def _caught_by_a_check(root: Path) -> list[tuple[str, str, int, str]]:
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT _batch_id, _source_file, _source_row, rule FROM read_parquet($1) "
            "WHERE rule = 'check:positive' ORDER BY 3",
            [f"{root}/data/quarantine/sales/orders/*-silver.parquet"],
        ).fetchall()
    return [(str(batch), str(file), int(row), str(rule)) for batch, file, row, rule in found]


def _alone(_: Warm, root: Path) -> None:
    """One file, and nothing else."""
    drop(root, "events/0.csv", events(0))


def _no_model_rows(warm: Warm, root: Path) -> None:
    """The only delivery that a model reads is undone."""
    deliver(warm, root, 1)
    ask(root, "undo", files=file_ids(root, "1.csv"))


def _damaged(warm: Warm, root: Path) -> None:
    """Of three files taken together, two of them damaged, a damaged and a good one are undone."""
    for name in ("a", "b"):
        drop(root, f"sales/orders/{name}.csv", f"{orders(ord(name))}T-short-{name}\n")
    drop(root, "sales/orders/c.csv", orders(3))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    ask(root, "undo", files=(*file_ids(root, "a.csv"), *file_ids(root, "c.csv")))


def _many_rows(_: Warm, root: Path) -> None:
    """So many rows that they are not held in memory, and no column to cast."""
    drop(root, "large/0.csv", _WORDS)


def _large_keyed(warm: Warm, root: Path) -> None:
    """A row arrives for a table with keys, which has a large file, and the index of one that is gone."""
    contract(root, "main/keyed", "silver: {dedup: {keys: [word], keep: last}}\n")
    drop(root, "keyed/0.csv", _WORDS)
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    (root / "data/.index/main/keyed").mkdir(parents=True)
    (root / "data/.index/main/keyed/old").touch()
    drop(root, "keyed/1.csv", "word\nanother\n")


def _small_files(warm: Warm, root: Path) -> None:
    """Three small deliveries, to be merged."""
    deliver(warm, root, 1, 3, 5)


def _merged(warm: Warm, root: Path) -> None:
    """Small deliveries were merged."""
    _small_files(warm, root)
    expect(warm.run(root, ["run"], setup=SETUP | _MERGE, meanwhile=stopping(root, _is_merged)), warm)


def _undo_merged(warm: Warm, root: Path) -> None:
    """A delivery is undone whose rows were merged with others'."""
    _merged(warm, root)
    ask(root, "undo", files=file_ids(root, "3.csv"))


def _lost_merged(warm: Warm, root: Path) -> None:
    """A merged file is gone; a person is about to repair the root."""
    _merged(warm, root)
    generation, name = looked_up(
        root,
        "SELECT generation || '/' || name FROM layer_files JOIN layers "
        "USING (domain, table_name, layer) WHERE merged = 1 AND layer = 'gold'",
    )[0].split("/")
    (root / f"data/.generations/gold/sales/orders/{generation}/{name}").unlink()


def _is_merged(root: Path) -> bool:
    return bool(looked_up(root, "SELECT 1 FROM layer_files WHERE merged = 1 AND layer = 'gold'"))


def _forgotten(warm: Warm, root: Path) -> None:
    """A file lies where a claim that was given up would have put it: landing was not mounted meanwhile."""
    _alone(warm, root)
    expect(warm.run(root, ["drain"], setup=SETUP | {MEANWHILE_IS: "take away"}), warm)
    (path,) = looked_up(root, "SELECT claimed_path FROM files WHERE state = 'vanished'")
    claimed = root / os.fsdecode(path)
    claimed.parent.mkdir(exist_ok=True)
    (root / "landing/events/.taken").rename(claimed)


def _half_answered(_: Warm, root: Path) -> None:
    """A death came while somebody's request was answered."""
    requests = root / "catalog/requests"
    requests.mkdir(exist_ok=True)
    (requests / "0.answer.json.0.tmp").touch()


_LINKS_REFUSED = Fault(Action.FAIL, 1, 1, errno.EXDEV, Calls.LINK)
_NO_LINKS = Fault(Action.FAIL, 1, 1_000_000, errno.EPERM, Calls.LINK)
_WORKER_DIES = Fault(Action.KILL_CALLER, 1, roles=Roles.WORKER)
_MERGE = {"MEDALLIOND_COMPACTION_MIN_FILES": "2", "MEDALLIOND_COMPACTION_MIN_AGE": "0"}

CORNERS = (
    Scene("marked", _marked),
    Scene("marked again", _marked, meanwhile="mark again"),
    Scene("rejected", _rejected),
    Scene("failing", _failing, setup=LEFT_FOR_LATER, failing=True),
    Scene("other disk", _other_disk, fault=_LINKS_REFUSED),
    Scene("no hard links", _other_disk, fault=_NO_LINKS),
    Scene("copied", _copied),
    Scene("late", _late),
    Scene("undo, worker dies", _undo, fault=_WORKER_DIES),
    Scene("hop, worker dies", _alone, fault=_WORKER_DIES),
    Scene("undo twice", _undo_twice),
    Scene("undo by hand", _undo_by_hand, words=("undo", "1.csv")),
    Scene("doomed rebuild", _doomed_rebuild),
    Scene("decisions", _decisions),
    Scene("no model rows", _no_model_rows),
    Scene("damaged", _damaged),
    Scene("many rows", _many_rows),
    Scene("large file with keys", _large_keyed),
    Scene("small files", _small_files, words=("run",), setup=_MERGE, until=_is_merged),
    Scene("undo of merged", _undo_merged),
    Scene("lost merged file", _lost_merged, words=("verify", "--repair")),
    Scene("writer", _alone, meanwhile="write"),
    Scene("swapped", _alone, meanwhile="swap"),
    Scene("swapped again", _alone, meanwhile="swap again"),
    Scene("half answered", _half_answered),
    Scene("written on", _alone, meanwhile="write on"),
    Scene("forgotten", _forgotten),
    Scene("tidied", _alone, meanwhile="tidy"),
    *(
        Scene(f"refused {what}", _alone, meanwhile=f"refuse {what}")
        for what in ("folder", "claim", "archive", "lineage", "receipt")
    ),
    Scene(
        "overtaken",
        _small_files,
        ("run",),
        setup=_MERGE,
        meanwhile="overtake",
        until=_is_merged,
    ),
)
