"""What SQLite says of a disk that fails is the machine's fault, and a damage is looked at before it is believed."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.catalog.ledger.store import Store
from daemon.errors import HaltError, RetryLaterError


class _Failing:
    """A connection that answers every statement with an error."""

    def __init__(self, error: sqlite3.Error) -> None:
        self._error = error

    def execute(self, *_: object) -> None:
        raise self._error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store.open(tmp_path / "state.sqlite3")
    connection = found._connection
    yield found
    connection.close()


def fail(store: Store, error: sqlite3.Error) -> None:
    store._connection = _Failing(error)  # type: ignore[assignment]


class _SyncFails:
    """A connection whose commits fail as where the sync of the log does, once what they wrote is in it."""

    def __init__(self, connection: sqlite3.Connection, written: bytes, log: Path) -> None:
        self._connection = connection
        self._written = written
        self._log = log
        self.fails = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA") and self.fails:
            raise sqlite3.OperationalError("disk I/O error")
        if sql != "COMMIT" or not self.fails:
            return self._connection.execute(sql, *values)
        self._log.write_bytes(self._written)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error


def _after_a_death(root: Path, name: str) -> list[str]:
    """What is to be removed by the ledger of a daemon that died now."""
    copy = root / name
    copy.mkdir()
    for part in ("state.sqlite3", "state.sqlite3-wal"):
        shutil.copy(root / part, copy)
    found = Store.read_only(copy / "state.sqlite3")
    paths = [row["path"] for row in found.rows("SELECT path FROM removals")]
    found.close()
    return paths


def _remember(store: Store) -> None:
    with store.transaction() as tx:
        tx.execute("INSERT INTO removals VALUES ('ghost', '2026')")


def test_what_a_commit_left_whose_sync_failed_is_written_over_before_anything_is_told(
    store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "state.sqlite3-wal"
    twin = tmp_path / "twin"
    twin.mkdir()
    for part in ("state.sqlite3", "state.sqlite3-wal"):
        shutil.copy(tmp_path / part, twin)
    other = Store.open(twin / "state.sqlite3")
    _remember(other)  # what stands in the log after such a commit
    failing = _SyncFails(store._connection, (twin / log.name).read_bytes(), log)
    store._connection = failing  # type: ignore[assignment]
    with pytest.raises(RetryLaterError, match="could not be written: disk I/O error"):
        _remember(store)
    other.close()
    assert _after_a_death(tmp_path, "at_once") == ["ghost"], "the fault must fire"
    for _ in range(2):  # and again: nothing is left open by it
        with pytest.raises(RetryLaterError, match="could not be read: disk I/O error"):
            store.rows("SELECT path FROM removals")
    failing.fails = False
    assert store.rows("SELECT path FROM removals") == []
    assert _after_a_death(tmp_path, "once_told") == []


@pytest.mark.parametrize("refuses_still", [False, True])
def test_a_ledger_in_doubt_is_written_over_before_it_is_folded_into_its_file(
    store: Store, tmp_path: Path, *, refuses_still: bool
) -> None:
    failing = _SyncFails(store._connection, b"", tmp_path / "elsewhere")
    asked: list[str] = []
    store._connection = failing  # type: ignore[assignment]
    with pytest.raises(RetryLaterError):
        _remember(store)
    failing.fails = refuses_still
    failing._connection.set_trace_callback(asked.append)
    store.close()
    assert any("user_version" in sql for sql in asked) is not refuses_still
    assert Store.open(tmp_path / "state.sqlite3").rows("SELECT path FROM removals") == []


def test_a_query_that_the_disk_refuses_is_to_be_tried_again(store: Store) -> None:
    fail(store, sqlite3.OperationalError("disk I/O error"))
    with pytest.raises(RetryLaterError, match="could not be read: disk I/O error"):
        store.rows("SELECT * FROM batches")
    with pytest.raises(RetryLaterError, match="could not be read: disk I/O error"):
        store.row("SELECT * FROM batches")


def test_a_damage_said_in_passing_is_not_believed(store: Store) -> None:
    fail(store, sqlite3.DatabaseError("database disk image is malformed"))
    with pytest.raises(RetryLaterError, match="just now"):
        store.row("SELECT * FROM batches")
    with pytest.raises(RetryLaterError, match="just now"), store.transaction():
        pass


def test_a_damage_that_is_there_stops_the_daemon_and_says_the_way_out(store: Store, tmp_path: Path) -> None:
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = tmp_path / "state.sqlite3"
    path.write_bytes(b"no ledger" + path.read_bytes()[9:])
    fail(store, sqlite3.DatabaseError("file is not a database"))
    with pytest.raises(HaltError, match="Restore it from a backup"):
        store.rows("SELECT * FROM batches")


def test_a_mistake_of_ours_is_no_fault_of_the_machine(store: Store) -> None:
    fail(store, sqlite3.ProgrammingError("wrong number of values"))
    with pytest.raises(sqlite3.ProgrammingError):
        store.rows("SELECT * FROM batches")


def test_a_ledger_whose_name_could_not_be_made_durable_halts_and_the_next_start_does_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite3"
    folder = tmp_path.stat()
    synced: list[bool] = []

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, f"Input/output error {descriptor}")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", refuse)
        with pytest.raises(HaltError, match=r"cannot be opened: .*Input/output error"):
            Store.open(path)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.path.samestat(os.fstat(file), folder)))
    Store.open(path).close()
    assert synced.count(True) == 1


def test_what_a_death_left_in_the_log_is_written_anew_and_synced_before_it_is_believed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _remember(store)
    with store.transaction() as tx:  # more than is read of it at once
        tx.execute_many(
            "INSERT INTO removals VALUES (?, '')", [(f"{number:0500}",) for number in range(5000)]
        )
    left = tmp_path / "left"
    left.mkdir()
    for part in ("state.sqlite3", "state.sqlite3-wal"):
        shutil.copy(tmp_path / part, left)
    log = left / "state.sqlite3-wal"
    before, written = log.read_bytes(), log.stat().st_mtime_ns
    assert len(before) > 2 << 20
    synced: list[tuple[int, bytes]] = []

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, log.read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    found = Store.open(left / "state.sqlite3")
    assert synced[0] == (log.stat().st_ino, before)
    assert log.stat().st_mtime_ns > written
    assert [row["path"] for row in found.rows("SELECT path FROM removals WHERE due_at <> ''")] == ["ghost"]
    assert len(found.rows("SELECT path FROM removals")) == 5001
    found.close()
