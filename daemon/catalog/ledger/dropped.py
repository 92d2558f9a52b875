"""Which dropped file somebody means, and what became of it; read-only. Asked by the command line, as part of `views`."""

from dataclasses import dataclass

from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import TableKey


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A dropped file as the ledger knows it. Paths are relative to the root.

    `resting_path` is None before it is at rest, and where nothing of it is kept.
    """

    file_id: int
    batch_id: str
    key: TableKey
    name: str
    size: int
    sha256: str | None
    rows: int | None
    state: str
    kind: str | None
    reason: str | None
    resting_path: str | None
    claimed_path: str
    at_rest: bool

    @property
    def path(self) -> str | None:
        """Where it lies now; None for one that was removed."""
        return self.resting_path if self.at_rest else self.claimed_path

    @property
    def went_back(self) -> bool:
        """Whether it was put back where it was dropped, to be taken anew: what lies there now may be another."""
        return self.at_rest and self.state in {"returned", "replayed"}


class DroppedFiles:
    """Questions about dropped files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set_aside(self, key: TableKey | None = None) -> list[KnownFile]:
        """Whole files that were set aside, newest first; of one table, or of all."""
        if key is None:
            return self._known("state = 'set_aside'")
        return self._known("state = 'set_aside' AND domain = ? AND table_name = ?", *key)

    def at(self, path: str) -> list[KnownFile]:
        """Return the dropped files that rest at this path, relative to the root."""
        return self._known("resting_path = CAST(? AS BLOB) AND at_rest = 1", path)

    def of_batch(self, batch_id: str) -> list[KnownFile]:
        """The dropped files of a batch."""
        return self._known("batch_id = ?", batch_id)

    def sheets_of(self, file_id: int) -> list[KnownFile]:
        """The further sheets of a workbook, each a file of its own table."""
        return self._known("part_of = CAST(? AS INTEGER)", str(file_id))

    def named(self, name: str) -> list[KnownFile]:
        """Every delivery of a file, by its name relative to landing, or by its last part; newest first."""
        exact = self._known("name = ?", name)
        return exact or self._known("name LIKE ? ESCAPE '\\'", f"%/{_literal(name)}")

    def _known(self, condition: str, *values: str) -> list[KnownFile]:
        rows = self._store.rows(f"SELECT * FROM files WHERE {condition} ORDER BY file_id DESC", values)
        return [
            KnownFile(
                file_id=row["file_id"],
                batch_id=row["batch_id"],
                key=TableKey(row["domain"], row["table_name"]),
                name=row["name"],
                size=row["size"],
                sha256=row["sha256"],
                rows=row["rows"],
                state=row["state"],
                kind=row["kind"],
                reason=row["reason"],
                resting_path=_text(row["resting_path"]) if row["at_rest"] else None,
                claimed_path=_text(row["claimed_path"]) or "",
                at_rest=bool(row["at_rest"]),
            )
            for row in rows
        ]


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _text(path: bytes | None) -> str | None:
    return None if path is None else path.decode("utf-8", "replace")
