"""`medalliond systemd install`: the units of this package, adapted to a root, a user and this installation.

The units themselves are files in units/, complete and valid as they are (systemd/ in the repository holds
copies); here single lines of them are replaced or left out.
"""

import os
import pwd
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from daemon.cli.output import print_line
from daemon.cli.roots import WrongRequestError
from daemon.lake.durable import make_directories, write_bytes

STATE_DIRECTORY = Path("/var/lib/medalliond")
SERVICE_USER = "medalliond"
UNITS = ("medalliond.service", "medalliond@.service")

_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))  # what ProtectHome= hides

_ONLY_FOR_ROOT = frozenset(
    {
        *("User", "StateDirectory", "StateDirectoryMode", "AmbientCapabilities", "CapabilityBoundingSet"),
        *("ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "PrivateDevices", "PrivateNetwork"),
        *("PrivateIPC", "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs"),
        *("ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProcSubset", "DevicePolicy"),
        *("IPAddressDeny", "KeyringMode", "RemoveIPC"),
    }
)
"""Settings that a user's own service manager may not make, or only where the kernel lets users have
namespaces.
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What units are adapted to: the `root`, the `program`, and who runs it (None: a user's own service).

    `hidden_homes`: nothing of it is in a home, so that the service need not see any.
    """

    root: Path
    program: Path
    user: str | None
    hidden_homes: bool


def install(root: Path, *, user: bool, into: Path | None, force: bool) -> None:
    """Write the units and say how to start them. Raises WrongRequestError for a unit that was edited."""
    root = root.absolute()
    program = _program()
    ours = (root, program, program.resolve(), Path(sys.executable).resolve())
    made_for = Installation(
        root=root,
        program=program,
        user=None if user else _owner(root),
        hidden_homes=not any(path.is_relative_to(home) for path in ours for home in _HOMES),
    )
    folder = into.absolute() if into else _unit_folder(user=user)
    units = {folder / name: unit(name, made_for) for name in UNITS}
    if not force:
        _refuse_edited(units)
    try:
        make_directories(folder)
        for path, text in units.items():
            write_bytes(path, text.encode())
            print_line(f"wrote {path}")
    except PermissionError as error:
        raise WrongRequestError(
            f"{folder}: you may not write there. Say it as root, or add --user for a service of your own."
        ) from error
    print_line()
    for line in _next_steps(made_for):
        print_line(line)


def unit(name: str, made_for: Installation) -> str:
    """Return the text of the unit `name`, adapted."""
    template = name == "medalliond@.service"
    text = files("daemon.cli").joinpath("units", name).read_text("utf-8")
    root = "%f" if template else _word(made_for.root, dollar="$$")
    command = f"{_word(made_for.program, dollar='$$')} run --root {root} --log-format json"
    new = {"ExecStart": [f"ExecStart={command}"], "User": [f"User={made_for.user}"]}
    if not template and made_for.root != STATE_DIRECTORY:
        new["RequiresMountsFor"] = [f"RequiresMountsFor={_word(made_for.root)}"]
        new |= {"StateDirectory": [f"ReadWritePaths={_word(made_for.root)}"], "StateDirectoryMode": []}
    if not made_for.hidden_homes:
        new["ProtectHome"] = ["ProtectHome=read-only"]
    if made_for.user is None:
        new |= {key: [] for key in _ONLY_FOR_ROOT}
        new["WantedBy"] = ["WantedBy=default.target"]
    return _with(text, new)


def _with(text: str, new: Mapping[str, list[str]]) -> str:
    """Put other lines in the place of settings; a setting that gets none takes the comment above it along."""
    lines: list[str] = []
    comments: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line)
            continue
        replacement = new.get(line.partition("=")[0], [line])
        lines += [*comments, *replacement] if replacement else []
        comments = []
    return "\n".join(lines) + "\n"


def _word(path: Path, dollar: str = "$") -> str:
    """Quote a path as a unit file wants it: % and, in commands, $ are doubled."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace("$", dollar).replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() for character in text) or '"' in text else text


def _program() -> Path:
    """Return the installed `medalliond` beside the interpreter that runs this."""
    program = Path(sys.executable).with_name("medalliond")
    if not os.access(program, os.X_OK):
        raise WrongRequestError(
            f"{program}: a service needs an installed medalliond, and there is none beside this Python. "
            f"Install it first: {sys.executable} -m pip install medalliond"
        )
    return program


def _owner(root: Path) -> str:
    """Who the service runs as: whoever owns the root, and nobody mightier than need be."""
    if root.is_dir() and (uid := root.stat().st_uid) != 0:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)
    return SERVICE_USER


def _unit_folder(*, user: bool) -> Path:
    if not user:
        return Path("/etc/systemd/system")
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "systemd" / "user"


def _refuse_edited(units: Mapping[Path, str]) -> None:
    edited = [path for path, text in units.items() if path.exists() and path.read_text("utf-8") != text]
    if edited:
        raise WrongRequestError(
            f"{edited[0]}: this unit is there already and differs: it was edited, or serves another root. "
            "Nothing was written. --force writes over it; for a second root start medalliond@ instead."
        )


def _next_steps(made_for: Installation) -> list[str]:
    root, user = shlex.quote(str(made_for.root)), made_for.user
    option = " --user" if user is None else ""
    steps = ["What is left to do:"]
    if user is not None and not _exists(user):
        steps.append(f"  useradd --system --home-dir {root} --shell /usr/sbin/nologin {user}")
    if not (made_for.root / "landing").is_dir():
        steps.append(f"  medalliond init {root}")
    if user is not None and (not made_for.root.is_dir() or made_for.root.stat().st_uid == 0):
        steps.append(f"  chown -R {user}: {root}")
    if user is None:
        steps.append("  loginctl enable-linger    # it runs while you are logged out, too")
    steps += [
        f"  systemctl{option} daemon-reload",
        f"  systemctl{option} enable --now medalliond",
        "",
        "Good to know:",
        f"  systemctl{option} status medalliond",
        f"  journalctl{option} -u medalliond -f -o cat    # its log, a JSON object a line",
        f"  systemctl{option} enable --now medalliond@$(systemd-escape --path /another/root)",
    ]
    if user is not None:
        steps.append(f"  chmod -R g+rwxs {root}/landing    # the group of {user} may drop files")
        if not made_for.hidden_homes:
            steps.append(f"  {user} must be able to reach {root} and to run {made_for.program}")
    return steps


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
