"""Which old code page a few lines of text are in: the one in which they read most like text. Used by text.py.

Single-byte pages are judged by where their letters and signs stand, Asian ones by what their characters are;
charset-normalizer is asked when none of them convinces.
"""

import unicodedata

from charset_normalizer import from_bytes

_SINGLE = {"cp1252": 0.15, "mac_roman": 0.05, "cp1250": 0.0, "cp1251": 0.0, "cp850": -0.1}
"""The single-byte pages, each with what it is ahead by being common."""
_MULTI = {
    "cp932": (0x88, 0x97),
    "euc_jp": (0xB0, 0xCF),
    "gb18030": (0xB0, 0xD7),
    "big5": (0xA4, 0xC6),
    "euc_kr": (0xB0, 0xC8),
}
"""The Asian pages, each with the first bytes of its everyday characters."""
_FAMILIAR = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüßœÀÁÂÄÅÆÇÈÉÊËÍÎÏÑÒÓÔÖØÙÚÛÜŒªº")
# ruff: noqa: RUF001 - typographic signs are what this module is about
_USUAL_SIGNS = frozenset("‘’“”„–—…«»©®°€£§±²³µ·½¼¾¿¡×™•\u00a0")
_CONVINCING = 0.6
_LITTLE_EVIDENCE = 8
_MUCH_EVIDENCE = 100
_LONGEST_ACCENTED_RUN = 2
_FREQUENT_DAMAGE = b"\xff"
"""No page has an everyday letter or sign there."""


def best_code_page(evidence: bytes) -> str:
    """The code page of `evidence`, lines of one file that hold bytes above ASCII and are no UTF-8.

    `utf-8` when none convinces: then those lines are damaged, not written otherwise.
    """
    high = len(evidence) - sum(map(evidence.count, map(bytes, zip(range(128)))))
    if 2 * evidence.count(_FREQUENT_DAMAGE) > high:
        return "utf-8"
    scores = {
        encoding: prior + _western(evidence.decode(encoding, "replace"))
        for encoding, prior in _SINGLE.items()
    }
    if high < _LITTLE_EVIDENCE:
        return "cp1252" if scores["cp1252"] >= _CONVINCING else "utf-8"
    for encoding in _MULTI:
        try:
            scores[encoding] = _asian(evidence.decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    best = max(scores, key=lambda encoding: scores[encoding])
    if scores[best] >= _CONVINCING:
        return best
    found = from_bytes(evidence).best() if high > _MUCH_EVIDENCE else None
    return "utf-8" if found is None else found.encoding


def _western(text: str) -> float:
    """How well the characters above ASCII stand in `text`, 1 at best; one alphabet, accents now and then."""
    points = [
        _standing(character, text[place - 1 : place] or " ", text[place + 1 : place + 2] or " ")
        for place, character in enumerate(text)
        if not character.isascii()
    ]
    return sum(points) / max(1, len(points))


def _standing(character: str, before: str, after: str) -> float:
    if character.isalpha():
        return _letter(character, before, after)
    if unicodedata.category(character) in ("Cc", "Cn", "Co") or character == "\ufffd":
        return -2.0
    if before.isalpha() and after.isalpha() and character not in "’\u00a0–—·":
        return -0.5
    crowded = not before.isascii() or not after.isascii()
    return 0.9 if character in _USUAL_SIGNS and not crowded else 0.2


def _letter(character: str, before: str, after: str) -> float:
    if character in "ÿþ":
        return -1.0  # 0xFF and 0xFE are rare letters and frequent damage
    cyrillic = "\u0400" <= character <= "\u04ff"
    neighbours = [letter for letter in (before, after) if letter.isalpha()]
    if cyrillic:
        mixed = any(letter.isascii() for letter in neighbours)
        return -1.0 if mixed else 0.95 if neighbours else 0.2
    if character.isupper() and before.islower():
        return -1.0
    if len(neighbours) == _LONGEST_ACCENTED_RUN and not any(letter.isascii() for letter in neighbours):
        return -0.3
    return 1.0 if character in _FAMILIAR else 0.7


def _asian(text: str, encoding: str) -> float:
    """How much of what is above ASCII in `text` is in everyday use where `encoding` is, 1 at best."""
    high = [character for character in text if not character.isascii()]
    japanese = encoding in ("cp932", "euc_jp")
    if japanese and not any("\u3040" <= character <= "\u30ff" for character in high):
        return 0.7 * _everyday_share(high, encoding)  # Japanese without kana is names at most
    return _everyday_share(high, encoding)


def _everyday_share(characters: list[str], encoding: str) -> float:
    first, last = _MULTI[encoding]
    points = 0.0
    for character in characters:
        if "\u3000" <= character <= "\u30ff" or "\uff01" <= character <= "\uff5e":
            points += 1.0
        elif "\uff61" <= character <= "\uff9f" or character == "\ufffd":
            points -= 1.0
        elif first <= character.encode(encoding)[0] <= last:
            points += 0.95 if encoding == "euc_kr" else 0.9
        else:
            points += 0.2
    return points / max(1, len(characters))
