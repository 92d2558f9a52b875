"""Which dialect makes a table of a sample: every candidate reads it, the evidence decides, near ties are refused.

What speaks for a dialect is in evidence.py. `read_sample` is asked by
locating.py, once per new first line on the fast path, once per careful file.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from daemon.catalog.contract import ReaderOptions
from daemon.readers.dialect import Dialect
from daemon.readers.evidence import REGULARITY, USUAL, SampleReading, read_as
from daemon.readers.lines import Line
from daemon.readers.records import Record
from daemon.readers.shapes import EMPTY, TEXT, shape_of

_NEVER = frozenset("\"'-_./\\()[]{}<>+?!\r\n")
_NEAR_TIE = 0.93
_ENOUGH_RECORDS = 10
_FIRST_LOOK = 60
"""So many lines choose the dialect, if it then fits the whole sample."""
_TORN_SHARE = 0.3
_DECLARED = re.compile('"?sep=(.)"?', re.IGNORECASE)
"""The first line by which spreadsheets are told the delimiter."""
REMARKS = ("#", "//", "%", "--")
_SURE_WIDTH = 3
_ESCAPES = r"\\\0^~/`"
_QUOTE_FLAWS_BORNE = 0.05
_MEANINGLESS_QUOTES = 0.5


class UnknownLayoutError(Exception):
    """The file's layout cannot be told; `kind` and the message go into the refusal."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def read_sample(lines: Sequence[Line], options: ReaderOptions) -> SampleReading:
    """The reading of the sample `lines` that the evidence is for. Raises UnknownLayoutError when it does not tell."""
    lines = [line for line in lines if line.text.strip()]
    if not lines:
        raise UnknownLayoutError("empty", "the file holds no record, only blank lines")
    if options.delimiter is None and (declared := _DECLARED.fullmatch(lines[0].text)):
        options = options.model_copy(update={"delimiter": declared[1]})
    telling = _without_remarks(lines)
    reading = read_as(lines, _choose(telling[:_FIRST_LOOK], options), options.comment or "")
    if reading.damaged and len(telling) > _FIRST_LOOK:
        reading = read_as(lines, _choose(telling, options), options.comment or "")
    return reading


def _without_remarks(lines: list[Line]) -> list[Line]:
    """The lines that do not begin as a few others do that are meant for people."""
    text = "".join(line.text for line in lines)
    if not any(mark in text for mark in REMARKS):
        return lines
    for mark in REMARKS:
        others = [line for line in lines if not line.text.lstrip().startswith(mark)]
        if len(lines) / 2 < len(others) < len(lines) or (
            others and len(others) < len(lines) and others[-1] is lines[-1]
        ):
            return others
    return lines


def _choose(lines: list[Line], options: ReaderOptions) -> Dialect:
    """The dialect that the evidence of `lines` is for."""
    delimiters = [options.delimiter] if options.delimiter else _delimiters(lines, options)
    first = _best_quoting(lines, delimiters[0], options)
    if _is_beyond_doubt(first, delimiters, lines):
        return first.dialect
    readings = [first, *(_best_quoting(lines, delimiter, options) for delimiter in delimiters[1:])]
    readings.sort(key=lambda reading: reading.score, reverse=True)
    best = readings[0]
    if best.width == 1 and not options.delimiter and (columns := _aligned_columns(best)):
        raise UnknownLayoutError(
            "unknown_dialect",
            f"its {columns} columns seem to be aligned with blanks, and no single character parts them. Send it with a "
            "delimiter, or say in the contract's `reader` that it is none (delimiter: tab) to have its lines as they are",
        )
    if best.width == 1 and not options.delimiter and _might_be_torn(best):
        best = next((reading for reading in readings if reading.width > 1 and reading.might_be_a_table), best)
        if best.width == 1:
            raise UnknownLayoutError(
                "unknown_dialect",
                "no delimiter splits the lines of this file into a table. Name the delimiter in the contract's `reader`",
            )
    if explaining := [reading for reading in readings if _explains_more(reading, best)]:
        best, readings = explaining[0], explaining
    rivals = [rival for rival in readings if rival is not best and _rivals(rival, best)]
    if rivals and best.width > 1:
        ways = "; ".join(f"{reading.dialect} ({reading.width} columns)" for reading in (best, *rivals))
        raise UnknownLayoutError(
            "ambiguous_dialect",
            f"the file can be read in more than one way: {ways}. Name the delimiter in the contract's `reader`",
        )
    return _with_wider_delimiter(best, lines, options).dialect


