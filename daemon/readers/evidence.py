"""A sample as one dialect reads it, and what speaks for that: used by sniff.py, which chooses, and by layout.

The evidence for a dialect is the share of records that have the commonest width, and how much the cells look like
values (shapes.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from daemon.readers.dialect import Dialect
from daemon.readers.lines import Line, Lines
from daemon.readers.records import Record, record_of, split_records
from daemon.readers.shapes import EMPTY, TEXT, shape_of

USUAL = (",", ";", "\t", "|")
"""The delimiters that nothing has to speak for."""
REGULARITY = 0.9
"""The share of records that an unusual delimiter has to make a table of."""
_UNUSUAL_PRIOR = 0.75
_JUDGED_RECORDS = 60
_RUN = 5


@dataclass(frozen=True)
class SampleReading:
    """A sample as one dialect reads it; blank lines are left out of `records`."""

    dialect: Dialect
    records: tuple[Record, ...]

    @cached_property
    def width(self) -> int:
        """The commonest number of fields, of equally common ones the first that is no single field; 0 for none."""
        widths = Counter(len(record.fields) for record in self.records if record.flaw is None)
        return max(widths, key=lambda width: (widths[width], width > 1), default=0)

    @cached_property
    def damaged(self) -> int:
        """How many records have a flaw or another width."""
        width = self.width
        return len([record for record in self.records if record.flaw or len(record.fields) != width])

    @cached_property
    def flawed(self) -> int:
        """How many records have a quote out of place."""
        return sum(record.flaw is not None for record in self.records)

    @property
    def might_be_a_table(self) -> bool:
        """Whether most records fit below the first one, or the last ones, at least half of all, have one width."""
        if len(self.records[0].fields) == self.width and self.damaged < len(self.records) / 2:
            return True
        width, last = next(groupby(len(record.fields) for record in reversed(self.records)))
        return width > 1 and max(2, len(self.records) / 2) <= len(list(last))

    @property
    def trusted(self) -> bool:
        """Whether the quoting may be believed.

        Other quotes than "these", or none, only if no cell is in such; unescaped ones if all is explained.
        """
        cells = (cell.strip() for record in self.records for cell in record.fields)
        if self.dialect.quote != '"':
            return not any(cell.startswith('"') and cell.endswith('"') for cell in cells)
        if not self.dialect.naked:
            return True
        return (
            self.width > 1 and not self.damaged and not any(self.dialect.quote * 2 in cell for cell in cells)
        )

    @property
    def single_quoted(self) -> bool:
        """Whether 'these' quotes stand around fields and never within one, and "these" nowhere."""
        if any('"' in record.raw for record in self.records):
            return False
        cells = [cell for cell in self._cells if "'" in cell]
        return 2 * len(cells) > len(self.records) and all(
            len(cell) > 1 and cell[0] == cell[-1] == "'" and "'" not in cell[1:-1] for cell in cells
        )

    @property
    def flawless_quotes(self) -> int:
        """How many records hold quotes that are all in place."""
        return sum(record.flaw is None and '"' in record.raw for record in self.records)

    @cached_property
    def score(self) -> float:
        """The evidence for this dialect, 0 to 1."""
        if not self.width:
            return 0.0
        share = max(1 - self.damaged / len(self.records), 0.95 * self._in_runs / len(self.records))
        columns = 1 - 1 / (self.width + 1)
        return share**2 * columns * self._prior * (0.1 + 0.9 * self._likeness)

    @property
    def _prior(self) -> float:
        """An unusual delimiter has to make a table of nearly every record, the first one included; a blank, of values."""
        delimiter = self.dialect.delimiter
        if delimiter in (*USUAL, ""):
            return 1.0
        regular = self.damaged <= (1 - REGULARITY) * len(self.records)
        if not regular or len(self.records[0].fields) != self.width:
            return 0.0
        if sum(map(self._is_torn, self._cells)) > len(self._cells) / 3:
            return 0.0
        values = sum(shape_of(cell) not in (EMPTY, TEXT) for cell in self._cells)
        return _UNUSUAL_PRIOR if delimiter != " " or values > len(self._cells) / 3 else 0.0

    @cached_property
    def _cells(self) -> list[str]:
        whole = [
            record for record in self.records if record.flaw is None and len(record.fields) == self.width
        ]
        return [cell for record in whole[:_JUDGED_RECORDS] for cell in record.fields]

    @cached_property
    def _in_runs(self) -> int:
        """How many records stand among several of the same width: the mark of a file with more than one table."""
        runs = [
            len(list(run))
            for width, run in groupby(len(record.fields) for record in self.records)
            if width > 1
        ]
        return sum(run for run in runs if run >= _RUN)

    @cached_property
    def _likeness(self) -> float:
        """How much the cells look like values of a table, 0 to 1."""
        return sum(map(self._cell_likeness, self._cells)) / len(self._cells)

    def _cell_likeness(self, cell: str) -> float:
        shape = shape_of(cell)
        if shape == EMPTY:
            return 0.8
        if shape == TEXT or shape.startswith("code:"):
            return 0.2 if self._is_torn(cell) else 0.7
        return 1.0

    def _is_torn(self, cell: str) -> bool:
        """Whether a text holds half a pair of quotes or a delimiter; a comma tells against unusual ones only."""
        delimiter = self.dialect.delimiter
        others = USUAL[1:] if delimiter in (*USUAL, "") else USUAL
        half = cell.count("'") % 2 == 1 and "'" in (cell.strip()[:1], cell.strip()[-1:])
        if (
            cell.count('"') % 2 == 0
            and not half
            and not any(mark in cell for mark in others if mark != delimiter)
        ):
            return False
        shape = shape_of(cell)
        return shape == TEXT or shape.startswith("code:")


def read_as(lines: Sequence[Line], dialect: Dialect, comment: str) -> SampleReading:
    """The sample `lines` as `dialect` reads them; those that begin with `comment` are no records."""
    if not comment and not (dialect.quote and any(dialect.quote in line.text for line in lines)):
        return SampleReading(dialect, tuple(record_of(line, dialect) for line in lines))
    records = split_records(Lines(lines), dialect, comment)
    return SampleReading(
        dialect, tuple(record for record in records if record.fields or record.flaw is not None)
    )
