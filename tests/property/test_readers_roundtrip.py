"""What a writer with any dialect wrote comes back the same, and a damaged record never changes another."""

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from daemon.catalog.contract import ReaderOptions
from daemon.readers import Delivery, Source, read_delivery

_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=8)
_PLAIN = st.text(st.sampled_from("abcXYZ 0123456789.:/-é"), max_size=8)
_NAMES = ["id", "name", "amount", "note"]
_DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "lineterminator": st.sampled_from(["\n", "\r\n"]),
    }
)


def _written(rows: list[list[str]], dialect: dict[str, object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows([_NAMES, *rows])  # type: ignore[arg-type] # the dialect's own types
    return text.getvalue()


def _read(content: bytes, **options: object) -> tuple[list[tuple[object, ...]], Delivery]:
    """The rows as the staged layer gets them, with their numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        path.write_bytes(content)
        source = Source("in.csv", path)
        careful: frozenset[str] = frozenset()
        while True:
            delivery = read_delivery([source], ReaderOptions.model_validate(options), Path(folder), careful)
            try:
                table = (
                    pl.concat(delivery.frames, how="diagonal").collect()
                    if delivery.frames
                    else pl.DataFrame()
                )
                counts = dict(table["_source_file"].value_counts().iter_rows()) if delivery.proofs else {}
                again = delivery.unproved(table.lazy(), counts)
            except pl.exceptions.PolarsError:
                again = frozenset({"in.csv"})
            assert not (again and careful)
            if not again:
                return table.drop("_source_file", strict=False).rows(), delivery
            careful = again


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.lists(_VALUES, min_size=4, max_size=4), min_size=1, max_size=8), dialect=_DIALECTS)
def test_any_text_comes_back_when_the_contract_names_the_dialect(
    rows: list[list[str]], dialect: dict[str, object]
) -> None:
    content = _written(rows, dialect).encode()
    assume(b"\0" not in content)
    assume(dialect["quoting"] == csv.QUOTE_ALL or b"\r" not in content.replace(b"\r\n", b""))  # written bare
    read, delivery = _read(
        content, delimiter=dialect["delimiter"], quote='"', encoding="utf-8", header=True, format="csv"
    )
    assert [list(row[:-1]) for row in read] == rows, delivery
    assert [row[-1] for row in read] == list(range(1, len(rows) + 1))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**6), _PLAIN, st.decimals(0, 10**4, places=2), _PLAIN),
        min_size=5,
        max_size=20,
    ),
    dialect=_DIALECTS,
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_a_table_of_numbers_and_words_comes_back_though_nothing_is_told(
    rows: list[tuple[object, ...]], dialect: dict[str, object], encoding: str
) -> None:
    texts = [[str(cell) for cell in row] for row in rows]
    read, delivery = _read(_written(texts, dialect).encode(encoding))
    assert [list(row[:-1]) for row in read] == texts, delivery


_DAMAGE = st.sampled_from(
    [
        b"7,x",
        b"7",
        b"7,x,1.5,n,more",
        b'7,"x,1.5,n',
        b'7,"x"y,1.5,n',
        b'7,x"y,1.5,n',
        b"7,\xff\xfe,1.5,n",
        b'"7,x,1.5,n',
    ]
)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**6), _PLAIN, st.decimals(0, 10**4, places=2), _PLAIN),
        min_size=6,
        max_size=20,
    ),
    damage=_DAMAGE,
    data=st.data(),
)
def test_a_damaged_record_never_changes_another(
    rows: list[tuple[object, ...]], damage: bytes, data: st.DataObject
) -> None:
    texts = [[str(cell) for cell in row] for row in rows]
    lines = _written(texts, {"lineterminator": "\n"}).encode().splitlines(keepends=True)
    place = data.draw(st.integers(1, len(texts)), label="place")
    read, delivery = _read(
        b"".join([*lines[:place], damage + b"\n", *lines[place:]]),
        delimiter=",",
        encoding="utf-8",
        header=True,
    )
    assert [list(row[:-1]) for row in read] == texts
    (damaged,) = delivery.damaged
    assert (damaged.row, damaged.line) == (place, place + 1)
    assert damaged.byte_offset == len(b"".join(lines[:place]))


_TOLD = ("warning", "before the table")
_LINE_DAMAGE: dict[str, Callable[[str, str], str]] = {
    "a field more": lambda line, mark: line + mark + "more",
    "a field less": lambda line, mark: line.rpartition(mark)[0],
    "only one field": lambda _line, _mark: "word",
    "a quote that opens": lambda line, _mark: '"' + line,
    "a quote amid": lambda line, mark: line.replace(mark, mark + '"x" y', 1),
    "cut in half": lambda line, _mark: line[: len(line) // 2],
    "another delimiter": lambda line, mark: line.replace(mark, "&"),
    "all lost": lambda line, mark: line.replace(mark, ""),
    "a title": lambda _line, _mark: "Total of all",
}


def _says_something_else(line: str, sound: str, mark: str) -> bool:
    """Whether the line is a record of the same width after all: no reader can tell that it was another one."""
    return '"' not in line and line.count(mark) == sound.count(mark)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**6), _PLAIN, st.decimals(0, 10**4, places=2), _PLAIN),
        min_size=6,
        max_size=20,
        unique_by=lambda row: row[0],
    ),
    dialect=_DIALECTS,
    damage=st.sampled_from(sorted(_LINE_DAMAGE)),
    data=st.data(),
)
def test_whatever_befalls_one_record_no_other_is_changed_in_silence(
    rows: list[tuple[object, ...]], dialect: dict[str, str], damage: str, data: st.DataObject
) -> None:
    """Nothing is told: every other record comes as it was and the damaged one is set aside with its line, or the file is
    set aside, or its note says what is doubtful."""
    texts = [[str(cell) for cell in row] for row in rows]
    end = dialect["lineterminator"]
    lines = _written(texts, {**dialect, "quoting": csv.QUOTE_MINIMAL}).split(end)[:-1]
    place = data.draw(st.integers(1, len(texts)), label="place")
    sound = lines[place]
    lines[place] = _LINE_DAMAGE[damage](sound, dialect["delimiter"])
    assume(lines[place].strip() and not _says_something_else(lines[place], sound, dialect["delimiter"]))
    read, delivery = _read("".join(line + end for line in lines).encode())
    if delivery.refused or any(word in note for note in delivery.notes.values() for word in _TOLD):
        return
    others = [*texts[: place - 1], *texts[place:]]
    (damaged,) = delivery.damaged
    assert [list(row[:-1]) for row in read] == others
    assert (damaged.line, damaged.raw) == (place + 1, lines[place])
    assert [row[-1] for row in read] == [number for number in range(1, len(texts) + 1) if number != place]
