"""A header line that does not fit the records below it: what can be saved of it for certain. Used by locating.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from daemon.readers.dialect import Dialect
from daemon.readers.records import Record
from daemon.readers.shapes import misnames

_DELIMITERS = (",", ";", "\t", "|", " ")


@dataclass(frozen=True)
class DamagedHeader:
    """The header `record` above a table of `width` columns whose values have `shapes`."""

    record: Record
    dialect: Dialect
    width: int
    shapes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """Its fields, a quote out of place taken as text."""
        return self.record.fields or self.dialect.parse_literally(self.record.raw)

    def is_short_of_blanks(self, records: Sequence[Record]) -> bool:
        """Whether the header is whole although the `records` are wider: they go on with nothing but blanks.

        A header that lost a delimiter looks the same, but its names stand over the wrong columns.
        """
        named = len(self.names)
        if self.record.flaw is not None or named > self.width or self._torn:
            return False
        if any(cell.strip() for record in records for cell in record.fields[named:]):
            return False
        return not any(misnames(name, shape) for name, shape in zip(self.names, self.shapes, strict=False))

    @property
    def _torn(self) -> list[int]:
        """The places of names with a quote in them: two names that lost the delimiter between them."""
        quote = self.dialect.quote
        return [place for place, name in enumerate(self.names) if quote and quote in name]

    def repaired(self) -> tuple[list[str], str] | None:
        """Names for all columns and how they were got, None when there is no certain way."""
        return next(((names, how) for names, how in self._repairs() if len(names) == self.width), None)

    def _repairs(self) -> Iterator[tuple[list[str], str]]:
        if (
            self.record.flaw is not None and self.width > 1
        ):  # a single name with a quote in it may be anything
            yield self.names, "a quote out of place taken as text"
        yield [name for name in self.record.fields if name.strip()], "empty names left out"
        for mark in _DELIMITERS if self.width > 2 else ():  # noqa: PLR2004 - two words may be a title
            parsed = replace(self.dialect, delimiter=mark).parse(self.record.raw)
            if isinstance(parsed, list):
                yield parsed, f"written with another delimiter ({mark!r})"

    def placed_names(self) -> list[str]:
        """The names of a header that lost one delimiter, each at its column if that is certain, "" where it is not.

        Wherever the delimiter was lost, the names before it count from the left and those after it from the right;
        places where a name would then stand over values it does not speak of are ruled out.
        """
        unknown = [""] * self.width
        names = self.names
        if len(names) != self.width - 1:
            return unknown
        readings = [[*names[:lost], "", "", *names[lost + 1 :]] for lost in self._torn or range(len(names))]
        possible = [reading for reading in readings if not any(map(misnames, reading, self.shapes))]
        return [found[0] if len(set(found)) == 1 else "" for found in zip(*possible, strict=True)] or unknown
