"""`medalliond init`: the folders of a root, a commented medalliond.toml, and with --sample some files.

Nothing that is there already is changed. The sample lies in sample/ of this package: files for landing, and
their contracts.
"""

import json
import shlex
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo
from rich.progress import track

from daemon.catalog.key_hints import model_at
from daemon.cli.output import console, on_terminal, print_line
from daemon.lake.durable import make_directories, write_bytes
from daemon.lake.layout import Layout
from daemon.settings import FILE_NAME, Settings, setting_locations

_SAMPLE_QUESTION = "SELECT country, orders, revenue FROM gold.sales.revenue_by_country"
_TOML_HEAD = """\
# Settings of the medalliond that works on this folder. A line that is commented out shows the default,
# or an example where there is none, or it depends on the machine.
# A variable MEDALLIOND_<NAME> in the environment, and an option of the command line, have precedence.
"""


def make_root(root: Path, *, sample: bool) -> None:
    """Make a root at `root`, or what is missing of it, and say what to do next."""
    layout = Layout(root.absolute())
    for folder in (layout.landing, layout.data, layout.contracts, layout.transforms):
        make_directories(folder)
    settings = layout.root / FILE_NAME
    if not settings.exists():
        write_bytes(settings, commented_settings().encode())
    print_line(f"{layout.root} is a medalliond root.")
    if sample:
        _drop_sample(layout)
    for line in _next_steps(root, sample=sample):
        print_line(line)


def commented_settings() -> str:
    """Every setting with its meaning and its default, all commented out, as TOML."""
    lines = [_TOML_HEAD]
    section: tuple[str, ...] = ()
    for location in sorted(setting_locations(), key=len):
        if location == ("root",):
            continue
        *above, name = location
        if tuple(above) != section:
            section = tuple(above)
            lines += [f"[{'.'.join(section)}]"]
        field = _section(section).model_fields[name]
        lines += [f"# {field.description}", f"# {name} = {_default(field)}", ""]
    return "\n".join(lines)


def _section(location: tuple[str, ...]) -> type[BaseModel]:
    """Return the model whose fields are the keys of a section."""
    return model_at(Settings, location) or Settings


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return json.dumps((field.examples or [""])[0])
    if isinstance(default, ByteSize):
        return f'"{default.human_readable(decimal=True)}"'
    return json.dumps(default)


def _drop_sample(layout: Layout) -> None:
    sample = files("daemon.cli").joinpath("sample")
    pairs = [
        *((source, layout.contracts / name) for name, source in _below(sample.joinpath("contracts"))),
        *((source, layout.landing / name) for name, source in _below(sample.joinpath("landing"))),
    ]
    for source, target in track(pairs, "dropping the sample", console=console(), disable=not on_terminal()):
        if not target.exists():
            make_directories(target.parent)
            write_bytes(target, source.read_bytes())
    dropped = ", ".join(target.name for _, target in pairs if target.is_relative_to(layout.landing))
    print_line(f"The sample is in landing/ ({dropped}), its contracts are in catalog/contracts/sales/.")


def _below(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{above}{entry.name}"
        if entry.is_dir():
            yield from _below(entry, f"{name}/")
        else:
            yield name, entry


def _next_steps(root: Path, *, sample: bool) -> list[str]:
    option = "" if root.absolute() == Path.cwd() else f" --root {shlex.quote(str(root))}"
    if not sample:
        return [
            "",
            "Next:",
            f"  medalliond run{option}",
            "  then copy files into landing/<domain>/<table>/ of it; or, for something to try it with:",
            f"  medalliond init{option} --sample",
        ]
    return [
        "",
        "Next:",
        f"  medalliond drain{option}",
        f"  medalliond status{option}",
        f"  medalliond query{option} '{_SAMPLE_QUESTION}'",
        f"  medalliond quarantine show{option} sales.orders",
        f"  medalliond lineage{option} orders-2026-01.csv",
    ]
