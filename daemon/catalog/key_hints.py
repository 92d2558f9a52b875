"""What a person probably meant: where a model's keys are and which of them is nearest to a mistyped one.

Used by contract_file.py, complaints.py and settings.py.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import get_args

from pydantic import BaseModel

Location = Sequence[str | int]


def model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Return the model whose keys stand at `location` within `model`; None where any name may stand."""
    here: type[BaseModel] | None = model
    free = False  # at the names of a mapping or the places of a list, whose values may be models
    for part in location:
        if free:
            free = False
            continue
        if here is None or part not in here.model_fields:
            return None
        annotation = here.model_fields[str(part)].annotation
        here, free = model_in(annotation), _has_many(annotation)
    return None if free else here


def unknown_key(model: type[BaseModel], location: Location) -> str:
    """Say that the last key of `location` does not belong there, and what was probably meant."""
    *above, key = [part for part in location if isinstance(part, str)]
    here = model_at(model, location[:-1])
    keys = list(here.model_fields) if here is not None else []
    guesses = [
        *difflib.get_close_matches(key.lower(), keys, n=1, cutoff=0.8),
        *_places_of(model, key.lower()),
        *difflib.get_close_matches(key.lower(), keys, n=1, cutoff=0.7),
    ]
    if guesses and guesses[0] == key:
        hint = f"it stands at the top of the file, outside of '{above[0]}'"
    else:
        hint = f"did you mean '{guesses[0]}'?" if guesses else f"the keys there are {', '.join(keys)}"
    return f"unknown key '{key}'{' in ' * bool(above)}{'.'.join(above)}; {hint}"


def nearest(word: str, choices: Sequence[str]) -> str:
    """Say which of `choices` is meant by `word`, or name them all."""
    small = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), small, n=1)
    return f"did you mean '{small[near[0]]}'?" if near else f"choose from {', '.join(choices)}"


def model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model that a field's type is, or has as its items or values; None when it has none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := model_in(inner)) is not None), None)


def _places_of(model: type[BaseModel], key: str, above: str = "") -> Iterator[str]:
    """Yield every place at which `key` would be right, written with the keys above it."""
    for name, field in model.model_fields.items():
        if name == key:
            yield above + name
        inner = model_in(field.annotation)
        if inner is not None:
            yield from _places_of(inner, key, f"{above}{name}.")


def _has_many(annotation: object) -> bool:
    origin = getattr(annotation, "__origin__", None)
    return origin in {dict, tuple} or any(_has_many(inner) for inner in get_args(annotation))
