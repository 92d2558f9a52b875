"""The service installed on a throw-away machine. Used by the systemd tests and the campaign `systemd`."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systemd_container import PROGRAM, Container, booted, wait_until
from torture.world import column

from daemon.cli.systemd import STATE_DIRECTORY, UNITS, Installation, unit

SERVICE = "medalliond.service"
HEADER = "id,amount"


@dataclass(frozen=True)
class Machine:
    """A machine with the service installed, and with `alice`, who drops files."""

    container: Container

    @property
    def state(self) -> Path:
        """The root of the service, as seen from outside."""
        return Path(f"/proc/{self.container.leader}/root{STATE_DIRECTORY}")

    def run(self, *words: str | Path, check: bool = True) -> str:
        """Run a command on it; its standard output."""
        return self.container.run(*words, check=check)

    def as_alice(self, script: str) -> list[str]:
        """The command that runs a script as alice."""
        inside = ["nsenter", "-t", str(self.container.leader), *["-m", "-u", "-i", "-n", "-p", "-C", "--"]]
        return [*inside, "runuser", "-u", "alice", "--", "sh", "-c", script]

    def drop(self, name: str, *ids: int, mask: str = "022") -> None:
        """Let alice move a finished file into landing."""
        lines = "\\n".join([HEADER, *(f"{number},{number}.50" for number in ids), ""])
        folder = STATE_DIRECTORY / "landing/sales/orders"
        script = f"umask {mask}; cd {folder}; printf '{lines}' > .{name} && mv .{name} {name}"
        subprocess.run(self.as_alice(script), check=True)

    def ask(self, *words: str) -> Any:
        """What a command of medalliond answers."""
        return json.loads(self.run(PROGRAM, *words, "--root", STATE_DIRECTORY, "--json"))

    def ids(self) -> list[str]:
        """What stands in gold, read from outside: a command in there takes a second of the processor's time."""
        return sorted(column(f"{self.state}/data/gold/sales/orders/*.parquet", "id"), key=int)

    def wait_for_ids(self, *ids: int) -> None:
        """Wait until these stand in gold, and no others."""
        wanted = [str(number) for number in ids]
        wait_until(lambda: self.ids() == wanted, 30, f"{wanted} in gold")

    def restarts(self) -> int:
        """How often systemd has started the service again."""
        return int(self.container.show(SERVICE, "NRestarts"))

    def events(self) -> list[dict[str, Any]]:
        """What the daemon wrote into the journal."""
        lines = self.run("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def serving(work: Path, drop_in: str = "") -> Iterator[Machine]:
    """Boot a machine whose service is started. `work` is a folder of its own; `work/state` stays from boot to boot.

    `drop_in` is added to the unit.
    """
    (work / "machine").mkdir(exist_ok=True)
    (work / "state").mkdir(exist_ok=True)

    def install(root: Path) -> None:
        made_for = Installation(STATE_DIRECTORY, PROGRAM, "medalliond", hidden_homes=True)
        units = root / "etc/systemd/system"
        for name in UNITS:
            (units / name).write_text(unit(name, made_for))
        if drop_in:
            (units / f"{SERVICE}.d").mkdir()
            (units / f"{SERVICE}.d/campaign.conf").write_text(drop_in)

    with booted(work / "machine", install, {work / "state": STATE_DIRECTORY}) as container:
        container.run(
            "useradd",
            "--system",
            "--uid",
            "970",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            "medalliond",
        )
        container.run("useradd", "--uid", "1970", "--no-create-home", "--groups", "medalliond", "alice")
        container.run("systemctl", "start", SERVICE)
        landing = STATE_DIRECTORY / "landing"
        container.run("runuser", "-u", "medalliond", "--", "mkdir", "-p", landing / "sales/orders")
        container.run("chmod", "-R", "g+rwxs", landing)
        yield Machine(container)
