"""What was found out about a delimited file: its header, its width, the shapes of its columns.

A `Layout` is what the fast path and the careful reader know of a file before they read it; locating.py finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.readers.dialect import Dialect
from daemon.readers.records import Record
from daemon.readers.shapes import EMPTY, TEXT, is_year, shape_of


@dataclass(frozen=True)
class Layout:
    """What was found out about a delimited file.

    `skip` counts the physical lines before the first data record. `header` holds the names as they stand in the file
    (empty: there is none), `columns` the names made of them. `shapes` say what the columns' values look like.
    `surplus` blank fields may follow the last column. Lines that begin with `comment` are no records, those that
    begin with `remark` are none unless they have the table's width. `before` holds records of several fields that
    stand before the table and are no part of it. `lost_header` is too damaged to name the columns. `most_damaged` is the
    share of damaged records that the contract bears.
    """

    dialect: Dialect
    header: tuple[str, ...]
    columns: tuple[str, ...]
    skip: int
    shapes: tuple[str, ...] = ()
    surplus: int = 0
    comment: str = ""
    remark: str = ""
    before: tuple[Record, ...] = ()
    lost_header: Record | None = None
    most_damaged: float = 0.2
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def note(self) -> str:
        """What was found, in one line for people."""
        return "; ".join((str(self.dialect), *self.notes))

    @property
    def original_header(self) -> tuple[str, ...] | None:
        """The header as it stands in the file, when the columns are named otherwise."""
        return self.header if self.header and self.header != self.columns else None

    def repeats_names(self, fields: Sequence[str]) -> bool:
        """Whether `fields` are names, some of them those of the header."""
        filled = [cell.strip() for cell in fields if cell.strip()]
        names = {name.strip() for name in self.header if name.strip()}
        return len(filled) > 1 and not names.isdisjoint(filled) and all(shape_of(c) == TEXT for c in filled)

    def breaks_shapes(self, fields: Sequence[str]) -> bool:
        """Whether `fields` look like names above the columns rather than like values in them."""
        return Verdict(fields, self.shapes).header_like


class Verdict:
    """Cells held against the shapes of the columns below them."""

    def __init__(self, cells: Sequence[str], shapes: Sequence[str]) -> None:
        self.filled = sum(bool(cell.strip()) for cell in cells)
        self.telling = [
            (cell, shape) for cell, shape in zip(cells, shapes, strict=False) if shape not in (EMPTY, TEXT)
        ]
        found = [shape_of(cell) for cell, _ in self.telling]
        self.conforming = sum(
            look == shape and not (shape == "number" and is_year(cell))
            for look, (cell, shape) in zip(found, self.telling, strict=True)
        )
        self.breaking = sum(
            look not in (EMPTY, shape) for look, (_, shape) in zip(found, self.telling, strict=True)
        )

    @property
    def header_like(self) -> bool:
        """More cells break the shape of their column than keep it."""
        return self.breaking > 0 and self.breaking >= self.conforming

    @property
    def value_like(self) -> bool:
        """More cells keep the shape of their column than break it."""
        return self.conforming > self.breaking

    @property
    def another_header_row(self) -> bool:
        """No cell is a value: every telling one is filled, or nothing is but what breaks its column's shape."""
        if self.conforming or not self.breaking or len(self.telling) < 2:  # noqa: PLR2004 - one may be an odd value
            return False
        all_filled = all(cell.strip() for cell, _ in self.telling)
        return self.filled == self.breaking or (all_filled and 2 * self.breaking >= len(self.telling))
