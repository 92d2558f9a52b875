"""Whether two globs on file names can match the same name. Used by contract_clashes.py.

Globs are those of fnmatch: `*` any text, `?` any character, `[a-z]` and `[!a-z]` one of a set, else itself.
"""

import re
from fnmatch import fnmatchcase
from functools import lru_cache

_ITEM = re.compile(r"\*+|\[!?+\]?+[^\]]*+\]|.", re.DOTALL)
_STAR = "*"
_UNNAMED = "\U0010fffe"  # stands for every character that no set names

Place = tuple[int, int]


def globs_overlap(one: str, other: str) -> bool:
    """Whether some name fits both. Walks both globs at once, through all places that a name can lead to."""
    mine, theirs = _items(one), _items(other)
    waiting: list[Place] = [(0, 0)]
    seen = set(waiting)
    while waiting:
        here = waiting.pop()
        if here == (len(mine), len(theirs)):
            return True
        steps = _steps(mine, theirs, here) - seen
        seen |= steps
        waiting.extend(steps)
    return False


def literal_start(glob: str) -> str:
    """Return the text with which every name that fits `glob` begins."""
    return re.split(r"[*?[]", glob, maxsplit=1)[0]


@lru_cache(maxsize=4096)
def _items(glob: str) -> tuple[str, ...]:
    return tuple(_STAR if item.startswith(_STAR) else item for item in _ITEM.findall(glob))


def _steps(mine: tuple[str, ...], theirs: tuple[str, ...], here: Place) -> set[Place]:
    """Return the places one step on. A star either ends or takes in what the other glob wants next."""
    left, right = here
    one = mine[left] if left < len(mine) else None
    other = theirs[right] if right < len(theirs) else None
    if _STAR in {one, other}:
        past_one = {(left + 1, right)} if one is not None else set()
        past_other = {(left, right + 1)} if other is not None else set()
        return past_one | past_other
    if one is not None and other is not None and _share_a_character(one, other):
        return {(left + 1, right + 1)}
    return set()


def _share_a_character(one: str, other: str) -> bool:
    if "[" not in one + other:
        return one == other or "?" in {one, other}
    # two sets that meet at all meet at, or right beside, a character that one of them names
    beside = {chr(code) for named in one + other for code in range(max(0, ord(named) - 1), ord(named) + 2)}
    return any(fnmatchcase(name, one) and fnmatchcase(name, other) for name in beside | {_UNNAMED})
