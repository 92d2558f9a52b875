"""`medalliond run` and `medalliond drain`: settings put together, the service started, its status returned.

Signals and the order of starting and stopping are the service's; logs are set up here, and the progress that
a drain shows is made here.
"""

import os
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from daemon.cli.landing_view import waiting_files
from daemon.cli.output import count, on_terminal
from daemon.cli.roots import open_root
from daemon.events import LogFormat, LogLevel
from daemon.lake.layout import Layout
from daemon.logs import configure
from daemon.parts import WorkProgress
from daemon.service import FAILING, Service
from daemon.settings import Settings, load_settings


def run_daemon(
    root: Path, *, log_format: LogFormat | None, log_level: LogLevel | None, log_file: Path | None
) -> int:
    """Work until told to stop, and return the exit status."""
    settings = _settings(root, log_format, log_level, log_file)
    configure(settings.log_format, settings.log_level, settings.log_file)
    return Service(settings).run()


def drain_root(
    root: Path, *, log_format: LogFormat | None, log_level: LogLevel | None, log_file: Path | None
) -> int:
    """Do all that is in landing and return the exit status; a terminal sees progress and warnings."""
    if not on_terminal():
        settings = _settings(root, log_format, log_level, log_file)
        configure(settings.log_format, settings.log_level, settings.log_file)
        return Service(settings).drain(lambda _: None)
    settings = _settings(root, log_format, log_level or "warning", log_file)
    with _DrainDisplay(waiting_files(Layout(settings.root), {}).files) as display:
        # Within the display, which moves what is logged above the bar.
        configure(settings.log_format, settings.log_level, settings.log_file)
        status = Service(settings).drain(display.show)
    display.summarise(status)
    return status


def _settings(
    root: Path, log_format: LogFormat | None, log_level: LogLevel | None, log_file: Path | None
) -> Settings:
    may_be_made_one = root.is_dir() and not any(root.iterdir())
    if not may_be_made_one:  # a folder of other things, named by mistake, is not
        open_root(root)
    given = {"root": root, "log_format": log_format, "log_level": log_level, "log_file": log_file}
    return load_settings(given, os.environ)


class _DrainDisplay:
    """A bar of the files that are done, of those that were in landing at the start or have come since."""

    def __init__(self, waiting: int) -> None:
        self._console = Console(highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files, {task.fields[rows]:,} rows in gold"),
            console=self._console,
            transient=True,
        )
        self._waiting = waiting
        self._task = self._bar.add_task("starting", total=waiting, rows=0)
        self._first: WorkProgress | None = None
        self._done = self._rows = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: WorkProgress) -> None:
        """Take over what the service reports."""
        self._first = self._first or progress
        self._done = progress.files_done - self._first.files_done
        self._rows = progress.rows_in_gold
        self._waiting = max(self._waiting, self._done + progress.files_waiting)
        batches = progress.batches_in_flight
        self._bar.update(
            self._task,
            description=f"{batches} batch{'' if batches == 1 else 'es'} in flight",
            completed=self._done,
            total=self._waiting,
            rows=self._rows,
        )

    def summarise(self, status: int) -> None:
        """Say in one line what came of it."""
        self._console.print(f"{count(self._done, 'file')} done; there are {self._rows:,} rows in gold.")
        if status == FAILING:
            self._console.print("Something still fails: `medalliond status` says what, and what to do.")