def _is_beyond_doubt(reading: SampleReading, delimiters: Sequence[str], lines: Sequence[Line]) -> bool:
    """Whether no other reading can come near: told without making them, since most files are of this kind.

    An even table of three columns or more, whose delimiter is the only candidate, in a text without quotes. So none of its
    cells is torn, and its score is 0.75 x 0.73 at least; that of whole lines is 0.5 at most, and one column is no rival. A
    delimiter of two characters needs to stand somewhere.
    """
    delimiter = reading.dialect.delimiter
    if (
        reading.damaged
        or reading.width < _SURE_WIDTH
        or delimiter not in USUAL
        or delimiters[1:] not in ([""], [])
    ):
        return False
    text = "\n".join(line.text for line in lines)
    return not any(mark in text for mark in ('"', "'", delimiter + " ", delimiter * 2))


def _explains_more(reading: SampleReading, best: SampleReading) -> bool:
    """Whether `reading`, though narrower, leaves nothing unexplained where `best` does: damage, or quotes as text."""
    if reading.damaged or reading.width == 1 or reading.dialect.loose or not reading.dialect.quote:
        return False
    if not reading.score:
        return False
    if (best.dialect.loose or not best.dialect.quote) and reading.flawless_quotes:
        return True
    many = len(reading.records) >= _ENOUGH_RECORDS
    return many and best.damaged > 0 and reading.dialect.delimiter in USUAL


def _rivals(rival: SampleReading, best: SampleReading) -> bool:
    """Whether the evidence for `rival` is as good: nearly the same score, or a table without a flaw as well.

    A delimiter that stands in values of a known shape only (decimal commas, times) is no rival.
    """
    if rival.width == 1 or not rival.score:
        return False
    if rival.score > best.score * _NEAR_TIE:
        return True
    if best.damaged and not rival.damaged and rival.dialect.delimiter in USUAL and len(rival.records) > 2:  # noqa: PLR2004 - two may agree by chance
        return True
    delimiter = rival.dialect.delimiter
    cells = [cell for record in best.records for cell in record.fields if delimiter in cell]
    bare = [cell for cell in cells if shape_of(cell) == TEXT or shape_of(cell).startswith("code:")]
    flawless = not rival.damaged and not best.damaged and rival.flawless_quotes == best.flawless_quotes
    alone = len(best.records) == 1  # then the width is no evidence
    wide_enough = (alone or 2 * rival.width >= best.width) and rival.dialect.quote == best.dialect.quote
    return flawless and wide_enough and delimiter in USUAL and len(bare) > len(cells) / 2


def _might_be_torn(reading: SampleReading) -> bool:
    """Whether a table of one column holds what looks like the delimiters or quotes of a wider one."""
    records = [record.raw.strip() for record in reading.records]
    typed = [shape_of(raw) not in (EMPTY, TEXT) and not shape_of(raw).startswith("code:") for raw in records]
    torn = [
        not value and any(mark in raw for mark in (*USUAL, '"')) and not (raw[0] == raw[-1] == '"')
        for raw, value in zip(records, typed, strict=True)
    ]
    return torn[0] or sum(torn) > _TORN_SHARE * len(records)


def _aligned_columns(reading: SampleReading) -> int:
    """How many columns most lines seem to have, if they stand one below the other by runs of blanks; 0 if not."""
    lines = [record.raw.strip() for record in reading.records]
    widths = Counter(len(line.split()) for line in lines if "  " in line)
    width, times = widths.most_common(1)[0] if widths else (0, 0)
    return width if width > 1 and times > max(2, len(lines) / 2) else 0


