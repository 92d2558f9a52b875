"""Where log lines go and what they look like: structlog and the libraries' own logging through one chain.

Called once by cli and service. Every room logs with `structlog.get_logger(__name__)` and an Event as the
name. A line is one JSON object with `timestamp` (UTC), `level`, `event` and the event's fields, or the same
for people.

Our own lines reach the handlers without the detour through `logging.Logger`, which looks for the caller of each and makes
two records of it: 50 instead of 120 microseconds a line.
"""

import json
import logging
import sys
from collections.abc import Sequence
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.errors import HaltError
from daemon.events import Event, LogFormat, LogLevel

CELL_FIELDS: Final = ("raw", "record", "value", "values")
"""Fields that may hold what stood in a cell: left out above debug."""
_encode = json.JSONEncoder(default=str).encode


def configure(form: LogFormat | None, level: LogLevel, file: Path | None) -> None:
    """Send log lines of `level` and above to stdout, and to `file` as JSON.

    `form` None is `console` on a terminal and `json` elsewhere. `file` may be moved away at any time
    (logrotate): a new one is begun. Raises HaltError when `file` cannot be opened. May be called again: the
    last call counts.
    """
    output = _standard_output(form or ("console" if sys.stdout.isatty() else "json"))
    handlers = [output] if file is None else [output, _log_file(file)]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line tells them
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler.formatter, ProcessorFormatter)]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)  # the libraries: only what is wrong
    structlog.configure(
        processors=_COMMON,
        logger_factory=lambda *_: _Outputs(handlers),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


class _Outputs:
    """What structlog hands our lines to: each of the handlers writes a line in its own form."""

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._handlers = handlers

    def debug(self, **line: object) -> None:
        record = logging.makeLogRecord({"line": line})
        for handler in self._handlers:
            handler.handle(record)

    info = warning = error = critical = debug


class _Enduring(logging.StreamHandler[TextIO]):
    """Lines that cannot be written (a full disk, a pipe nobody reads) never stop the daemon; stderr is told so once."""

    _failing = False

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)
        self._failing = self._failed

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        if not self._failing:
            where = error.filename or self.stream.name
            sys.stderr.write(f"medalliond: log lines are lost: {where}: {error.strerror}\n")


class _LogFile(_Enduring, WatchedFileHandler):
    """A file that is begun anew when it was moved away."""


def _standard_output(form: LogFormat) -> logging.Handler:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no text
    handler = _Enduring(sys.stdout)
    handler.setFormatter(_json() if form == "json" else _console(colours=sys.stdout.isatty()))
    return handler


def _log_file(file: Path) -> logging.Handler:
    try:
        handler = _LogFile(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise HaltError(
            f"{file}: cannot write the log there: {error.strerror}; choose another log_file"
        ) from error
    handler.setFormatter(_json())
    return handler


class _Formatter(ProcessorFormatter):
    """Gives lines their form: ours, and those of the libraries, which come as records of `logging`."""

    def __init__(self, *processors: Processor) -> None:
        super().__init__(
            foreign_pre_chain=[_name_library_line, *_COMMON],
            processors=[ProcessorFormatter.remove_processors_meta, *processors],
        )
        self._ours = processors

    def format(self, record: logging.LogRecord) -> str:
        line = getattr(record, "line", None)
        if line is None:
            return super().format(record)
        form = dict(line)
        for processor in self._ours:
            form = processor(None, "", form)  # type: ignore[assignment]  # the last one makes text of it
        return str(form)


def _json() -> ProcessorFormatter:
    render = structlog.processors.JSONRenderer(lambda line, **_: _encode(line))
    return _Formatter(structlog.processors.format_exc_info, _order, render)


def _console(*, colours: bool) -> ProcessorFormatter:
    traceback = structlog.dev.plain_traceback  # the rich one would show the values of local variables
    render = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=traceback)
    return _Formatter(structlog.processors.format_exc_info, _escape, render)


def _name_library_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Give a library's line our event name; its text becomes `message`."""
    line["logger"] = line["_record"].name
    line["message"] = line.pop("event")
    line["event"] = Event.LIBRARY_LOGGED
    return line


def _hide_cells(_logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    if method != "debug":
        for field in CELL_FIELDS:
            line.pop(field, None)
    return line


def _order(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Put first what every line has."""
    return {field: line[field] for field in ("timestamp", "level", "event")} | dict(line)


def _escape(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Show control characters instead of sending them to the terminal; a traceback keeps its lines."""
    for field, value in line.items():
        if field != "exception" and isinstance(value, str) and not value.isprintable():
            line[field] = repr(value)
    return line


_COMMON: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _hide_cells,
]
