"""Transforms: functions LazyFrame -> LazyFrame that people write in `catalog/transforms/*.py`, named `module:function`.

Loaded by silver, gold and models, in a worker, anew when their file has changed. An error names the file, its
line and the contract; whether the contract or the data is at fault is found out by trying the transform on no
rows at all.
"""

import importlib.util
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from daemon.errors import ContractError, gist

TransformFunction = Callable[[pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True, slots=True)
class Transform:
    """A named step of a layer."""

    name: str
    apply: TransformFunction


def as_transforms(functions: Sequence[TransformFunction]) -> tuple[Transform, ...]:
    """Plain functions as transforms, named `module:function` as they are recorded."""
    return tuple(Transform(_name_of(function), function) for function in functions)


def load_transforms(names: Sequence[str], folder: Path, origin: str) -> tuple[Transform, ...]:
    """The transforms a contract names.

    Raises ContractError for a module or function that is not there or does not load.
    """
    return tuple(Transform(name, load_function(name, folder, origin)) for name in names)


def load_function(name: str, folder: Path, origin: str) -> Callable[..., Any]:
    """The function `module:function` of a folder. Raises ContractError, as `load_transforms` does."""
    module_name, _, function_name = name.partition(":")
    path = folder / f"{module_name}.py"
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise ContractError(
            f"{origin}: transform '{name}': there is no file {path}; write it, or mend the name"
        ) from error
    try:
        module = _load(path, facts.st_mtime_ns, facts.st_size)
    except (Exception, SystemExit) as error:
        raise ContractError(f"{origin}: transform '{name}': {where(error, folder)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ContractError(f"{origin}: transform '{name}': {path} has no function '{function_name}'")
    return function  # type: ignore[no-any-return]  # what people write is not typed for us


def where(error: BaseException, folder: Path) -> str:
    """`file:line: Error: message`, the place being the innermost one in `folder`; without a place if it is not there."""
    message = f"{type(error).__name__}: {gist(error)}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {message}"
    places = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder
    ]
    return f"{places[-1].filename}:{places[-1].lineno}: {message}" if places else message


@lru_cache(maxsize=64)
def _load(path: Path, _mtime_ns: int, _size: int) -> ModuleType:
    """A module from its file; the stat facts make a changed file a new entry of the cache."""
    spec = importlib.util.spec_from_file_location(f"medalliond_transforms.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Compiled here: the loader's own cache of bytecode would miss an edit within one second of the last.
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the owner's own code
    return module


def _name_of(function: TransformFunction) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '') or 'transform'}:{name}"
