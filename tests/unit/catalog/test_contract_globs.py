"""Whether two globs can match the same file name."""

import re
from fnmatch import fnmatchcase, translate
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.catalog.globs import globs_overlap, literal_start

PARTS = ["a", "b", "]", "?", "*", "[", "[ab]", "[!a]", "[!ab]", "[]a]", "[a-b]"]
NAMES = ["".join(letters) for size in range(6) for letters in product("ab[]?*", repeat=size)]
"""If any name fits two globs of at most three parts each, one of these does."""

globs = st.lists(st.sampled_from(PARTS), max_size=3).map("".join)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("employment_emploi_*.csv", "employment_growth_*.csv", False),
        ("employment_*.csv", "employment_emploi_*.csv", True),
        ("*.csv", "sales_*", True),
        ("*.csv", "*.json", False),
        ("*.csv", "*.CSV", False),
        ("a*", "*b", True),
        ("a", "a", True),
        ("a", "b", False),
        ("", "", True),
        ("", "*", True),
        ("", "?", False),
        ("??", "?", False),
        ("*?*?*", "ab", True),
        ("[a-m].csv", "[k-z].csv", True),
        ("[a-j].csv", "[k-z].csv", False),
        ("[!a-m]", "[!n-z]", True),
        ("[!a]", "[a]", False),
        ("é*", "*à", True),
        ("2024-[01]*.csv", "2024-1[0-2]*.csv", True),
    ],
)
def test_globs_overlap_when_some_name_fits_both(one: str, other: str, overlap: bool) -> None:  # noqa: FBT001 - a table
    assert globs_overlap(one, other) is overlap
    assert globs_overlap(other, one) is overlap


@given(globs, globs)
def test_the_answer_is_that_of_trying_every_short_name(one: str, other: str) -> None:
    fits_one, fits_other = (re.compile(translate(glob)).match for glob in (one, other))

    assert globs_overlap(one, other) == any(fits_one(name) and fits_other(name) for name in NAMES)


@given(globs, st.sampled_from(["a", "ab", "]x", ""]))
def test_a_name_that_fits_begins_with_the_literal_start(glob: str, end: str) -> None:
    start = literal_start(glob)

    assert glob.startswith(start)
    assert all(name.startswith(start) for name in (start + end, *NAMES[:500]) if fnmatchcase(name, glob))
