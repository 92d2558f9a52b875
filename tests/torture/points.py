"""Fail-points: before and after every durable step of the daemon, found in its code, put there in memory alone.

The list is made from the syntax trees of daemon/: every call that changes a file, every transaction of the ledger, every
call of a function of the lake that does so. `install` makes the import of daemon's modules put a fail-point around each.
The code on disk has none, so they cost nothing, and there is nothing that could be switched on.
"""

import ast
import builtins
import contextlib
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from torture.life import MEANWHILE_IS
from torture.meanwhile import MEANWHILE

LOG = "TORTURE_POINTS_LOG"
"""The environment names a file to which the points that are come to are written, a line each."""
POINT = "TORTURE_POINT"
"""The environment names the point at which to die, once, as `before NAME` or `after NAME` …"""
MARK = "TORTURE_POINT_MARK"
"""… and a file that comes to be when it has fired."""

_DAEMON = Path(__file__).resolve().parents[2] / "daemon"
_ROOMS = ("catalog/ledger", "lake", "landing", "pipeline", "scheduling")
"""The rooms of the daemon that change what is in a root. Commands of people (cli, audit) are not the daemon's steps …"""
_OTHERS = {"pipeline/engine.py", "landing/watcher.py"}
"""… nor are the library, which keeps no ledger, and the canary, which nobody misses."""
_CHANGES = frozenset(
    {
        "_sync",
        "fsync",
        "link",
        "unlink",
        "symlink_to",
        "mkdir",
        "rmdir",
        "rmtree",
        "copy2",
        "write_bytes",
        "write_text",
        "chmod",
        "sink_parquet",
    }
)
_CHANGES_OF_FILES = frozenset({"rename", "write", "open"})
"""Names that mean something else in the pipeline, where frames are renamed."""
_AMBIGUOUS_IN = frozenset({"lake", "landing", "scheduling"})


def names() -> list[str]:
    """All fail-points, by name: `<module>:<function>:<call>#<which>`."""
    found: list[str] = []
    for path in _modules():
        visitor = _Steps(path)
        visitor.visit(ast.parse(path.read_text()))
        found += visitor.names
    return found


def install() -> None:
    """Put fail-points into what is imported of the daemon from now on."""
    builtins.torture_point = _watched  # type: ignore[attr-defined]  # the one name that every module sees
    sys.meta_path.insert(0, _Finder())


def _modules() -> Iterator[Path]:
    for room in _ROOMS:
        yield from (path for path in sorted((_DAEMON / room).glob("*.py")) if _is_daemons(path))


def _is_daemons(path: Path) -> bool:
    inside = str(path.relative_to(_DAEMON))
    return inside.startswith(_ROOMS) and inside not in _OTHERS


@cache
def _lake_steps() -> frozenset[str]:
    """Functions of the lake that change files, by their own calls or by another such function."""
    calls = {
        node.name: [call for call in ast.walk(node) if isinstance(call, ast.Call)]
        for path in (_DAEMON / "lake").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    steps: set[str] = set()
    while True:
        more = {name for name, made in calls.items() if any(_changes(call, steps) for call in made)} - steps
        if not more:
            return frozenset(steps)
        steps |= more


def _changes(call: ast.Call, steps: AbstractSet[str]) -> bool:
    """Whether a call in the lake changes a file."""
    called = _called(call)
    if called == "open":
        return any(isinstance(word, ast.Constant) and "w" in str(word.value) for word in call.args)
    return called in _CHANGES | _CHANGES_OF_FILES or (called in steps and _is_of_lake(call))


def _is_of_lake(call: ast.Call) -> bool:
    """Whether a call by the name of a function of the lake is one: methods of other things are called alike."""
    return isinstance(call.func, ast.Name) or call.func.attr == "publish"  # type: ignore[attr-defined]


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class _Steps(ast.NodeTransformer):
    """Finds the durable steps of a module, and wraps each call."""

    def __init__(self, path: Path) -> None:
        self.names: list[str] = []
        self._room = path.relative_to(_DAEMON).parts[0]
        self._module = ".".join(path.relative_to(_DAEMON).with_suffix("").parts)
        self._function: list[str] = []
        self._seen: Counter[str] = Counter()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._function.append(node.name)
        self.generic_visit(node)
        self._function.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._function.append(node.name)
        self.generic_visit(node)
        self._function.pop()
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not self._is_step(node):
            return node
        step = f"{self._module}:{'.'.join(self._function)}:{_called(node)}"
        self._seen[step] += 1
        self.names.append(f"{step}#{self._seen[step]}")
        point = ast.Call(ast.Name("torture_point", ast.Load()), [ast.Constant(self.names[-1]), node.func], [])
        return ast.copy_location(ast.Call(ast.copy_location(point, node), node.args, node.keywords), node)

    def _is_step(self, call: ast.Call) -> bool:
        called = _called(call)
        if called == "transaction" or called in _CHANGES or (called in _lake_steps() and _is_of_lake(call)):
            return True
        if called == "replace":  # a path's: that of text has two arguments, that of a record names its fields
            return isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords
        return self._room in _AMBIGUOUS_IN and called in _CHANGES_OF_FILES and _changes(call, _lake_steps())


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith("daemon."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's way to ask
        """The module's code with its fail-points; never from or into a cache."""
        path = Path(self.path)
        tree = ast.parse(path.read_text(), self.path)
        if _is_daemons(path):
            tree = ast.fix_missing_locations(_Steps(path).visit(tree))
        code: CodeType = compile(tree, self.path, "exec")
        return code


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a fail-point before and after it; one that gives a context is over when that is left."""

    def step(*arguments: Any, **options: Any) -> Any:
        _reach(f"before {name}")
        result = function(*arguments, **options)
        if isinstance(result, contextlib._GeneratorContextManager):
            return _Context(result, name)
        _reach(f"after {name}")
        return result

    return step


class _Context:
    def __init__(self, inner: AbstractContextManager[Any], name: str) -> None:
        self._inner = inner
        self._name = name

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        handled = self._inner.__exit__(kind, error, trace)
        if kind is None:
            _reach(f"after {self._name}")
        return handled


def _reach(point: str) -> None:
    """Come to a point: write it down, and die there where that is asked for and has not happened yet."""
    log = os.environ.get(LOG)
    if log:
        _append(log, f"{point}\n")
    if what := os.environ.get(MEANWHILE_IS):
        at, happen = MEANWHILE[what]
        if at == point:
            del os.environ[MEANWHILE_IS]
            happen()
    if os.environ.get(POINT) != point:
        return
    try:
        os.close(os.open(os.environ[MARK], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    if multiprocessing.parent_process() is not None:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _append(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)
