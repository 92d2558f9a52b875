"""The daemon's settings: from the command line, else MEDALLIOND_* variables, else <root>/medalliond.toml.

Read by cli and service only, once; every other room is handed the values it needs.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from daemon.catalog.complaints import complaint
from daemon.catalog.contract_delivery import Archive
from daemon.catalog.contract_values import Duration, Rules, Size, SizeOrZero
from daemon.catalog.key_hints import nearest
from daemon.errors import HaltError
from daemon.events import LogFormat, LogLevel
from daemon.lake.room import Floor

FILE_NAME: Final = "medalliond.toml"
PREFIX: Final = "MEDALLIOND_"

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")

Location = tuple[str, ...]
Values = dict[str, Any]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0))


def _share_of_memory() -> int:
    """Three fifths of the memory there is: of the machine's, or of what the control groups we are in may have."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([memory, *_group_limits()]) * 3 // 5


def _group_limits() -> Iterator[int]:
    """The limits of the control groups that this process is in (version 2; without any there is no file)."""
    try:
        own = next(line for line in _OWN_GROUPS.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    folder = _GROUPS / own.removeprefix("0::").strip("/")
    while folder.is_relative_to(_GROUPS):
        with suppress(OSError, ValueError):  # no limit is "max"
            yield int((folder / "memory.max").read_text())
        folder = folder.parent


class BatchSettings(Rules):
    """How much one batch may take, where a table's contract does not say."""

    max_files: int = Field(default=1000, ge=1, description="files in one batch at most")
    max_bytes: Size = Field(
        default=Size(256_000_000),
        description="bytes in one batch at most, e.g. 256MB; a larger file is a batch by itself",
    )


class CompactionSettings(Rules):
    """When small files of a layer are merged into larger ones, where a table's contract does not say."""

    min_files: int = Field(
        default=32, ge=0, description="how many small files side by side are merged; 0: none ever are"
    )
    max_bytes: Size = Field(
        default=Size(32_000_000),
        ge=1_000,
        description="a file of this size is left alone, e.g. 32MB; merged ones grow to about as much",
    )
    min_age: Duration = Field(
        default=600.0, description="how long ago a batch must have been done before its files are merged"
    )


class Settings(Rules):
    """The settings of one daemon. Durations are seconds, or text such as 500ms, 1s, 5m, 2h."""

    root: Path = Field(
        description="the folder with landing/, data/ and catalog/; not to be set in the file in it"
    )
    settle: Duration = Field(
        default=1.0, description="how long a file written in place must have been quiet before it is taken"
    )
    sweep_interval: Duration = Field(
        default=30.0, gt=0, description="how often landing is looked through for what no event told of"
    )
    batch: BatchSettings = Field(default_factory=BatchSettings, description="how much one batch may take")
    compaction: CompactionSettings = Field(
        default_factory=CompactionSettings, description="when small files of a layer are merged"
    )
    archive: Archive = Field(
        default="move",
        description="what becomes of a source whose rows are in gold: move to data/archive, keep, delete",
    )
    workers: int = Field(
        default_factory=_usable_cores,
        ge=1,
        description="processes that read and refine; by default one a core",
    )
    worker_timeout: Duration = Field(
        default=600.0, gt=0, description="how long one promotion may take before its worker is ended"
    )
    worker_memory: Size = Field(
        default_factory=lambda: Size(_share_of_memory()),
        ge=256_000_000,
        description=(
            "how much memory one worker may hold, e.g. 4GB, before it is ended and its file set aside; "
            "by default three fifths of the memory there is"
        ),
    )
    min_free_bytes: SizeOrZero | None = Field(
        default=None,
        examples=["500MB"],
        description=(
            "below this much free space, e.g. 500MB, nothing new is taken in until there is more; "
            "0: no floor; by default one hundredth of the file system, 1GB at most"
        ),
    )
    min_free_inodes: int | None = Field(
        default=None,
        examples=[10_000],
        ge=0,
        description="the same for inodes; by default one hundredth of the file system's, 10000 at most",
    )
    retry_base: Duration = Field(
        default=1.0,
        gt=0,
        description="the wait before the first retry after a fault of the machine; it doubles",
    )
    retry_cap: Duration = Field(default=300.0, gt=0, description="the longest wait before a retry")
    shutdown_grace: Duration = Field(
        default=8.0, description="how long running promotions may go on after the daemon was told to stop"
    )
    incomplete_wait: Duration = Field(
        default=600.0,
        description="how long a file that is cut short waits in landing for its other half, before it is set aside",
    )
    receipts: bool = Field(
        default=True,
        description="whether `.receipts/<file>.json` beside a dropped file tells what became of it",
    )
    generation_grace: Duration = Field(
        default=60.0, description="how long readers may go on reading files that have been replaced"
    )
    log_format: LogFormat | None = Field(
        default=None,
        examples=["json"],
        description="json or console; by default console on a terminal, json elsewhere",
    )
    log_level: LogLevel = Field(default="info", description="the least level that is logged")
    log_file: Path | None = Field(
        default=None,
        examples=["medalliond.log"],
        description="a file that gets the log lines as well, as JSON",
    )

    @property
    def floor(self) -> Floor:
        """What must be free for anything new to be taken in."""
        return Floor(self.min_free_bytes, self.min_free_inodes)


def load_settings(given: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Put the settings together. `given` is by name, None for what was not; `environment` is os.environ.

    Without a root in either, it is the current directory. Raises HaltError that names every mistake of a
    source, where it stands (file and line, variable or option) and what is wanted.
    """
    people = {name: value for name, value in given.items() if value is not None}
    _check(people, lambda location: f"--{location[0].replace('_', '-')}")
    variables = _read_variables(environment)
    root = Path((variables | people).get("root", "."))
    file = _read_file(root.resolve() / FILE_NAME)
    return Settings.model_validate(_laid_over(file, variables, people, {"root": root.resolve()}))


def variable_name(location: Location) -> str:
    """Return the environment variable of a setting: ("batch", "max_files") is MEDALLIOND_BATCH_MAX_FILES."""
    return PREFIX + "_".join(location).upper()


def setting_locations(model: type[BaseModel] = Settings, above: Location = ()) -> Iterator[Location]:
    """Yield the way to every single setting."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_locations(inner, (*above, name))
        else:
            yield (*above, name)


def _read_variables(environment: Mapping[str, str]) -> Values:
    """Collect the MEDALLIOND_* variables that are not empty; a name that is no setting's is a mistake."""
    locations = {variable_name(location): location for location in setting_locations()}
    values: Values = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and value:
            if name not in locations:
                raise HaltError(f"{name}: there is no such setting; {nearest(name, list(locations))}")
            values = _laid_over(values, _nested(locations[name], value))
    _check(values, variable_name)
    return values


def _read_file(path: Path) -> Values:
    try:
        text = path.read_text("utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HaltError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOML's own and UTF-8's
        raise HaltError(f"{path}: this is not TOML: {error}") from None
    if "root" in values:
        raise HaltError(f"{path}:{_line(text, ('root',))}: the root is where this file is; remove 'root'")
    _check(values, lambda location: f"{path}:{_line(text, location)}")
    return values


def _line(text: str, location: Location) -> int:
    """Return the line, from 1, on which the key at `location` is set; TOML's parser does not tell."""
    key = re.escape(location[-1])
    wanted = re.compile(rf"""\s*\[?([^=#]*\.)?\s*["']?{key}["']?\s*[=.\]]""")
    lines = enumerate(text.splitlines(), start=1)
    return next((number for number, line in lines if wanted.match(line)), 1)


def _check(values: Values, place: Callable[[Location], str]) -> None:
    try:
        Settings.model_validate({"root": ".", **values})
    except ValidationError as error:
        mistakes = [(tuple(map(str, details["loc"])), details) for details in error.errors(include_url=False)]
        lines = (
            f"{place(location)}: {complaint(Settings, details, location)}" for location, details in mistakes
        )
        raise HaltError("\n".join(lines)) from None


def _nested(location: Location, value: object) -> Values:
    first, *rest = location
    return {first: _nested(tuple(rest), value) if rest else value}


def _laid_over(*layers: Mapping[str, object]) -> Values:
    """Merge nested values, the later ones over the earlier ones."""
    merged: Values = {}
    for layer in layers:
        for name, value in layer.items():
            under = merged.get(name)
            if isinstance(under, dict) and isinstance(value, dict):
                merged[name] = _laid_over(under, value)
            else:
                merged[name] = value
    return merged
