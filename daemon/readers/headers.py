"""Column names from a header record: trimmed, never empty, never twice, never one of ours. Used by every reader."""

from collections.abc import Sequence

_BLANKS = " \t\r\n\f\v\u00a0\u2007\u202f\u200b\u2060\ufeff"
_OURS = ("_source_file", "_source_row", "_ingested_at", "_batch_id", "_layer")


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Stable names for the fields of `header`: an empty one is `column_<n>`, a second `a` is `a_2`."""
    trimmed = [name.strip(_BLANKS) or f"column_{place}" for place, name in enumerate(header, 1)]
    taken = {*_OURS, *trimmed}
    used: set[str] = set(_OURS)
    names: list[str] = []
    for name in trimmed:
        unique = name
        if name in used:
            copy = 2
            while (unique := f"{name}_{copy}") in taken:
                copy += 1
        taken.add(unique)
        used.add(unique)
        names.append(unique)
    return tuple(names)


def numbered_names(width: int) -> tuple[str, ...]:
    """Names for a table without a header: `column_1` to `column_<width>`."""
    return tuple(f"column_{place}" for place in range(1, width + 1))
