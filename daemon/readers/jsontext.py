"""JSON values as staged text: numbers keep every digit, nested values are JSON text, what is doubtful is refused.

Used by jsonfiles.py.
"""

import json
from collections.abc import Iterator

type_names = {dict: "an object", list: "an array", bool: "a truth value", type(None): "null"}


class Digits(str):
    """A JSON number as it stands in the file."""

    __slots__ = ()


JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | Digits | str | bool | None


class InvalidJsonError(ValueError):
    """JSON in form, but not to be read: a key twice in an object, NaN, half a surrogate pair."""


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise InvalidJsonError(f"the key {twice!r} stands twice in one object")
    return made


def _no_number(word: str) -> JsonValue:
    raise InvalidJsonError(f"{word} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Digits, parse_float=Digits, parse_constant=_no_number
)
_BLANKS = " \t\r\n"
_WORDS = ("true", "false", "null", "-")


def decode(text: str) -> JsonValue:
    """The one value that `text` is. Raises ValueError (its message says why not) or RecursionError."""
    values = decode_all(text)
    value = next(values)
    if next(values, None) is not None:
        raise InvalidJsonError("something follows the end of the value")
    return value


def decode_all(text: str) -> Iterator[JsonValue]:
    """The values that follow one another in `text`, at least one. Raises as `decode` does."""
    _refuse_half_characters(text)
    place = _past_blanks(text, 0)
    while True:
        value, place = _DECODER.raw_decode(text, place)
        yield value
        place = _past_blanks(text, place)
        if place == len(text):
            return


def _past_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in _BLANKS:
        place += 1
    return place


def _refuse_half_characters(text: str) -> None:
    """Invalid bytes came through as lone surrogates, and an escape may stand for one."""
    escaped = "\\ud" in text or "\\uD" in text
    if text.isascii() and not escaped:
        return
    try:
        text.encode()
        if escaped:
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidJsonError("it holds bytes or escapes that are no characters") from error
    except json.JSONDecodeError:
        return  # several values, or none: the decoder says so


def staged(value: JsonValue) -> str | None:
    """A value as it is staged: texts and digits as they are, null as null, all else as JSON text."""
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return json_text(value)


def json_text(value: JsonValue) -> str:
    """`value` as JSON text without needless blanks, the digits of its numbers untouched."""
    if isinstance(value, Digits):
        return str(value)
    if isinstance(value, dict):
        inside = (f"{json.dumps(key, ensure_ascii=False)}:{json_text(item)}" for key, item in value.items())
        return "{" + ",".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def spoken(value: JsonValue) -> str:
    """What sort of value this is, for people."""
    if isinstance(value, Digits):
        return "a number"
    return type_names.get(type(value), "a text")


def is_cut_short(error: Exception) -> bool:
    """Whether the text that `error` is about went wrong only in that it stops."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = error.doc[error.pos :].rstrip(_BLANKS)
    return error.msg.startswith("Unterminated") or any(word.startswith(rest) for word in _WORDS)


def why(error: ValueError | RecursionError) -> str:
    """The reason that `error` gives, for people."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
