"""Reads files from their bytes as the staged layer does: sink, proof, careful reading if need be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from daemon.catalog.contract import ReaderOptions
from daemon.readers import DamagedRecord, Delivery, Refusal, Source, read_delivery


@dataclass(frozen=True)
class Outcome:
    """What became of some files: `table` holds all rows, text and provenance."""

    delivery: Delivery
    table: pl.DataFrame

    @property
    def columns(self) -> list[str]:
        return [name for name in self.table.columns if not name.startswith("_source_")]

    @property
    def rows(self) -> list[tuple[object, ...]]:
        return self.table.select(self.columns).rows()

    @property
    def numbers(self) -> list[int]:
        return self.table["_source_row"].to_list()

    @property
    def damaged(self) -> tuple[DamagedRecord, ...]:
        return self.delivery.damaged

    @property
    def refusal(self) -> Refusal:
        (refusal,) = self.delivery.refused
        return refusal

    @property
    def note(self) -> str:
        (note,) = self.delivery.notes.values()
        return note


Read = Callable[..., Outcome]


def reader(folder: Path) -> Read:
    """The function `read(bytes or {name: bytes}, careful=False, **reader options) -> Outcome`, working in `folder`."""

    def read_files(
        content: bytes | Mapping[str, bytes], *, careful: bool = False, **options: object
    ) -> Outcome:
        files = {"in.csv": content} if isinstance(content, bytes) else content
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        sources = []
        for place, (name, data) in enumerate(files.items()):
            path = folder / f"{place}-[x]*.bin"
            path.write_bytes(data)
            sources.append(Source(name, path))
        again = frozenset(files) if careful else frozenset()
        return _outcome(sources, ReaderOptions.model_validate(options), scratch, again)

    return read_files


def _outcome(
    sources: list[Source], options: ReaderOptions, scratch: Path, careful: frozenset[str]
) -> Outcome:
    delivery = read_delivery(sources, options, scratch, careful)
    try:
        table = _table(delivery)
        counts = dict(table["_source_file"].value_counts().iter_rows()) if delivery.proofs else {}
        doubtful = delivery.unproved(table.lazy(), counts)
    except pl.exceptions.PolarsError:
        assert not careful
        doubtful = frozenset(source.name for source in sources)
    if doubtful:
        return _outcome(sources, options, scratch, doubtful | careful)
    return Outcome(delivery, table)


def _table(delivery: Delivery) -> pl.DataFrame:
    if not delivery.frames:
        return pl.DataFrame(schema={"_source_file": pl.String, "_source_row": pl.Int64})
    return pl.concat(delivery.frames, how="diagonal").collect()
