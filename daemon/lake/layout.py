"""Where everything of a root lies; docs/on-disk-format.md in code. Used by every room that names a path."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer

MARKER = ".done"
"""How the name of a done-marker ends; before that it is the name of the file that it declares finished."""


@dataclass(frozen=True)
class Layout:
    """The folders below `root` (absolute). Those of the whole root are put together once: they are named all the time."""

    root: Path

    @cached_property
    def landing(self) -> Path:
        """Where files arrive."""
        return self.root / "landing"

    def claimed(self, batch_id: str) -> Path:
        """Where the files of a batch wait until they come to rest."""
        return self.landing / ".claimed" / batch_id

    @cached_property
    def data(self) -> Path:
        """What became of them."""
        return self.root / "data"

    def layer_link(self, layer: Layer, key: TableKey) -> Path:
        """Return the symbolic link that readers follow to the published generation of a table's layer."""
        return self.data.joinpath(layer, key.domain, key.real.table)

    def generations(self, layer: Layer, key: TableKey) -> Path:
        """Return the folder of all generations of a layer of a table."""
        return self.data.joinpath(".generations", layer, key.domain, key.real.table)

    def generation(self, layer: Layer, key: TableKey, number: int) -> Path:
        """Return the folder of one generation; numbers begin at 1."""
        return self.generations(layer, key) / str(number)

    def archive(self, key: TableKey, day: date) -> Path:
        """Where the sources of a table rest that were archived on `day` (UTC)."""
        return self.data / "archive" / key.domain / key.real.table / day.isoformat()

    def quarantine(self, key: TableKey) -> Path:
        """Where what was set aside of a table lies."""
        return self.data / "quarantine" / key.domain / key.real.table

    def quarantine_file(self, key: TableKey, layer: Layer, batch_id: str, generation: int) -> Path:
        """Where the records of a batch lie that did not reach `layer`; a rebuild's lie beside the published ones."""
        mark = f".g{generation}" if key.is_shadow else ""
        return self.quarantine(key) / f"{batch_id}-{layer}{mark}.parquet"

    def key_index(self, key: TableKey) -> Path:
        """Return the folder of what tells in which files of a table's silver a key is not; derived, may be deleted."""
        return self.data / ".index" / key.domain / key.real.table

    def undone(self, key: TableKey) -> Path:
        """Where the rows of a table's deliveries lie that were taken back, until they are wanted again."""
        return self.data / ".undone" / key.domain / key.real.table

    @cached_property
    def requests(self) -> Path:
        """What people ask of the daemon, one file a request."""
        return self.catalog / "requests"

    @cached_property
    def catalog(self) -> Path:
        """What people and the daemon write about the data."""
        return self.root / "catalog"

    @cached_property
    def lineage(self) -> Path:
        """One JSON file per transition."""
        return self.catalog / "lineage"

    @cached_property
    def unfinished(self) -> Path:
        """Lineage files that are being written."""
        return self.catalog / ".unfinished"

    @cached_property
    def tables(self) -> Path:
        """One JSON file per table."""
        return self.catalog / "tables"

    @cached_property
    def contracts(self) -> Path:
        """`<domain>/<table>.yaml`, written by people."""
        return self.catalog / "contracts"

    @cached_property
    def transforms(self) -> Path:
        """Python modules with transforms, written by people."""
        return self.catalog / "transforms"

    @cached_property
    def ledger(self) -> Path:
        """The crash-recovery state."""
        return self.catalog / "state.sqlite3"

    @cached_property
    def lock(self) -> Path:
        """Locked by the one daemon that works on this root."""
        return self.catalog / "daemon.lock"

    def relative(self, path: Path) -> str:
        """Return a path of this root relative to it, as records name it. Raises ValueError for others."""
        return str(path.relative_to(self.root))