def _with_wider_delimiter(
    reading: SampleReading, lines: Sequence[Line], options: ReaderOptions
) -> SampleReading:
    """The same table with a delimiter of two characters (`, ` or `||`), when no value needs the second one."""
    delimiter = reading.dialect.delimiter
    if options.delimiter or reading.width < 2 or len(reading.records) < 2:  # noqa: PLR2004 - two make a comparison
        return reading
    regular = reading.damaged <= (1 - REGULARITY) * len(reading.records)
    for second, width in ((" ", reading.width), (delimiter, (reading.width + 1) // 2)) if regular else ():
        if delimiter + second != "  ":
            wide = read_as(
                lines, replace(reading.dialect, delimiter=delimiter + second), options.comment or ""
            )
            if wide.width == len(wide.records[0].fields) == width > 1 and wide.damaged <= reading.damaged:
                return wide
    return reading


def _delimiters(lines: Sequence[Line], options: ReaderOptions) -> list[str]:
    """The delimiters worth a trial: the usual ones that occur, others that occur as often in nearly every line."""
    if options.format == "tsv":
        return ["\t"]
    texts = [line.text for line in lines if line.text.strip()]
    everything = "".join(texts)
    found = [mark for mark in USUAL if mark in everything]
    others = (
        {mark for mark in texts[0] if not mark.isalnum()} - _NEVER - set(USUAL) if len(texts) > 2 else set()  # noqa: PLR2004 - two lines may agree by chance
    )
    found += sorted(mark for mark in others if sum(mark in text for text in texts) >= REGULARITY * len(texts))
    return [*found, ""]


def _best_quoting(lines: Sequence[Line], delimiter: str, options: ReaderOptions) -> SampleReading:
    """The sample read with `delimiter` and the quoting that leaves least damage, the usual one if it does."""
    comment = options.comment or ""
    if options.quote is not None:
        return read_as(lines, Dialect(delimiter, options.quote, loose=True), comment)
    usual = read_as(lines, Dialect(delimiter), comment)
    if not usual.damaged and usual.width > 1:
        single = read_as(lines, Dialect(delimiter, "'"), comment) if usual.single_quoted else usual
        return usual if single.damaged or single.width != usual.width else single
    candidates = [usual]
    candidates += [read_as(lines, dialect, comment) for dialect in _single_quotes(lines, delimiter)]
    if usual.flawed:
        candidates += [
            read_as(lines, dialect, comment) for dialect in other_quotings(usual.records, usual.dialect)
        ]
    best = min(
        (reading for reading in candidates if reading.trusted),
        key=lambda reading: reading.damaged,
        default=usual,
    )
    return best if best.damaged < usual.damaged else usual


def other_quotings(records: Sequence[Record], dialect: Dialect) -> Iterator[Dialect]:
    """The quotings that may explain why `records` break the grammar of `dialect`."""
    flawed = [record.raw for record in records if record.flaw is not None]
    marks = {mark for raw in flawed for mark in re.findall(f"([{_ESCAPES}]){dialect.quote}", raw)}
    yield from (replace(dialect, escape=mark) for mark in sorted(marks - {dialect.delimiter, dialect.quote}))
    habitual = len(flawed) > max(1, _QUOTE_FLAWS_BORNE * len(records))
    if habitual or all(_quotes_are_text(raw, dialect) for raw in flawed):
        yield replace(dialect, loose=True)
    if habitual:
        yield replace(dialect, loose=True, naked=True)
    if len(flawed) > _MEANINGLESS_QUOTES * len(records):
        yield replace(dialect, quote="")


def _quotes_are_text(raw: str, dialect: Dialect) -> bool:
    """Whether every field has its quotes in pairs and within it, as in 37 36'37.8"N 121 2'17.9"W."""
    parts = [part for part in raw.split(dialect.delimiter or None) if dialect.quote in part]
    return all(
        part.count(dialect.quote) % 2 == 0 and dialect.quote not in (part[0], part[-1]) for part in parts
    )


def _single_quotes(lines: Sequence[Line], delimiter: str) -> Iterator[Dialect]:
    """The dialect of single quotes, if they stand around whole fields."""
    edge = re.escape(delimiter) if delimiter else "$"
    around = re.compile(f"(?:^|{edge})'[^']*'(?:{edge}|$)")
    if sum(around.search(line.text) is not None for line in lines) > len(lines) / 10:
        yield Dialect(delimiter, "'", loose=True)
        yield Dialect(delimiter, "'", loose=True, naked=True)
