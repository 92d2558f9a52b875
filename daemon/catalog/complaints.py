"""Pydantic's complaints about what a person wrote, in that person's words.

Used by contract_file.py and settings.py, which add the file and the line.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from daemon.catalog.key_hints import nearest, unknown_key

_WANTED: Final = {
    "tuple_type": "wants a list, e.g. [a, b]",
    "dict_type": "wants names and values, e.g. {name: value}",
    "model_type": "wants keys and values, e.g. {key: value}",
    "string_type": "wants text; put it in quotes",
    "string_too_short": "wants a text that is not empty",
    "string_too_long": "wants a single character",
    "too_short": "wants at least one item",
    "bool_type": "wants true or false",
    "int_type": "wants a whole number",
    "int_parsing": "wants a whole number",
    "int_from_float": "wants a whole number",
    "float_type": "wants a number",
    "path_type": "wants a path",
    "byte_size": "wants a size, e.g. 256MB",
    "byte_size_unit": "wants a size with a unit such as kB, MB, GB, KiB, MiB or GiB",
}
"""What is wanted instead, by the type of pydantic's error; other errors are said in pydantic's words."""


def complaint(model: type[BaseModel], details: ErrorDetails, location: Sequence[str | int]) -> str:
    """Say what is wrong with what stands at `location` of a file that `model` describes, and what is wanted.

    `location` is that of `details`, less what pydantic adds to it for the branches of a union and for keys.
    """
    kind, context = details["type"], details.get("ctx", {})
    place = ".".join(part for part in location if isinstance(part, str))
    if kind == "extra_forbidden":
        return unknown_key(model, location)
    if kind == "missing":
        return f"{place} needs '{details['loc'][-1]}'"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    if kind == "literal_error":
        choices = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
        return f"{place}: there is no '{details['input']}'; {nearest(str(details['input']), choices)}"
    if kind.endswith("_type") and len(details["loc"]) > len(location):  # no branch of a union fits
        return f"{place}: wants text, a number, true or false"
    wanted = _WANTED.get(kind, details["msg"].replace("Input should be", "wants a number"))
    return f"{place or 'the file'}: {wanted}{_shown(details['input'])}"


def _shown(value: object) -> str:
    if value is None:
        return "; nothing stands there"
    return f", not {value!r}" if isinstance(value, str | int | float) else ""
