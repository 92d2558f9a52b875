"""How the ledger's SQLite file is opened, for its writer and for readers beside it: made, migrated, looked at for damage.

WAL with `synchronous=FULL`: what a transaction committed survives a power cut (design/facts: NORMAL lost every row).
Used by store.py, and by commands that ask what is there.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from daemon.catalog.ledger.schema import MIGRATIONS
from daemon.errors import HaltError, RetryLaterError

_LOOKED_AT = 64_000_000
"""Bytes of a ledger whose pages are all looked at before it is used (0.1 s); a larger one is looked at beside the work."""
_AT_ONCE = 1 << 20


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection for the one writer, which holds the root's lock; and whether every page was looked at.

    The ledger is made new where there is none, migrated where it is older. Raises HaltError for one that is damaged or
    newer than this program; it is never replaced by an empty one.
    """
    try:
        _write_log_anew(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=5000")
        is_checked = _check(connection, path)
        _migrate(connection, path)
        _sync(path)
    except (sqlite3.OperationalError, OSError) as error:
        raise HaltError(
            f"{path}: the ledger cannot be opened: {error}. Check the disk and permissions."
        ) from error
    except sqlite3.DatabaseError as error:
        raise HaltError(_damaged(path, str(error))) from error
    return connection, is_checked


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection beside a running daemon. Raises HaltError where there is no ledger, or it is unusable or newer."""
    connection, version = _opened(path)
    _refuse_newer(version, path)
    return connection


def ledger_version(path: Path) -> int:
    """The version of a ledger, also of one that is newer than this program. Raises HaltError where it cannot be read."""
    connection, version = _opened(path)
    with closing(connection):
        return version


def _opened(path: Path) -> tuple[sqlite3.Connection, int]:
    """A connection, and the version of the ledger there. Raises HaltError."""
    if not path.exists():
        raise HaltError(_not_yet(path))
    try:
        # Where nobody can write, SQLite cannot either, which wants a file beside a ledger that may change.
        may = "immutable=1" if is_read_only(path) else "mode=ro"
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{may}", uri=True, check_same_thread=False)
        connection.row_factory = sqlite3.Row
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


def look_at_every_page(path: Path) -> None:
    """On a connection of its own: whoever writes meanwhile is not held up.

    Raises HaltError when the ledger is damaged; RetryLaterError when the disk refuses.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise RetryLaterError(f"{path}: the ledger could not be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise HaltError(_damaged(path, str(error))) from error
    if found != "ok":
        raise HaltError(_damaged(path, found))


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


def _sync(path: Path) -> None:
    """Make the ledger's name durable, at every start: the one that made it may have failed to, and SQLite does not tell.

    A name that comes and goes makes the folder anew: to sync it once more, after a sync that failed, would prove nothing.
    Lake, which owns directory syncs, stands above this floor.
    """
    mark = path.with_name(f"{path.name}.tmp")
    mark.touch()
    mark.unlink()
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, found: str) -> str:
    return (
        f"{path}: the ledger is damaged ({found}). Nothing was changed. Restore it from a backup, or move it away together "
        "with data/ and drop the files of data/archive/ into landing/ again."
    )
