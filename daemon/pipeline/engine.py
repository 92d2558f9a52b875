"""The pipeline as a library: the daemon's promotions without the daemon, one file at a time, each with its lineage file.

For people's own programs and notebooks. Built from the same layers as the daemon; it keeps no ledger, so
nothing here remembers what was ingested: use the daemon for that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from daemon.catalog.contract import BronzeRules, CastRule, Contract
from daemon.catalog.identity import new_id
from daemon.catalog.promotion import ClaimedFile, LayerFile, TableKey
from daemon.catalog.transition import Layer, LayerTransitionLog
from daemon.errors import RejectDataError
from daemon.lake.generations import ensure_generation
from daemon.lake.layout import Layout
from daemon.lake.lineage import write_transition
from daemon.lake.parquet import count_rows, layer_file
from daemon.pipeline.bronze import BronzeLayer
from daemon.pipeline.gold import GoldLayer
from daemon.pipeline.provenance import generate_batch_id
from daemon.pipeline.records import Attempt, dropped_sources, layer_source, transition
from daemon.pipeline.results import LayerResult, Place
from daemon.pipeline.silver import SilverLayer
from daemon.pipeline.staged import StagedLayer
from daemon.pipeline.transforms import TransformFunction, as_transforms

ColumnType = str | CastRule | pl.DataType | type[pl.DataType]
"""A column's type for bronze: a name of the contracts (`int64`, `date`), a rule with options, or a Polars type."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion: the file it made (None if no row was left), its batch, and the record left in catalog/lineage/."""

    path: Path | None
    batch_id: str
    transition: LayerTransitionLog

    @property
    def rows_in(self) -> int:
        """Rows of the layer below."""
        return self.transition.row_count_in

    @property
    def rows_out(self) -> int:
        """Rows in the new file."""
        return self.transition.row_count_out


