"""How far a command is that goes through all bytes of a root: told to a person, and to nobody in a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from daemon.cli.output import console, on_terminal


@contextmanager
def bytes_done(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give what is to be called with every number of bytes that is done, of `total`; `what` is e.g. `copying`."""
    if not on_terminal():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
