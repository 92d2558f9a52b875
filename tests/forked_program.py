"""`medalliond` in a process forked from one that has imported everything: a start takes a tenth of what it takes otherwise.

What runs is the program from its command line on, in the processes it would have; its workers are forked as well, where the
installed program spawns them. Used by `daemon_process` for the tests, and by the campaigns that need thousands of lives.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

WARM = (
    "daemon.cli.main",
    "daemon.cli.serve",
    "daemon.pipeline.promote",
    "daemon.pipeline.restaging",
    "duckdb",
)
"""What is imported before the first fork, with all that it imports. None of it may have used polars or DuckDB by then."""


def write_to(log: Path) -> None:
    """Let what this process writes be added to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.close(written)


def be_medalliond(words: Sequence[str]) -> None:
    """Be `medalliond WORDS…` from here on, in a process that was forked for it. Ends with SystemExit."""
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda _method=None: context  # type: ignore[assignment]
    import_module("daemon.cli.main").app(list(words), prog_name="medalliond")
