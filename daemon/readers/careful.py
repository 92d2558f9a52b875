"""The careful reader: one delimited file, record by record; a damaged record is set aside and its neighbours are read.

Runs for files whose fast reading could not be proved, or whose dialect polars does not read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from daemon.readers.damage import too_much_damage
from daemon.readers.delivery import DamagedRecord, Reading, Refusal, Source
from daemon.readers.dialect import Flaw
from daemon.readers.frames import RowWriter
from daemon.readers.layout import Layout
from daemon.readers.lines import Lines, printable, read_lines
from daemon.readers.records import LONGEST, Record, split_records

_FLAWS = {
    Flaw.OPEN_QUOTE: ("unterminated_quote", "a quote opens a field and nothing closes it"),
    Flaw.STRAY_QUOTE: (
        "stray_quote",
        "a quote stands where none may: fields with quotes are quoted, inner quotes doubled",
    ),
}
_CUT = ("too_few_fields", "unterminated_quote")
_OTHER_TABLE = "other_table"
_OTHER_TABLE_BEGINS = "another table begins above this line; a file holds one table"
_CONTROL = re.compile("[\u0080-\u0084\u0086-\u009f]")
"""C1 controls: no text holds them but text of Windows-1252 that was taken for Latin-1."""
_LEAST_TABLE = 3
_ALIKE = 0.8


def read_carefully(source: Source, layout: Layout, encoding: str, scratch: Path, stem: str) -> Reading:
    """Read `source`, whose text is UTF-8 now and was `encoding`. `stem` names this file's own files in `scratch`."""
    table = _Pass(source, layout, encoding, scratch, stem)
    table.run()
    if table.cut is not None and _has_no_last_line_end(source.path):
        reason = f"it ends within a record: line {table.cut} is too short, and no line end follows it"
        return Reading(refused=Refusal(source.name, "incomplete", reason), note=layout.note)
    damaged = table.damaged_records()
    within = [record for record in damaged if record.kind != _OTHER_TABLE]
    refusal = too_much_damage(
        source.name, within, table.number - (len(damaged) - len(within)), layout.most_damaged
    )
    if refusal is not None:
        return Reading(refused=refusal, note=layout.note)
    damaged = [*_above_the_table(source.name, layout), *damaged]
    return Reading(table.rows.frames(), tuple(damaged), note=table.note, header=layout.original_header)


