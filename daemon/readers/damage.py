"""When damaged records condemn their whole file. Used by every reader that works record by record."""

from collections.abc import Sequence

from daemon.readers.delivery import DamagedRecord, Refusal

_ALWAYS_BORNE = 10


def too_much_damage(
    source: str, damaged: Sequence[DamagedRecord], records: int, most_damaged: float
) -> Refusal | None:
    """The refusal of a file of which so many of its `records` are damaged, None while it can be borne.

    It is refused when at least ten of its records, and more than the share `most_damaged`, are damaged, or none is whole.
    """
    share_borne = len(damaged) < _ALWAYS_BORNE or len(damaged) <= records * most_damaged
    if not damaged or (share_borne and len(damaged) < records):
        return None
    return Refusal(
        source,
        "too_much_damage",
        f"{len(damaged)} of {records} records are damaged; the first: {damaged[0].reason}. Correct the file, or describe "
        "it (format, delimiter, quote, encoding) in the contract's `reader`",
    )