class PipelineEngine:
    """Promotes files below `root` (made where it is missing). `clock` gives aware instants."""

    def __init__(self, root: str | Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._layout = Layout(Path(root).absolute())
        self._clock = clock

    def ingest(self, source_path: str | Path, table_name: str, domain: str = "main") -> Promoted:
        """Read a file into staged, every value as text; the file stays where it is.

        Raises RejectDataError when nothing can read it, OSError when it is not there.
        """
        started = self._clock()
        path = Path(source_path).absolute()
        facts = path.stat()
        place = self._place(Layer.STAGED, TableKey(domain, table_name), generate_batch_id())
        source = ClaimedFile(0, path.name, path, facts.st_size, facts.st_mtime_ns)
        staged = StagedLayer().promote([source], place)
        if staged.files[0].fate == "set_aside":
            raise RejectDataError(
                staged.files[0].reason or path.name, kind=staged.files[0].kind or "unreadable"
            )
        attempt = Attempt(new_id(), started, self._clock())
        sources = dropped_sources([source], staged.files, staged.notes)
        return self._leave(
            transition(place, staged.layer, attempt, sources, files=staged.files), staged.layer
        )

    def promote_to_bronze(
        self, staged_path: str | Path, schema: Mapping[str, ColumnType] | None = None
    ) -> Promoted:
        """Cast the columns named in `schema`; values that do not fit take their record to quarantine."""
        started = self._clock()
        source, place = self._step(Path(staged_path), Layer.BRONZE)
        rules = BronzeRules(cast={name: _rule(kind) for name, kind in (schema or {}).items()})
        result = BronzeLayer(rules).promote(Path(staged_path), source.rows, place)
        return self._finish(place, source, result, started, [f"cast:{column}" for column in rules.cast])

    def promote_to_silver(
        self, bronze_path: str | Path, transforms: Sequence[TransformFunction] = ()
    ) -> Promoted:
        """Clean (blanks trimmed, empty text null), then apply `transforms`, LazyFrame -> LazyFrame."""
        started = self._clock()
        source, place = self._step(Path(bronze_path), Layer.SILVER)
        named = as_transforms(transforms)
        result = SilverLayer(transforms=named, origin=str(place.key)).promote(
            Path(bronze_path), source.rows, place
        )
        return self._finish(place, source, result.layer, started, [transform.name for transform in named])

    def promote_to_gold(
        self, silver_path: str | Path, transforms: Sequence[TransformFunction] = ()
    ) -> Promoted:
        """Derive by `transforms`, LazyFrame -> LazyFrame; without any, gold equals silver."""
        started = self._clock()
        source, place = self._step(Path(silver_path), Layer.GOLD)
        named = as_transforms(transforms)
        result = GoldLayer(transforms=named, origin=str(place.key)).promote(
            Path(silver_path), source.rows, place
        )
        return self._finish(place, source, result, started, [transform.name for transform in named])

    def run_full_pipeline(
        self,
        source_path: str | Path,
        table_name: str,
        domain: str = "main",
        *,
        schema: Mapping[str, ColumnType] | None = None,
        silver_transforms: Sequence[TransformFunction] = (),
        gold_transforms: Sequence[TransformFunction] = (),
    ) -> tuple[Promoted, ...]:
        """All four promotions of one file, in order; fewer when a layer is left without rows."""
        promoted = [self.ingest(source_path, table_name, domain)]
        hops: list[Callable[[Path], Promoted]] = [
            lambda path: self.promote_to_bronze(path, schema),
            lambda path: self.promote_to_silver(path, silver_transforms),
            lambda path: self.promote_to_gold(path, gold_transforms),
        ]
        for hop in hops:
            path = promoted[-1].path
            if path is None:
                break
            promoted.append(hop(path))
        return tuple(promoted)

    def _place(self, layer: Layer, key: TableKey, batch_id: str) -> Place:
        generation = _shown_generation(self._layout, layer, key)
        ensure_generation(self._layout, layer, key, generation)
        return Place(self._layout, key, layer, batch_id, generation, self._clock(), f"{batch_id}.parquet")

    def _step(self, path: Path, target: Layer) -> tuple[LayerFile, Place]:
        """The source as a record names it, and where its rows go: the same table, the next layer."""
        parts = path.absolute().relative_to(self._layout.data).parts
        domain, table = parts[2:4] if parts[0] == ".generations" else parts[1:3]
        batch_id = path.name.split(".", 1)[0]
        return layer_file(path, batch_id, count_rows(path)), self._place(
            target, TableKey(domain, table), batch_id
        )

    def _finish(
        self, place: Place, source: LayerFile, result: LayerResult, started: datetime, applied: Sequence[str]
    ) -> Promoted:
        attempt = Attempt(new_id(), started, self._clock(), contract_version=Contract().version)
        log = transition(place, result, attempt, (layer_source(place, source),), applied=applied)
        return self._leave(log, result)

    def _leave(self, log: LayerTransitionLog, result: LayerResult) -> Promoted:
        write_transition(self._layout, log)
        return Promoted(result.path, log.batch_id, log)


def _shown_generation(layout: Layout, layer: Layer, key: TableKey) -> int:
    """The generation that readers see now; 1 for a table that has none."""
    link = layout.layer_link(layer, key)
    return int(link.readlink().name) if link.is_symlink() else 1


def _rule(kind: ColumnType) -> CastRule:
    if isinstance(kind, CastRule):
        return kind
    if isinstance(kind, str):
        return CastRule.model_validate({"type": kind})
    if isinstance(kind, pl.Decimal):
        return CastRule.model_validate(
            {"type": "decimal", "precision": kind.precision or 38, "scale": kind.scale}
        )
    if isinstance(kind, pl.Datetime) and kind.time_zone:
        return CastRule.model_validate({"type": "datetime", "time_zone": kind.time_zone})
    name = kind.base_type().__name__.lower()
    return CastRule.model_validate({"type": {"string": "text", "boolean": "bool"}.get(name, name)})
