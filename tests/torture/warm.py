"""Daemons that start warm: `Warm` keeps a process that has imported everything, and forks it for each run.

A thousand restarts are a thousand times two seconds of importing otherwise. What runs is the daemon's own code from its
command line on, in the processes it would have: a main process and its workers (forked here, not spawned).
"""

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forked_program import WARM, be_medalliond, write_to

from torture.shim import NO_FAULT, Fault, Shim

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: the workers of a killed daemon become ours, and a run is over when they are gone too."""


class Warm:
    """Runs commands of `medalliond`, one at a time, in forks of one warm process that the shim sees.

    `prepare` (`module:function`) is called before the daemon is imported.
    """

    def __init__(self, work: Path, prepare: str | None = None) -> None:
        work.mkdir(exist_ok=True)
        self.shim = Shim(work)
        self.log = work / "log"
        self._answer = work / "answer.json"
        tests = str(Path(__file__).resolve().parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.warm", *([prepare] if prepare else [])],
            env={**os.environ, **self.shim.environment, "PYTHONPATH": tests, "POLARS_MAX_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def run(
        self,
        root: Path,
        words: Sequence[str],
        *,
        fault: Fault = NO_FAULT,
        setup: Mapping[str, str] | None = None,
        timeout: float = 900,
        meanwhile: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Run a command on a root to its end, and that of all its processes; returns its exit status, -9 when killed.

        `setup` is `{"environment name": value}`, to which TORTURE_ROOT is added; a TORTURE_BREAKAGE among them is applied.
        `meanwhile` is called with the main process's id once it works. After `timeout` seconds it is killed, and
        TimeoutError raised.
        """
        return self._carry_out(
            {"words": [*words, "--root", str(root)]},
            root,
            fault,
            {**(setup or {}), "TORTURE_ROOT": str(root)},
            timeout,
            meanwhile,
        )

    def call(self, function: str, *arguments: str, timeout: float = 900) -> Any:
        """Call `module:function` with text in a fork, and return its answer (JSON)."""
        self._answer.unlink(missing_ok=True)
        request = {"call": function, "arguments": arguments, "answer": str(self._answer)}
        status = self._carry_out(request, Path("/nowhere"), NO_FAULT, {}, timeout, lambda _: None)
        if status != 0:
            raise RuntimeError(f"{function} ended with {status}: {self.log.read_text()[-3000:]}")
        return json.loads(self._answer.read_text())

    def _carry_out(
        self,
        request: Mapping[str, object],
        root: Path,
        fault: Fault,
        setup: Mapping[str, str],
        timeout: float,
        meanwhile: Callable[[int], None],
    ) -> int:
        """Fork, arm the shim, let go, wait."""
        pid = self._ask({**request, "setup": dict(setup), "log": str(self.log), "timeout": timeout})
        self.shim.arm(root, pid, fault)
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        meanwhile(pid)
        status = self._answered()
        if status is None:
            raise TimeoutError(f"{request}: still running after {timeout} s: {self.log.read_text()[-3000:]}")
        return status

    def _ask(self, request: Mapping[str, object]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        pid = self._answered()
        assert pid is not None
        return pid

    def _answered(self) -> int | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the warm process has ended")
        found: int | None = json.loads(line)
        return found


def _serve() -> None:
    """The warm process: fork for every line of standard input, say the id, wait for the word, say how it ended."""
    import ctypes

    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        waiting, starting = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(starting)
            os.read(waiting, 1)
            _live(request)
        os.close(waiting)
        print(pid, file=answers, flush=True)
        sys.stdin.readline()
        os.close(starting)
        print(json.dumps(_wait(pid, request["timeout"])), file=answers, flush=True)


def _wait(main: int, timeout: float) -> int | None:
    """Wait for the main process and every process that it leaves to us; None when it took too long and was killed."""
    import threading

    late = threading.Event()

    def end() -> None:
        late.set()
        os.kill(main, signal.SIGKILL)

    timer = threading.Timer(timeout, end)
    timer.start()
    status = 0
    while True:
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == main:
            timer.cancel()
            status = os.waitstatus_to_exitcode(ended)
    timer.join()
    return None if late.is_set() else status


def _live(request: Mapping[str, Any]) -> None:
    """In the fork: be the command that is asked for."""
    status = 70
    try:
        Path(request["log"]).unlink(missing_ok=True)
        write_to(Path(request["log"]))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor
        if breakage := request["setup"].get("TORTURE_BREAKAGE"):
            from torture import (
                broken,
            )  # before the environment names one, or it breaks what imports it as well

            broken.BREAKAGES[breakage]()
        os.environ.update(request["setup"])
        status = _act(request)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - nobody above catches it: this process was forked in the middle of another's life
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _act(request: Mapping[str, Any]) -> int:
    if "call" in request:
        module, _, name = request["call"].partition(":")
        answer = getattr(import_module(module), name)(*request["arguments"])
        Path(request["answer"]).write_text(json.dumps(answer))
        return 0
    be_medalliond(request["words"])
    return 0


if __name__ == "__main__":
    for function in sys.argv[1:]:
        name, _, first = function.partition(":")
        getattr(import_module(name), first)()
    for module in WARM:
        import_module(module)
    gc.collect()
    gc.freeze()  # or every fork copies what its first collection touches
    _serve()
