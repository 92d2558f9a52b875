"""A contract's file: what its words mean, and that every mistake is told with its line and the way out."""

import hashlib
import string
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.catalog.contract import Contract
from daemon.catalog.contract_file import parse_contract
from daemon.catalog.key_hints import model_at
from daemon.errors import ContractError

ORIGIN = "catalog/contracts/d/t.yaml"


def read(text: str) -> Contract:
    return parse_contract(text.encode(), ORIGIN).contract


def mistakes(text: str) -> list[str]:
    """The lines of the error, without the file's name."""
    with pytest.raises(ContractError) as caught:
        read(text)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{ORIGIN}:") for line in lines)
    return [line.removeprefix(f"{ORIGIN}:") for line in lines]


def test_a_contract_knows_its_file_and_the_hash_of_its_bytes() -> None:
    data = b"description: sales\n"

    contract = parse_contract(data, ORIGIN).contract

    assert contract.origin == ORIGIN
    assert contract.version == hashlib.sha256(data).hexdigest()[:12]


def test_words_that_only_old_yaml_takes_for_something_else_stay_text() -> None:
    contract = read("bronze: {null_values: [NO, off, 2024-01-31, 1_000, 0x1F, 12:30:00]}")

    assert contract.bronze.null_values == ("NO", "off", "2024-01-31", "1_000", "0x1F", "12:30:00")


def test_a_key_is_the_text_that_was_written_even_when_it_looks_like_a_number() -> None:
    assert set(read("bronze: {cast: {2024: int64, 007: text, yes: bool}}").bronze.cast) == {
        "2024",
        "007",
        "yes",
    }


def test_a_section_with_nothing_after_the_colon_is_as_good_as_absent() -> None:
    assert read("bronze:\nsilver:\n  dedup:\n  clean:\n    strip: false\n").silver.dedup is None


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    contract = parse_contract(b"\xef\xbb\xbfdescription: a\r\nmatch: ['*.csv']\r\n", ORIGIN).contract

    assert (contract.description, contract.match) == ("a", ("*.csv",))