class _Pass:
    """One pass over a file: the rows that are whole, the records that are not."""

    def __init__(self, source: Source, layout: Layout, encoding: str, scratch: Path, stem: str) -> None:
        self._source = source
        self._layout = layout
        self._lines = Lines(read_lines(source.path, encoding))
        self.rows = RowWriter(source.name, layout.columns, scratch, stem)
        self._damaged: list[DamagedRecord] = []
        self.number = 0
        self._any_whole = False
        self._after_gap = False
        self._held: list[tuple[int, Record]] = []
        """Titles below a gap, which may be those of another table."""
        self._remarks: dict[str, str] = {}
        self.cut: int | None = None
        """The line of the last record, if it may be the first half of one."""
        self._after: list[int] = []
        """How many fields the records after the last whole one have, 0 for those with a quote out of place."""

    def run(self) -> None:
        """Read the file to its end."""
        another = False
        for record in self._records():
            self.number += 1
            self.cut = None
            if not another and self._begins_another_table(record):
                another = True
                for number, title in self._held:
                    self._set_aside(title, number, _OTHER_TABLE, _OTHER_TABLE_BEGINS)
                self._held.clear()
            if another:
                self._set_aside(record, self.number, _OTHER_TABLE, _OTHER_TABLE_BEGINS)
            elif (flaw := self._flaw(record)) is not None:
                self._set_aside(record, self.number, *flaw)
                self.cut = record.line if flaw[0] in _CUT else None
                self._after.append(len(record.fields))
            elif self._any_whole and (self._after_gap or self._held) and _is_title(record):
                self._held.append((self.number, record))
            else:
                self._keep_held()
                self._keep(self.number, record)
        self._keep_held()

    def _keep(self, number: int, record: Record) -> None:
        self.rows.add(number, record.fields[: len(self._layout.columns)])
        self._any_whole = True
        self._after.clear()
        if not record.raw.isascii() and (odd := _CONTROL.search(record.raw)):
            where = f"the control character U+{ord(odd[0]):04X} (line {record.line})"
            self._remarks.setdefault(
                "controls", f"warning: it holds {where}, as text does that was decoded wrongly"
            )

    def _keep_held(self) -> None:
        for number, record in self._held:
            self._keep(number, record)
            if any(map(str.strip, record.fields)):
                where = f"line {record.line}, below an empty record, holds a title"
                self._remarks.setdefault("titles", f"warning: {where}; what follows may be another table")
        self._held.clear()

    @property
    def note(self) -> str:
        """How the file was read, for people."""
        return "; ".join((self._layout.note, *self._remarks.values(), "read record by record"))

    def damaged_records(self) -> list[DamagedRecord]:
        """The records set aside, those at the end called another table when they are one: of one width, mostly."""
        width, times = max(
            ((width, self._after.count(width)) for width in set(self._after)),
            default=(0, 0),
            key=itemgetter(1),
        )
        if width < 2 or times < max(_LEAST_TABLE, _ALIKE * len(self._after)):  # noqa: PLR2004 - a table has two columns
            return self._damaged
        first = len(self._damaged) - len(self._after)
        reason = "another table follows the first one; a file holds one table"
        others = [
            replace(record, kind=_OTHER_TABLE, reason=f"line {record.line}: {reason}")
            for record in self._damaged[first:]
        ]
        return [*self._damaged[:first], *others]

    def _records(self) -> Iterator[Record]:
        """The data records: what comes before the table, blank lines and remarks are left out."""
        layout = self._layout
        width = len(layout.columns)
        for record in split_records(self._lines, layout.dialect, layout.comment):
            if record.line <= layout.skip:
                continue
            if not record.fields and record.flaw is None:
                self._after_gap = True
                continue
            if layout.remark and record.raw.startswith(layout.remark) and len(record.fields) != width:
                continue
            yield record
            self._after_gap = record.flaw is None and not any(map(str.strip, record.fields))

    def _begins_another_table(self, record: Record) -> bool:
        """Whether this record is the header again, or a header after a blank line or an empty record."""
        if len(self._layout.columns) < 2 or not self._any_whole:  # noqa: PLR2004 - one column repeats itself
            return False
        if self._layout.header and tuple(record.unmarked) == self._layout.header:
            return True
        if self._held and self._layout.repeats_names(record.fields):
            return True
        return self._after_gap and self._layout.breaks_shapes(record.fields)

    def _flaw(self, record: Record) -> tuple[str, str] | None:
        if record.flaw is not None:
            return _FLAWS[record.flaw]
        if self._layout.remark and record.raw.startswith(f"{self._layout.remark} "):
            return "remark", "this begins as the remarks above the table do"
        if len(record.raw) > LONGEST:
            return "line_too_long", f"{len(record.raw):,} characters; a record has at most {LONGEST:,}"
        if not record.raw.isascii() and _has_invalid_bytes(record.raw):
            return "invalid_bytes", "bytes that are no characters in the file's encoding"
        return self._misfit(record.fields)

    def _misfit(self, fields: list[str]) -> tuple[str, str] | None:
        width, found = len(self._layout.columns), len(fields)
        if found < width:
            return "too_few_fields", f"{found} fields where the table has {width}"
        if found > width and (found > width + self._layout.surplus or any(map(str.strip, fields[width:]))):
            return "too_many_fields", f"{found} fields where the table has {width}"
        return None

    def _set_aside(self, record: Record, number: int, kind: str, reason: str) -> None:
        self._damaged.append(
            DamagedRecord(
                self._source.name,
                number,
                record.line,
                record.offset,
                kind,
                printable(record.raw),
                f"line {record.line}: {reason}",
            )
        )


def _has_no_last_line_end(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() not in (b"\n", b"\r")


def _is_title(record: Record) -> bool:
    """Whether nothing stands behind the record's first field."""
    return len(record.fields) > 1 and not any(map(str.strip, record.fields[1:]))


def _has_invalid_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _above_the_table(source: str, layout: Layout) -> list[DamagedRecord]:
    """What stands above the table and is no title or note: records of another table, a header too damaged to use."""
    apart = [(record, "before_table", "this stands above the table") for record in layout.before]
    if layout.lost_header is not None:
        reason = "the header does not fit the table: columns it does not name for certain are numbered"
        apart.append((layout.lost_header, "header_damaged", reason))
    return [
        DamagedRecord(
            source,
            0,
            record.line,
            record.offset,
            kind,
            printable(record.raw),
            f"line {record.line}: {reason}",
        )
        for record, kind, reason in apart
    ]
