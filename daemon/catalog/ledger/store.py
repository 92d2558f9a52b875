"""The ledger's one connection: transactions, questions, and what is said of a disk that refuses. Opened by opening.py.

Used by the other modules of this package through `Store`; the two are the only ones that import sqlite3.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from daemon.catalog.ledger.opening import look_at_every_page, open_for_reading, open_for_writing
from daemon.catalog.ledger.schema import MIGRATIONS
from daemon.errors import RetryLaterError

Row = sqlite3.Row


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
        """Open the ledger for writing, for whoever holds the root's lock; it is made or migrated where need be.

        Raises HaltError for a ledger that is damaged or newer than this program.
        """
        connection, is_checked = open_for_writing(path)
        return cls(connection, path, is_checked=is_checked)

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Open the ledger beside a running daemon, for reading. Raises HaltError where there is none or it is unusable."""
        return cls(open_for_reading(path), path, is_checked=False)

    def check(self) -> None:
        """Look at every page. Raises HaltError when the ledger is damaged; RetryLaterError when the disk refuses."""
        look_at_every_page(self._path)

    def settle(self) -> None:
        """Be sure of what was committed and what was not. Raises RetryLaterError as long as the disk refuses."""
        with self._lock:
            try:
                self._settle()
            except sqlite3.DatabaseError as error:
                self._blame(error, "written")

    def close(self) -> None:
        """Close the connection; the last one to close folds the WAL into the file, what is in doubt written over first."""
        with self._lock:
            # where the disk refuses that as well, the next start writes it anew
            with suppress(sqlite3.DatabaseError):
                self._settle()
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """All or nothing, durable when it returns.

        Raises IllegalChangeError; RetryLaterError when the disk refuses; HaltError when the ledger is damaged.
        """
        with self._lock:
            try:
                self._settle()
                with self._begun():
                    yield self
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

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """A transaction, and no trace of it where it fails."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._commit()
        except BaseException:
            if self._connection.in_transaction:  # a disk that fails may have ended it
                self._connection.execute("ROLLBACK")
            raise

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # All of it may stand in the write-ahead log when its sync fails, and be read from there after a death.
            self._is_in_doubt |= error.sqlite_errorname.startswith("SQLITE_IOERR")
            raise

    def _settle(self) -> None:
        """Write over what a commit left whose sync failed: until then nobody is told that it never happened."""
        if self._is_in_doubt:
            with self._begun():
                self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")  # as it is
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
