"""What a library raises on bad data becomes a reason that a person understands."""

import pytest

from daemon.readers.foreign import UnreadableError, spoken, unreadable_as


class PanicException(BaseException):
    """As pyo3 raises it: no Exception."""


@pytest.mark.parametrize(
    "error",
    [
        PanicException("called `Result::unwrap()` on an `Err` value: Any { .. }"),
        PanicException("the file is too short"),
        ValueError("parquet error: Error { source: TryFromIntError(()) }"),
        ValueError("out-of-spec: InvalidFlatbufferRecordBatches(Error { source_location: ErrorLocation })"),
        ValueError("range end index 93 out of range for slice of length 91"),
        ValueError("Polars' maximum length reached. Consider compiling with 'bigidx' feature."),
        ValueError("Invalid argument (os error 22)"),
        ValueError(""),
    ],
)
def test_what_only_the_library_s_authors_understand_is_said_in_other_words(error: BaseException) -> None:
    assert (
        spoken(error)
        == "its content is damaged, or written in a way that is not known here; write and send it anew"
    )


def test_what_a_person_understands_is_passed_on_without_the_plan_below_it() -> None:
    error = ValueError("password is required to open this workbook\n\nResolved plan until failure:\n…")
    assert spoken(error) == "password is required to open this workbook"


def test_a_panic_is_a_refusal_and_a_full_disk_is_not() -> None:
    with (
        pytest.raises(UnreadableError, match="this workbook cannot be read: its content is damaged"),
        unreadable_as("this workbook"),
    ):
        raise PanicException("index out of bounds")
    with pytest.raises(OSError, match="No space"), unreadable_as("this workbook"):
        raise OSError(28, "No space left on device")
