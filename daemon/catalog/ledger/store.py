"""The ledger's SQLite file: opening, migrating, one writer, transactions.

The only module that imports sqlite3.

WAL with `synchronous=FULL`: what a transaction committed survives a power cut (design/facts: NORMAL lost
every row). Used by the other modules of this package through `Store`.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

from daemon.catalog.ledger.schema import MIGRATIONS
from daemon.errors import HaltError, RetryLaterError

Row = sqlite3.Row


_LOOKED_AT = 64_000_000
"""Bytes of a ledger whose pages are all looked at before it is used (0.1 s); a larger one is looked at beside the work."""
_AT_ONCE = 1 << 20


class IllegalChangeError(Exception):
    """A state was changed in a way `schema.LEGAL_CHANGES` does not know: a bug, never an input's fault."""


class Store:
    """One connection, shared by the parent's threads under one lock."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, is_checked: bool) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.RLock()
        self._is_in_doubt = False
        self.is_checked = is_checked

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger for writing, made new where there is none, migrated where it is older.

        Raises HaltError for a ledger that is damaged or newer than this program; it is never replaced by an
        empty one.
        """
        try:
            _write_log_anew(path)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.row_factory = Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=5000")
            is_checked = _check(connection, path)
            _migrate(connection, path)
            _sync(path.parent)
        except (sqlite3.OperationalError, OSError) as error:
            raise HaltError(
                f"{path}: the ledger cannot be opened: {error}. Check the disk and permissions."
            ) from error
        except sqlite3.DatabaseError as error:
            raise HaltError(_damaged(path, str(error))) from error
        return cls(connection, path, is_checked=is_checked)

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Open the ledger beside a running daemon, for reading.

        Raises HaltError where there is none or it is unusable.
        """
        connection, version = _open_for_reading(path)
        _refuse_newer(version, path)
        return cls(connection, path, is_checked=False)

    def check(self) -> None:
        """Look at every page, on a connection of its own: whoever writes meanwhile is not held up.

        Raises HaltError when the ledger is damaged; RetryLaterError when the disk refuses.
        """
        try:
            with closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            ) as connection:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise RetryLaterError(f"{self._path}: the ledger could not be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise HaltError(_damaged(self._path, str(error))) from error
        if found != "ok":
            raise HaltError(_damaged(self._path, found))

    def settle(self) -> None:
        """Be sure of what was committed and what was not. Raises RetryLaterError as long as the disk refuses."""
        with self._lock:
            try:
                self._settle()
            except sqlite3.DatabaseError as error:
                self._blame(error, "written")

    def close(self) -> None:
        """Close the connection; the last one to close folds the WAL into the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """All or nothing, durable when it returns.

        Raises IllegalChangeError; RetryLaterError when the disk refuses; HaltError when the ledger is damaged.
        """
        with self._lock:
            try:
                self._settle()
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._commit()
            except sqlite3.IntegrityError as error:
                raise IllegalChangeError(str(error)) from error
            except sqlite3.DatabaseError as error:
                self._blame(error, "written")

    @contextmanager
    def part(self) -> Iterator[None]:
        """All or nothing of a part of an open transaction, which goes on either way."""
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a disk that fails may have ended it
                self._connection.execute("ROLLBACK TO part")
            raise
        self._connection.execute("RELEASE part")

    def _blame(self, error: sqlite3.DatabaseError, what: str) -> NoReturn:
        """Turn what SQLite says of a disk that refuses into RetryLaterError: it must never be blamed on a batch.

        "Malformed" may be said in passing while the disk fails: the ledger is looked at before that is believed.
        """
        if isinstance(error, sqlite3.OperationalError):
            raise RetryLaterError(f"the ledger could not be {what}: {error}") from error
        if type(error) is not sqlite3.DatabaseError:  # its other kinds are ours: wrong SQL, wrong values
            raise error
        self.check()
        raise RetryLaterError(f"the ledger could not be {what} just now: {error}") from error

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # All of it may stand in the write-ahead log when its sync fails, and be read from there after a death.
            self._is_in_doubt |= error.sqlite_errorname.startswith("SQLITE_IOERR")
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _settle(self) -> None:
        """Write over what a commit left whose sync failed: until then nobody is told that it never happened."""
        if self._is_in_doubt:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")  # as it is
            self._commit()
            self._is_in_doubt = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement of an open transaction and return the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows, within an open transaction."""
        self._connection.executemany(sql, values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Everything a query gives. Raises RetryLaterError when the disk refuses."""
        with self._lock:
            try:
                self._settle()
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                self._blame(error, "read")

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Yield what a query gives, row by row: for answers too large to hold, on a connection nobody shares."""
        yield from self._connection.execute(sql, values)

    def copy_to(self, path: Path) -> None:
        """Write the ledger as it stands at one instant into a new file, durably, whoever writes to it meanwhile.

        Raises RetryLaterError when the disk refuses.
        """
        try:
            with closing(sqlite3.connect(path)) as copy, self._lock:
                self._connection.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, until it is opened for writing again
        except sqlite3.OperationalError as error:
            raise RetryLaterError(f"{path}: the ledger could not be copied: {error}") from error

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, None if it gives none. Raises RetryLaterError when the disk refuses."""
        with self._lock:
            try:
                self._settle()
                found: Row | None = self._connection.execute(sql, values).fetchone()
            except sqlite3.DatabaseError as error:
                self._blame(error, "read")
            return found


