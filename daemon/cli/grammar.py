"""What all commands share: how an expected error ends one, and the options that many of them take."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from daemon import events
from daemon.errors import MedalliondError

_NOT_FOR_OTHERS = 0o002
"""Added to the umask: whatever it was, nobody but owner and group may change what we wrote, code and contracts first."""


class Commands(TyperGroup):
    """The commands; an error that was expected is one message on standard error and exit status 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps the types of its click to itself
        """Run a command. What is not the user's or the machine's doing is a bug, and shows its traceback."""
        os.umask(os.umask(0o077) | _NOT_FOR_OTHERS)  # before the first file is written; workers inherit it
        if sys.stdout is None:  # closed by whoever started us; its number must not go to a file of ours
            sys.stdout = _nowhere()
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal cannot show is escaped
        try:
            try:
                return super().invoke(ctx)
            finally:
                _flush()
        except MedalliondError as error:
            message = str(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            from daemon.cli.refusals import refusal  # noqa: PLC0415 - wanted by few commands

            message = refusal(error)
        _complain(message)
        raise typer.Exit(1)


def _flush() -> None:
    """Write out what was printed, while it can still be said that it was refused; at the exit it would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = _nowhere()
        raise


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


def _complain(message: str) -> None:
    from daemon.cli.output import printable  # noqa: PLC0415 - Rich, which `--help` does without

    typer.echo("medalliond: " + "\n".join(map(printable, message.splitlines())), err=True)


def text(word: str) -> str:
    r"""A name or other word of the command line as the ledger would hold it: bytes that are not UTF-8 as `\xNN`."""
    return os.fsencode(word).decode("utf-8", "backslashreplace")


Root = Annotated[
    Path,
    typer.Option(
        "--root", envvar="MEDALLIOND_ROOT", help="The folder that holds landing/, data/ and catalog/."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Table = Annotated[str | None, typer.Option("--table", parser=text, help="Of this table only: DOMAIN.TABLE.")]
LogFormat = Annotated[events.LogFormat | None, typer.Option(help="How log lines look.")]
LogLevel = Annotated[events.LogLevel | None, typer.Option(help="The least that is logged.")]
LogFile = Annotated[Path | None, typer.Option(help="Log into this file; it may be rotated.")]

HERE = Path()

Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait", help="Return when readers see the change, or as soon as it is asked for."
    ),
]
Why = Annotated[str, typer.Option("--why", parser=text, help="A word for those who read the history.")]
