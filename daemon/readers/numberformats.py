"""Number formats that show codes: `00123` where 123 is stored under `00000`, `01234-5678` under `00000-0000`.

Used by the readers of workbooks. Pure.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[(?P<bracket>[^\]]*)\]|(?P<skipped>[_*].)|(?P<digit>[0#?])|(?P<point>\.)'
    r"|(?P<literal>[-+ ():$])|(?P<end>;)|(?P<other>.)",
    re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)")
_COMPARE: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_MOST_DIGITS = 30


@dataclass(frozen=True)
class _Section:
    """One of the parts between semicolons: its tokens (a digit's place is `0`, `#` or `?`, other text begins with `=`)."""

    whole: tuple[str, ...]
    fraction: tuple[str, ...]
    condition: tuple[str, Decimal] | None
    is_plain: bool

    @property
    def is_code(self) -> bool:
        """Whether it shows leading zeros, and nothing that changes the number's meaning."""
        return self.is_plain and self.whole.count("0") > 1

    def holds_for(self, number: Decimal) -> bool:
        return self.condition is not None and _COMPARE[self.condition[0]](number, self.condition[1])


def shows_codes(code: str) -> bool:
    """Whether a format shows some numbers with leading zeros."""
    return any(section.is_code for section in _sections(code))


def shown(number: str, code: str) -> str | None:
    """What a person sees of the stored `number` under the format `code`; None where that is no code with its zeros.

    None as well where less would be seen than is stored.
    """
    try:
        value = Decimal(number)
    except InvalidOperation:
        return None
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        return None
    section, is_signed = _chosen(_sections(code), value)
    if not section.is_code:
        return None
    places = sum(not token.startswith("=") for token in section.fraction)
    text = f"{abs(value):.{places}f}"
    if Decimal(text) != abs(value):
        return None
    whole, _, fraction = text.partition(".")
    filled = _whole(section.whole, whole.lstrip("0")) + _fraction(section.fraction, fraction)
    return (("-" if is_signed else "") + filled).strip()


def _chosen(sections: Sequence[_Section], value: Decimal) -> tuple[_Section, bool]:
    """The section for a number, and whether its sign is still to be written."""
    if any(section.condition for section in sections):
        chosen = next((section for section in sections if section.holds_for(value)), None)
        return chosen or next((s for s in sections if s.condition is None), sections[-1]), value < 0
    if value < 0:
        return (sections[1], False) if len(sections) > 1 else (sections[0], True)
    return sections[2 if value == 0 and len(sections) > 2 else 0], False  # noqa: PLR2004 - the third is for zero


@lru_cache(maxsize=1000)
def _sections(code: str) -> tuple[_Section, ...]:
    sections: list[_Section] = []
    whole: list[str] = []
    fraction: list[str] | None = None
    condition, is_plain = None, True
    for token in [*_TOKEN.finditer(code), None]:
        kind = "end" if token is None else token.lastgroup
        text = "" if token is None or kind is None else token[kind]
        target = whole if fraction is None else fraction
        if kind == "end":
            sections.append(_Section(tuple(whole), tuple(fraction or ()), condition, is_plain))
            whole, fraction, condition, is_plain = [], None, None, True
        elif kind == "digit":
            target.append(text)
        elif kind in ("quoted", "escaped", "literal"):
            target.append(f"={text}")
        elif kind == "point" and fraction is None:
            fraction = ["=."]
        elif kind == "bracket":
            found = _CONDITION.fullmatch(text)
            condition = (found[1], Decimal(found[2])) if found else condition
            is_plain = is_plain and not re.fullmatch(r"[hms]+", text, re.IGNORECASE)
        elif kind != "skipped":
            is_plain = False
    return tuple(sections)


def _whole(tokens: Sequence[str], digits: str) -> str:
    """The digits in their places from the right; those left over stand in the first place."""
    first = next(place for place, token in enumerate(tokens) if not token.startswith("="))
    text = ""
    for place in range(len(tokens) - 1, -1, -1):
        token = tokens[place]
        if token.startswith("="):
            text = token[1:] + text
        elif place == first:
            text = (digits or _empty(token)) + text
        else:
            text = (digits[-1:] or _empty(token)) + text
            digits = digits[:-1]
    return text


def _fraction(tokens: Sequence[str], digits: str) -> str:
    rest = iter(digits)
    return "".join(token[1:] if token.startswith("=") else next(rest) for token in tokens)


def _empty(token: str) -> str:
    """What a digit's place shows when there is no digit for it."""
    return {"0": "0", "?": " "}.get(token, "")
