"""What a cell looks like: number, date, time, code … The evidence that tells tables from prose and headers from records.

Used by the sniffer on samples only; no value is ever changed here.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

EMPTY = "empty"
TEXT = "text"

_NUMBER = r"[+-]?(?:\d+|\d{1,3}(?:[,. '\u00a0\u202f]\d{3})+)(?:[.,]\d+)?(?:[eE][+-]?\d+)?|[+-]?[.,]\d+"
_MONEY = "[$€£¥₹]|USD|EUR|GBP|JPY|CHF|CAD|AUD|CNY|SEK|NOK|DKK|PLN|BRL|INR"
_DAY = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- /.][A-Za-z]{3,9}\.?[- /.,]{1,2}\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2}))?"
_SHAPES = tuple(
    (name, re.compile(f"(?:{pattern})"))
    for name, pattern in (
        ("number", _NUMBER),
        ("number", rf"\(?-?(?:{_MONEY}) ?(?:{_NUMBER})\)?|(?:{_NUMBER}) ?(?:[%‰]|{_MONEY})"),
        ("date", _DAY),
        ("time", _TIME + _ZONE),
        ("datetime", f"(?:{_DAY})(?:T|,? +)(?:{_TIME}){_ZONE}"),
        ("mail", r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+"),
        ("link", r"(?:https?|ftp|s3)://\S+|www\.\S+"),
        ("uuid", r"\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?"),
        ("address", r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"),
        ("truth", r"(?i:true|false|yes|no|y|n|t|f)"),
    )
)
_MISSING = frozenset(
    {"na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "\\n", "..", "...", "*", "x"}
)
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d")
_BLANKED_LENGTH = 40


_ALIKE = str.maketrans("123456789", "0" * 9)


def shape_of(cell: str) -> str:
    """The name of the cell's shape: `empty`, `number`, `date` …, a code such as `code:A-99`, or `text`."""
    return _shape_of(
        cell.translate(_ALIKE)
    )  # no shape tells one digit from another, so most cells were seen before


@lru_cache(maxsize=1 << 14)
def _shape_of(cell: str) -> str:
    text = cell.strip()
    if not text or text.lower() in _MISSING:
        return EMPTY
    for name, pattern in _SHAPES:
        if pattern.fullmatch(text):
            return name
    if len(text) <= _BLANKED_LENGTH and _DIGITS.search(text) and " " not in text:
        return "code:" + _DIGITS.sub("9", _LETTERS.sub("A", text))
    return TEXT


def column_shape(cells: Sequence[str]) -> str:
    """The shape that nearly all cells of a column share (`text` when there is none, `empty` when all are empty)."""
    shapes: Counter[str] = Counter()
    for alike, times in Counter([cell.translate(_ALIKE) for cell in cells]).items():
        shapes[_shape_of(alike)] += times
    del shapes[EMPTY]
    if not shapes:
        return EMPTY
    shape, times = shapes.most_common(1)[0]
    return shape if times >= 0.9 * shapes.total() else TEXT


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMED = {
    **dict.fromkeys(("date", "datum", "fecha", "day"), frozenset({"date", "datetime", "number"})),
    **dict.fromkeys(("time", "timestamp", "hora", "zeit"), frozenset({"time", "datetime", "number", "date"})),
    **dict.fromkeys(("url", "uri", "link", "website", "href"), frozenset({"link"})),
    **dict.fromkeys(("mail", "email"), frozenset({"mail"})),
    **dict.fromkeys(
        ("price", "amount", "qty", "quantity", "count", "total", "cost", "rate", "age", "year"),
        frozenset({"number"}),
    ),
}


def misnames(name: str, shape: str) -> bool:
    """Whether `name` speaks of other values than a column of `shape` holds: `url` above numbers, say."""
    if shape == EMPTY:
        return False
    expected = [_NAMED[word.lower()] for word in _WORDS.findall(name) if word.lower() in _NAMED]
    return bool(expected) and not any(shape in shapes for shapes in expected)


def is_year(cell: str) -> bool:
    """Whether the cell is a year, which names a column as often as it fills one."""
    text = cell.strip()
    return len(text) == 4 and text.isdigit() and 1800 <= int(text) <= 2200  # noqa: PLR2004 - years are these
