"""A throw-away systemd: PID 1 of a container over an overlay of this machine's own root. Used by the systemd tests
and the campaign `systemd`.

Needs root, systemd-nspawn (package systemd-container) and nsenter. Nothing of the machine is changed: what the
container writes goes into a tmpfs that is unmounted at the end.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROGRAM = Path("/opt/medalliond/bin/medalliond")
"""The installed command, inside."""

_WRAPPER = """\
#!/bin/sh
export PYTHONHOME=/opt/medalliond/python PYTHONPATH=/opt/medalliond/source:/opt/medalliond/packages
export LD_LIBRARY_PATH=/opt/medalliond/python/lib
exec /opt/medalliond/python/bin/python3 -m daemon "$@"
"""
_BOOT_SECONDS = 30.0
_CGROUPS = Path("/sys/fs/cgroup")


def missing() -> str | None:
    """Say what this machine lacks for a container, None when it has everything."""
    if os.geteuid() != 0:
        return "needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"needs {program} (package {package})"
    return None


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition` is true; fail after `seconds`, saying `what` never came."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


@dataclass(frozen=True)
class Container:
    """A running systemd. `root` is its file system as seen from outside, `leader` its PID 1 as numbered outside."""

    root: Path
    leader: int

    def run(self, *words: str | Path, check: bool = True) -> str:
        """Run a command inside; its standard output."""
        inside = [
            "nsenter",
            "-t",
            str(self.leader),
            *["-m", "-u", "-i", "-n", "-p", "-C", "--"],
            *map(str, words),
        ]
        done = subprocess.run(inside, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", unit, "-p", name, "--value").strip()


@contextmanager
def booted(work: Path, prepare: Callable[[Path], None], kept: Mapping[Path, Path]) -> Iterator[Container]:
    """Boot a container with this repository installed at /opt/medalliond. `work` is an empty folder.

    `prepare` may change its root before it boots; `kept` are folders of this machine that it writes to, and where: leases
    are not to be had on an overlay.
    """
    with ExitStack() as stack:
        stack.enter_context(_alone())
        root = stack.enter_context(_overlay(work))
        program = root / PROGRAM.relative_to("/")
        program.parent.mkdir(parents=True)
        program.write_text(_WRAPPER)
        program.chmod(0o755)
        prepare(root)
        binds = {
            Path(sys.base_prefix): "python",
            Path(sysconfig.get_path("purelib")): "packages",
            REPOSITORY: "source",
        }
        options = [f"--bind-ro={path}:/opt/medalliond/{name}" for path, name in binds.items()]
        options += [f"--bind={here}:{there}" for here, there in kept.items()]
        nspawn = stack.enter_context(_nspawn(root, options))
        yield Container(root, _leader(nspawn))


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for the containers of other test processes: they would meet in one control group."""
    with Path(tempfile.gettempdir(), "medalliond-test-systemd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _overlay(work: Path) -> Iterator[Path]:
    """This machine's root, to be written on freely: the changes are kept in a tmpfs, which the kernel forgets."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", work], check=True)
    try:
        upper, inner, merged = (work / name for name in ("upper", "inner", "merged"))
        for folder in (upper, inner, merged):
            folder.mkdir()
        layers = f"lowerdir=/,upperdir={upper},workdir={inner}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, merged], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", merged], check=True)
    finally:
        subprocess.run(["umount", work], check=True)


@contextmanager
def _nspawn(root: Path, mounts: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    options = [
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--private-network",
        "--resolv-conf=off",
        "--timezone=off",
    ]
    command = [
        "systemd-nspawn",
        f"--directory={root}",
        f"--machine=medalliond-{os.getpid()}",
        *options,
        *mounts,
        "systemd.unit=basic.target",
    ]
    with (root.parent / "log").open("wb") as log:
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield nspawn
    finally:
        nspawn.send_signal(signal.SIGTERM)
        try:
            nspawn.wait(20)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()
        _remove_cgroups()


def _leader(nspawn: subprocess.Popen[bytes]) -> int:
    """The process that is PID 1 in its own namespace and already runs systemd; nspawn has other children before."""
    found: list[int] = []

    def look() -> bool:
        children = _children(nspawn.pid)
        found[:] = [pid for child in children for pid in (child, *_children(child)) if _is_init(pid)]
        return bool(found)

    wait_until(look, _BOOT_SECONDS, "a booting systemd")
    inside = Container(Path("/"), found[0])
    wait_until(
        lambda: inside.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"},
        _BOOT_SECONDS,
        "a booted systemd",
    )
    return found[0]


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_init(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return name == "systemd" and numbers[1:] == ["1"]


def _remove_cgroups() -> None:
    """Remove what nspawn leaves in the cgroup hierarchies of version 1."""
    for hierarchy in ("systemd", "unified"):
        for name in ("payload", "supervisor"):
            for folder, _, _ in os.walk(_CGROUPS / hierarchy / name, topdown=False):
                with suppress(OSError):  # somebody still is in it: it is in nobody's way
                    Path(folder).rmdir()
