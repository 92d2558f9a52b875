"""Many rows are told apart by the hashes of their keys first: who wins is the same as for few."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.catalog.contract import DedupRules
from daemon.pipeline import dedup
from daemon.pipeline.dedup import keep_one_per_key

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "", None, "a "]),
        st.sampled_from([0.0, -0.0, 1.5, float("nan"), None]),
        st.integers(0, 3),
    ),
    max_size=12,
)
RULES = [
    {"keys": ["text"]},
    {"keys": ["text"], "keep": "last"},
    {"keys": ["text", "number"]},
    {"keys": ["number", "text"], "keep": "last", "order_by": ["number", "text"]},
    {"keys": ["text"], "order_by": ["number"]},
    {"keys": ["real"], "keep": "last"},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(max_examples=40)
@given(rows=ROWS)
def test_who_wins_does_not_depend_on_how_many_rows_there_are(
    rule: dict[str, object], rows: list[tuple[str | None, float | None, int]]
) -> None:
    schema = {"text": pl.String, "real": pl.Float64, "number": pl.Int64}
    frame = pl.LazyFrame(rows, schema, orient="row").with_row_index("place")
    rules = DedupRules.model_validate(rule)
    few = keep_one_per_key(frame, rules).collect()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dedup, "_MANY", 0)
        assert keep_one_per_key(frame, rules).collect().equals(few)


def test_of_many_rows_those_that_share_a_key_are_few() -> None:
    rows = dedup._MANY
    frame = pl.LazyFrame({"key": [*range(rows), 7, 9], "place": range(rows + 2)})
    kept = keep_one_per_key(frame, DedupRules(keys=("key",), keep="last")).collect()
    assert kept["place"].to_list() == [place for place in range(rows + 2) if place not in {7, 9}]