def ledger_version(path: Path) -> int:
    """The version of a ledger, also of one that is newer than this program. Raises HaltError where it cannot be read."""
    connection, version = _open_for_reading(path)
    with closing(connection):
        return version


def _open_for_reading(path: Path) -> tuple[sqlite3.Connection, int]:
    """A connection, and the version of the ledger there. Raises HaltError."""
    if not path.exists():
        raise HaltError(_not_yet(path))
    try:
        # Where nobody can write, SQLite cannot either, which wants a file beside a ledger that may change.
        may = "immutable=1" if is_read_only(path) else "mode=ro"
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{may}", uri=True, check_same_thread=False)
        connection.row_factory = Row
        connection.execute("PRAGMA busy_timeout=5000")
        version = _version(connection)
        if version == 0:  # empty: a daemon is just making it, or was kept from it
            raise HaltError(_not_yet(path))
    except sqlite3.OperationalError as error:
        raise HaltError(
            f"{path}: the ledger cannot be read by this user: {error}. Ask as the daemon's user, or one who may write "
            f"to {path.parent} (SQLite keeps a file beside it)."
        ) from error
    except sqlite3.DatabaseError as error:
        raise HaltError(_damaged(path, str(error))) from error
    return connection, version


def is_read_only(path: Path) -> bool:
    """Whether a ledger lies on a file system that nobody writes to, and was closed before: a backup, a snapshot."""
    wal = path.with_name(f"{path.name}-wal")
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not (wal.exists() and wal.stat().st_size)


def _not_yet(path: Path) -> str:
    return f"{path}: there is no ledger here yet; `medalliond run` or `drain` makes one."


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Look at every page where that is soon done; returns whether it was. Raises HaltError."""
    if path.stat().st_size > _LOOKED_AT:
        return False
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise HaltError(_damaged(path, found))
    return True


def _refuse_newer(version: int, path: Path) -> None:
    if version > len(MIGRATIONS):
        raise HaltError(
            f"{path}: the ledger has version {version}, this medalliond knows up to {len(MIGRATIONS)}. "
            "Install the newer medalliond again; it is not touched."
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    _refuse_newer(version, path)
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise HaltError(_damaged(path, "it holds tables that are not medalliond's"))
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def _write_log_anew(path: Path) -> None:
    """Make what a death left in the write-ahead log durable, byte by byte as it is: whoever reads it notices nothing.

    Its last sync may have failed. To sync it once more would succeed, and say nothing of pages that the kernel gave up.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return
    with log.open("r+b") as file:
        while part := file.read(_AT_ONCE):
            file.seek(-len(part), os.SEEK_CUR)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the ledger's name durable; at every start, since the one that made it may have failed to.

    Lake, which owns directory syncs, stands above this floor.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, found: str) -> str:
    return (
        f"{path}: the ledger is damaged ({found}). Nothing was changed. Restore it from a backup, or move it away together "
        "with data/ and drop the files of data/archive/ into landing/ again."
    )
