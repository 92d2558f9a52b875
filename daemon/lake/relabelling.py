"""A Parquet file under other labels: some columns hold one new value in all rows, the others are copied as they stand.

For a hop that changes nothing but provenance: column chunks are neither decoded nor encoded again, which takes a twentieth
of the time. Used by lake/parquet.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl

from daemon.footers import MAGIC, Struct, footer_bytes, parse, read_footer, unparse

Write = Callable[[pl.LazyFrame, Path], None]

# Numbers of fields in parquet.thrift: of the file's metadata, of a schema element, of a row group, of a column chunk,
# of its metadata, of an offset index and of a page location in it.
_SCHEMA, _GROUPS = 2, 4
_ELEMENT_NAME = 4
_COLUMNS, _GROUP_BYTES, _ROWS, _GROUP_OFFSET, _GROUP_SIZE = 1, 2, 3, 5, 6
_CHUNK_OFFSET, _META, _OFFSET_INDEX, _OFFSET_INDEX_SIZE, _COLUMN_INDEX, _COLUMN_INDEX_SIZE = range(2, 8)
_PATH, _BYTES, _SIZE, _DATA, _DICTIONARY = 3, 6, 7, 9, 11
_LEFT_OUT = frozenset({10, 14, 15})
"""Of a column's metadata, where an index page and a Bloom filter are: Polars writes none, and readers need none."""
_PAGES = 1
_PAGE_OFFSET = 1


class _Chunk(NamedTuple):
    """A column chunk: the file it is in, and its entry in that file's footer."""

    path: Path
    entry: Struct

    @property
    def name(self) -> bytes:
        """Of its column; of the whole one where it is nested."""
        return bytes(_get(self.meta, _PATH)[1][0])

    @property
    def meta(self) -> Struct:
        meta: Struct = _get(self.entry, _META)
        return meta

    @property
    def begin(self) -> int:
        """Where its first page is."""
        return int(min(_get(self.meta, field) for field in (_DATA, _DICTIONARY) if field in self.meta))


def relabel(source: Path, target: Path, labels: pl.DataFrame, write: Write) -> None:
    """Write the Parquet file `source` to `target`, in place of the columns of `labels` its one row again and again.

    `write` makes a Parquet file of a frame. Raises ValueError where a column has another type than its label.
    """
    footer = read_footer(source)
    with tempfile.TemporaryDirectory(dir=target.parent, suffix=".tmp") as folder, target.open("wb") as out:
        made = _Labels(labels, _get(footer, _SCHEMA)[1], Path(folder), write)
        out.write(MAGIC)
        copied = [
            pair for group in _get(footer, _GROUPS)[1] for pair in _copy_group(group, source, made, out)
        ]
        for chunk, entry in copied:
            _copy_index(chunk, entry, _COLUMN_INDEX, out)
        for chunk, entry in copied:
            _copy_index(chunk, entry, _OFFSET_INDEX, out)
        out.write(footer_bytes(footer))


class _Labels:
    """The chunks of the label columns, by their number of rows, each made once."""

    def __init__(self, labels: pl.DataFrame, schema: list[Struct], folder: Path, write: Write) -> None:
        self._labels = labels
        self._elements = {_get(element, _ELEMENT_NAME): element for element in schema}
        self._folder = folder
        self._write = write
        self._made: dict[int, dict[bytes, _Chunk]] = {}

    def chunks(self, rows: int) -> dict[bytes, _Chunk]:
        """The chunks of a group of `rows` rows, by column."""
        if rows not in self._made:
            path = self._folder / f"{rows}.parquet"
            self._write(self._labels.select(pl.all().repeat_by(rows).explode()).lazy(), path)
            footer = read_footer(path)
            for element in _get(footer, _SCHEMA)[1][1:]:
                if self._elements.get(_get(element, _ELEMENT_NAME)) != element:
                    raise ValueError(f"{element} is not the type of the column that it replaces")
            (group,) = _get(footer, _GROUPS)[1]
            self._made[rows] = {chunk.name: chunk for chunk in _chunks(group, path)}
        return self._made[rows]


def _copy_group(group: Struct, source: Path, labels: _Labels, out: IO[bytes]) -> list[tuple[_Chunk, Struct]]:
    """Copy a row group and tell in its entry where its chunks now are; returns each chunk with its new entry."""
    begin = out.tell()
    replaced = labels.chunks(_get(group, _ROWS))
    copied = []
    for chunk in (replaced.get(own.name, own) for own in _chunks(group, source)):
        copied.append((chunk, _moved(chunk, out.tell() - chunk.begin)))
        out.write(_content(chunk.path, chunk.begin, _get(chunk.meta, _SIZE)))
    of, _ = _get(group, _COLUMNS)
    group[_COLUMNS] = group[_COLUMNS][0], (of, [entry for _, entry in copied])
    _set(group, _GROUP_BYTES, sum(_get(chunk.meta, _BYTES) for chunk, _ in copied))
    _set(group, _GROUP_SIZE, out.tell() - begin)
    _set(group, _GROUP_OFFSET, begin)
    return copied


def _copy_index(chunk: _Chunk, entry: Struct, which: int, out: IO[bytes]) -> None:
    """Copy the index of a chunk's pages, and tell in the chunk's new entry where it is."""
    if which not in chunk.entry:
        return
    content = _content(chunk.path, _get(chunk.entry, which), _get(chunk.entry, which + 1))
    if which == _OFFSET_INDEX:
        index = parse(content)
        distance = _Chunk(chunk.path, entry).begin - chunk.begin
        for page in _get(index, _PAGES)[1]:
            _set(page, _PAGE_OFFSET, _get(page, _PAGE_OFFSET) + distance)
        content = unparse(index)
    _set(entry, which, out.tell())
    _set(entry, which + 1, len(content))
    out.write(content)


def _chunks(group: Struct, path: Path) -> list[_Chunk]:
    return [_Chunk(path, entry) for entry in _get(group, _COLUMNS)[1]]


def _moved(chunk: _Chunk, distance: int) -> Struct:
    """The entry of a chunk that stands `distance` bytes farther on."""
    meta = {field: value for field, value in chunk.meta.items() if field not in _LEFT_OUT}
    for field in (_DATA, _DICTIONARY):
        if field in meta:
            _set(meta, field, _get(meta, field) + distance)
    entry = {**chunk.entry, _META: (chunk.entry[_META][0], meta)}
    _set(entry, _CHUNK_OFFSET, 0)  # deprecated: readers go by the metadata
    return entry


def _content(path: Path, begin: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(size)


def _get(struct: Struct, field: int) -> Any:  # noqa: ANN401 - any of Thrift's values
    return struct[field][1]


def _set(struct: Struct, field: int, value: int) -> None:
    """Give a field that holds a number another one, if the struct has it."""
    if field in struct:
        struct[field] = struct[field][0], value
