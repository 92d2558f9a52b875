"""What a person sees of a sheet's cells and calamine does not tell. Filled by cells.py and its kin, used by sheets.py."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.readers.numberformats import shown

ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
"""What the binary formats call an error, and what a person sees."""
_SHOWN = 3


@dataclass
class SheetFacts:
    """Of one sheet: `texts` by column and row (from 0), `errors` and `uncomputed` by place (`B2`)."""

    texts: dict[int, dict[int, str]] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    uncomputed: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What a person must know of cells that are null here."""
        notes = []
        if self.errors:
            named = _named([f"{place} ({text})" for place, text in self.errors])
            notes.append(f"warning: {len(self.errors)} cells show an error and are null: {named}")
        if self.uncomputed:
            named = _named(self.uncomputed)
            notes.append(
                f"warning: {len(self.uncomputed)} cells hold a formula whose result was not saved and are null: "
                f"{named}; open the workbook, save it and send it again"
            )
        return notes

    def add_text(self, row: int, column: int, text: str) -> None:
        """A cell, counted from 0, is seen as `text`."""
        self.texts.setdefault(column, {})[row] = text

    def add_number(self, row: int, column: int, number: float | str, code: str | None) -> None:
        """A cell holds a number under a format that may show codes, if one is given."""
        text = None if code is None else shown(str(number), code)
        if text is not None:
            self.add_text(row, column, text)

    def add_error(self, row: int, column: int, text: str) -> None:
        """A cell shows an error."""
        self.errors.append((place_of(row, column), text))


def place_of(row: int, column: int) -> str:
    """What a person calls a cell that is counted from 0: `B2`."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"{letters}{row + 1}"


def packed_number(packed: int) -> float:
    """The number in four bytes of the binary formats: an integer or the upper half of a float, perhaps in hundredths."""
    if packed & 2:
        value = float((packed - (1 << 32) if packed >> 31 else packed) >> 2)
    else:
        value = struct.unpack("<d", struct.pack("<II", 0, packed & ~3))[0]
    return value / 100 if packed & 1 else value


def _named(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
