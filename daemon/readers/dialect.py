"""How one delimited file is written (delimiter, quote, escape), and the grammar that follows from it.

The sniffer proposes dialects, the careful reader parses with them, the fast path needs them plain.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property


class Flaw(Enum):
    """Why a line is not a record by itself."""

    OPEN_QUOTE = "open_quote"
    STRAY_QUOTE = "stray_quote"


@dataclass(frozen=True)
class Dialect:
    """Delimiter ("" = one column), quote ("" = none) and escape ("" = a quote is escaped by doubling only).

    `loose`: a quote inside a field that does not begin with one is text (6" pipe), not damage. `naked`: neither are
    quotes inside quoted fields doubled or escaped; the one before a delimiter closes the field.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    loose: bool = False
    naked: bool = False

    @property
    def plain(self) -> bool:
        """Whether polars reads this dialect: one-byte delimiter and quote, no escape character."""
        one_byte = len(self.delimiter) <= 1 and self.delimiter.isascii() and self.quote.isascii()
        return one_byte and not self.escape and not self.naked

    def __str__(self) -> str:
        """For people, in notes and reasons."""
        parts = [f"delimiter {_spoken(self.delimiter)}" if self.delimiter else "one column"]
        parts.append(f"quote {self.quote}" if self.quote else "no quotes")
        if self.escape:
            parts.append(f"escape {_spoken(self.escape)}")
        if self.naked:
            parts.append("warning: inner quotes are not escaped")
        elif self.loose:
            parts.append("quotes inside bare fields are text")
        return ", ".join(parts)

    @cached_property
    def _end(self) -> str:
        return f"(?:{re.escape(self.delimiter)}|\\Z)" if self.delimiter else "\\Z"

    @cached_property
    def _bare(self) -> str:
        """A field that is not quoted: its first character is no quote; later ones may be when `loose`."""
        mark, quote = re.escape(self.delimiter), re.escape(self.quote)
        barred = quote + mark if len(self.delimiter) == 1 else quote
        ahead = f"(?!{mark})" if len(self.delimiter) > 1 else ""
        later = f"[^{barred.removeprefix(quote)}\\n]" if self.loose else f"[^{barred}\\n]"
        return f"(?!{self._blanks}{quote})(?:{ahead}[^{barred}\\n](?:{ahead}{later})*+)?"

    @cached_property
    def _quoted(self) -> str:
        """A quoted field without its closing quote; blanks may stand around a quoted field."""
        quote = re.escape(self.quote)
        if self.naked:
            return f"{self._blanks}{quote}((?:[^{quote}]|{quote}(?!{self._blanks}(?:{self._end}|\\n)))*+)"
        escaped = f"|{re.escape(self.escape)}." if self.escape else ""
        return (
            f"{self._blanks}{quote}((?:[^{_in_class(self.quote + self.escape)}]|{quote}{quote}{escaped})*+)"
        )

    @property
    def _blanks(self) -> str:
        return "" if self.delimiter.startswith(" ") else " *+"

    @cached_property
    def _field(self) -> re.Pattern[str]:
        closed = f"{self._quoted}{re.escape(self.quote)}{self._blanks}"
        return re.compile(f"(?:{closed}|({self._bare}))({self._end})", re.DOTALL)

    @cached_property
    def _open(self) -> re.Pattern[str]:
        dangling = f"(?:{re.escape(self.escape)})?" if self.escape else ""  # it escapes the line end
        return re.compile(f"{self._quoted}{dangling}\\Z", re.DOTALL)

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        quote, mark = re.escape(self.quote), re.escape(self.escape)
        return re.compile(f"{mark}([{_in_class(self.quote + self.escape)}])|{quote}({quote})")

    def _value(self, quoted: str) -> str:
        if self.naked:
            return quoted
        if self.escape:
            return self._escaped.sub(lambda match: match[1] or match[2], quoted)
        return quoted.replace(self.quote * 2, self.quote)

    def parse(self, text: str) -> list[str] | Flaw:
        """The fields of one record (`text` without its line end), or why it is none.

        OPEN_QUOTE: the text ends inside quotes, so the record may go on in the next line.
        """
        if not self.quote or self.quote not in text:
            return text.split(self.delimiter) if self.delimiter else [text]
        fields: list[str] = []
        place = 0
        while True:
            match = self._field.match(text, place)
            if match is None:
                return Flaw.OPEN_QUOTE if self._open.match(text, place) else Flaw.STRAY_QUOTE
            quoted, bare, end = match.groups()
            fields.append(bare if quoted is None else self._value(quoted))
            if not end:
                return fields
            place = match.end()

    def _unwrapped(self, field: str) -> str:
        wrapped = len(field) > 1 and field.startswith(self.quote) and field.endswith(self.quote)
        return field[1:-1] if wrapped else field

    def parse_literally(self, text: str) -> list[str]:
        """The fields of a damaged record, a quote out of place taken as text: good for naming, not for data."""
        fields: list[str] = []
        place = 0
        while True:
            match = self._field.match(text, place)
            if match is None:
                stop = text.find(self.delimiter, place) if self.delimiter else -1
                fields.append(self._unwrapped(text[place:] if stop < 0 else text[place:stop]))
                if stop < 0:
                    return fields
                place = stop + len(self.delimiter)
                continue
            quoted, bare, end = match.groups()
            fields.append(bare if quoted is None else self._value(quoted))
            if not end:
                return fields
            place = match.end()


def _in_class(characters: str) -> str:
    return re.escape(characters)


def _spoken(character: str) -> str:
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", ":": "colon"}
    return names.get(character, repr(character))
