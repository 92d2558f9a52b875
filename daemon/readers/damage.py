"""When damaged records condemn their whole file. Used by every reader that works record by record."""

from collections.abc import Sequence

from daemon.readers.delivery import DamagedRecord, Refusal

MOST_DAMAGED_SHARE = 0.2
ALWAYS_BORNE = 10


def too_much_damage(source: str, damaged: Sequence[DamagedRecord], records: int) -> Refusal | None:
    """The refusal of a file of which so many of its `records` are damaged, None while it can be borne.

    A file is refused when more than a fifth of its records and at least ten are damaged, or when none is whole.
    """
    share_borne = len(damaged) < ALWAYS_BORNE or len(damaged) <= records * MOST_DAMAGED_SHARE
    if not damaged or (share_borne and len(damaged) < records):
        return None
    return Refusal(
        source,
        "too_much_damage",
        f"{len(damaged)} of {records} records are damaged; the first: {damaged[0].reason}. Correct the file, or describe "
        "it (format, delimiter, quote, encoding) in the contract's `reader`",
    )