def test_an_anchor_may_be_used_twice() -> None:
    clean = read("silver: {clean: {lower: &cols [a, b], collapse_blanks: *cols}}").silver.clean

    assert clean.lower == clean.collapse_blanks == ("a", "b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bronze:\n  renam: {a: b}", "2: unknown key 'renam' in bronze; did you mean 'rename'?"),
        ("brnze: 1", "1: unknown key 'brnze'; did you mean 'bronze'?"),
        ("\nrename: {a: b}", "2: unknown key 'rename'; did you mean 'bronze.rename'?"),
        ("bronze: {dedup: {}}", "1: unknown key 'dedup' in bronze; did you mean 'silver.dedup'?"),
        (
            "silver:\n  checks:\n    - {name: a, sql: b}\n    - {name: c, sql: d, on_fail: drop}",
            "4: unknown key 'on_fail' in silver.checks; did you mean 'on_failure'?",
        ),
        (
            "bronze:\n  cast:\n    a:\n      type: date\n      format: '%Y'",
            "5: unknown key 'format' in bronze.cast.a; did you mean 'formats'?",
        ),
        ("gold:\n  x: 1", "2: unknown key 'x' in gold; the keys there are sql, transforms"),
        ("version: 1", "1: unknown key 'version'; the keys there are description, match, landing"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_told_with_its_line_and_the_nearest_one(text: str, expected: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("description: 5", "1: description: wants text; put it in quotes, not 5"),
        ("match: a.csv", "1: match: wants a list, e.g. [a, b], not 'a.csv'"),
        ("bronze:\n  null_values:\n    - NA\n    - -999", "4: bronze.null_values: wants text; put it"),
        ("bronze:\n  cast:\n    a: int46", "3: bronze.cast.a: there is no 'int46'; did you mean 'int64'?"),
        ("bronze:\n  cast:\n    a:", "3: bronze.cast.a: wants keys and values"),
        ("bronze:\n  rename: [a]", "2: bronze.rename: wants names and values, e.g. {name: value}"),
        ("bronze:\n  cast:\n    _layer: text", "3: bronze.cast._layer: '_layer' is a provenance column"),
        ("silver:\n  clean:\n    strip: yes", "3: silver.clean.strip: wants true or false, not 'yes'"),
        ("silver:\n  clean:\n    fill_null:\n      a: [1]", "4: silver.clean.fill_null.a: wants text"),
        ("silver:\n  checks:\n    - name: a", "3: silver.checks needs 'sql'"),
        ("silver:\n  dedup:\n    keys: []", "3: silver.dedup.keys: wants at least one item"),
        ("silver:\n  dedup:\n    keys: [a]\n    keep: newest", "4: silver.dedup.keep: there is no 'newest'"),
        ("landing:\n  batch:\n    max_bytes: 5QB", "3: landing.batch.max_bytes: wants a size with a unit"),
        ("landing:\n  batch:\n    max_files: 1.5", "3: landing.batch.max_files: wants a whole number"),
        ("landing:\n  settle: -1", "2: landing.settle: wants a number greater than or equal to 0"),
        ("reader:\n  delimiter: '||'", "2: reader.delimiter: wants a single character, not '||'"),
        ("gold: SELECT 1", "1: gold: wants keys and values, e.g. {key: value}, not 'SELECT 1'"),
        ("\n\ngold:\n  sql: a\n  transforms: ['m:f']", "3: gold: write either 'sql' or 'transforms' in gold"),
        ("- a", "1: the file: wants keys and values, e.g. {key: value}"),
        ("model: {sql: SELECT * FROM gold.a}\ngold: {}", "1: a contract with 'model' takes no files"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_line_and_what_is_wanted(text: str, expected: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "bronze: {}\nsilver: {}\nbronze: {}",
            "3: key 'bronze' stands here a second time; the first is on line 1",
        ),
        (
            "bronze:\n  rename:\n    a: b\n    a: c",
            "4: key 'a' stands here a second time; the first is on line 3",
        ),
        ("match: [a", "1: this is not YAML: "),
        ("a:\n  b:\n c: 1", "3: this is not YAML: "),
        ("\ta: 1", "1: this is not YAML: "),
        ("a: 1\n---\nb: 1", "2: this is not YAML: "),
        ("a: *nothing", "1: this is not YAML: "),
        ("\na: \x00", "2: this is not YAML: a character that is no text"),
        ("a:\n  - &x [*x]", "2: this value contains itself"),
        ("? [a]\n: 1", "1: a key must be plain text"),
        ("a: !secret x", "1: tag '!secret' means nothing here"),
        ("a: !!int x", "1: this cannot be read as int"),
        ("[" * 1000, "1: values stand too deep inside one another"),
        ("", "1: this file is empty"),
        ("# all of it commented out\n", "1: this file is empty"),
    ],
)
def test_what_is_not_plain_yaml_is_told_with_its_line(text: str, expected: str) -> None:
    assert mistakes(text)[0].startswith(expected)


def test_bytes_that_are_not_utf8_are_told_with_their_line() -> None:
    with pytest.raises(ContractError, match=r"t\.yaml:2: this is not UTF-8"):
        parse_contract(b"description: a\nmatch: ['\xe9t\xe9.csv']\n", ORIGIN)


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    text = "bronze:\n  renam: {}\n  cast: {a: int46}\nsilver:\n  clean: {strip: 1}\n"

    assert [line.split(":")[0] for line in mistakes(text)] == ["2", "3", "5"]


SECTIONS = [
    (),
    ("landing",),
    ("landing", "batch"),
    ("reader",),
    ("bronze",),
    ("silver",),
    ("silver", "clean"),
    ("gold",),
]


@given(data=st.data())
def test_a_key_with_one_letter_wrong_is_answered_with_the_right_one(data: st.DataObject) -> None:
    section = data.draw(st.sampled_from(SECTIONS))
    model = model_at(Contract, section)
    assert model is not None
    key = data.draw(st.sampled_from([name for name in model.model_fields if len(name) > 3]))
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    wrong = data.draw(st.sampled_from([key[:place] + letter + key[place:], key[:place] + key[place + 1 :]]))
    assume(wrong not in model.model_fields)

    above = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(section))
    (mistake,) = mistakes(f"{above}{'  ' * len(section)}{wrong}: 1\n")

    where = f" in {'.'.join(section)}" if section else ""
    assert mistake == f"{len(section) + 1}: unknown key '{wrong}'{where}; did you mean '{key}'?"


@given(st.text())
def test_whatever_stands_in_the_file_it_is_a_contract_or_a_contract_error(text: str) -> None:
    with suppress(ContractError):
        assert parse_contract(text.encode("utf-8", "surrogatepass"), ORIGIN).contract.origin == ORIGIN
