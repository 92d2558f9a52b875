"""The service under a real systemd, as hardened as the unit is: started, fed, killed, reloaded, stopped."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from systemd_container import PROGRAM, Container, booted, missing, wait_until

from daemon.cli.systemd import STATE_DIRECTORY, UNITS, Installation, unit

SERVICE = "medalliond.service"
HEADER = "id,amount"

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(180),
    pytest.mark.skipif(missing() is not None, reason=f"a container with systemd {missing()}"),
]


def install(root: Path) -> None:
    """Write the units as `systemd install` does for the usual places."""
    made_for = Installation(STATE_DIRECTORY, PROGRAM, "medalliond", hidden_homes=True)
    for name in UNITS:
        (root / "etc/systemd/system" / name).write_text(unit(name, made_for))


@dataclass(frozen=True)
class Machine:
    """A machine with the service installed, and with `alice`, who drops files."""

    container: Container

    @property
    def state(self) -> Path:
        """The root of the service, as seen from outside."""
        return Path(f"/proc/{self.container.leader}/root{STATE_DIRECTORY}")

    def run(self, *words: str | Path, check: bool = True) -> str:
        return self.container.run(*words, check=check)

    def as_alice(self, script: str) -> list[str]:
        inside = ["nsenter", "-t", str(self.container.leader), *["-m", "-u", "-i", "-n", "-p", "-C", "--"]]
        return [*inside, "runuser", "-u", "alice", "--", "sh", "-c", script]

    def drop(self, name: str, *ids: int, mask: str = "022") -> None:
        """Let alice move a finished file into landing."""
        lines = "\\n".join([HEADER, *(f"{number},{number}.50" for number in ids), ""])
        folder = STATE_DIRECTORY / "landing/sales/orders"
        script = f"umask {mask}; cd {folder}; printf '{lines}' > .{name} && mv .{name} {name}"
        subprocess.run(self.as_alice(script), check=True)

    def ask(self, *words: str) -> Any:
        return json.loads(self.run(PROGRAM, *words, "--root", STATE_DIRECTORY, "--json"))

    def ids(self) -> list[str]:
        """What stands in gold."""
        if not (self.state / "data/gold/sales/orders").is_symlink():
            return []
        return [str(row["id"]) for row in self.ask("query", "FROM gold.sales.orders SELECT id ORDER BY id")]

    def wait_for_ids(self, *ids: int) -> None:
        wanted = [str(number) for number in ids]
        wait_until(lambda: self.ids() == wanted, 30, f"{wanted} in gold")

    def restarts(self) -> int:
        return int(self.container.show(SERVICE, "NRestarts"))

    def events(self) -> list[dict[str, Any]]:
        """What the daemon wrote into the journal."""
        lines = self.run("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with booted(tmp_path, install) as container:
        container.run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "medalliond")
        container.run("useradd", "--no-create-home", "--groups", "medalliond", "alice")
        container.run("systemctl", "start", SERVICE)
        landing = STATE_DIRECTORY / "landing"
        container.run("runuser", "-u", "medalliond", "--", "mkdir", "-p", landing / "sales/orders")
        container.run("chmod", "-R", "g+rwxs", landing)
        yield Machine(container)


def test_the_service_lives_through_what_happens_to_services(machine: Machine) -> None:
    show = machine.container.show
    assert show(SERVICE, "ActiveState") == "active"
    assert float(show(SERVICE, "WatchdogUSec").removesuffix("min").removesuffix("s")) > 0

    # files of another owner, whether or not the service may write to them
    machine.drop("a.csv", 1, 2)
    machine.wait_for_ids(1, 2)
    machine.drop("b.csv", 3, mask="002")
    machine.wait_for_ids(1, 2, 3)
    wait_until(lambda: "3 rows in gold" in show(SERVICE, "StatusText"), 10, "a status line")

    # a file that another user still writes: only a lease tells, and only CAP_LEASE allows it
    target = STATE_DIRECTORY / "landing/sales/orders/slow.csv"
    slow = f"exec 3> {target}; printf '{HEADER}\\n4,4' >&3; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo .50 >&3"
    with subprocess.Popen(machine.as_alice(slow)) as writer:
        try:
            machine.drop("c.csv", 5)
            machine.wait_for_ids(1, 2, 3, 5)
            time.sleep(3)  # three times `settle`: by the file's times alone it would be taken for finished
            assert machine.ids() == ["1", "2", "3", "5"]
        finally:
            machine.run("touch", "/tmp/go")  # noqa: S108 - inside the container
    assert writer.returncode == 0
    machine.wait_for_ids(1, 2, 3, 4, 5)

    # killed, with a file dropped while it is down
    machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", SERVICE)
    machine.drop("d.csv", 6)
    wait_until(lambda: machine.restarts() == 1 and show(SERVICE, "ActiveState") == "active", 30, "a restart")
    machine.wait_for_ids(1, 2, 3, 4, 5, 6)

    machine.run("systemctl", "reload", SERVICE)
    assert show(SERVICE, "ActiveState") == "active"

    archived = machine.state / "data/archive/sales/orders"
    wait_until(lambda: len(list(archived.glob("*/*.csv"))) == 5, 10, "five archived sources")
    assert machine.ask("status")["failures"] == []

    machine.run("systemctl", "stop", SERVICE)
    assert (show(SERVICE, "Result"), show(SERVICE, "ExecMainStatus")) == ("success", "0")

    events = machine.events()
    names = [event["event"] for event in events]
    assert names.count("daemon_ready") == 2
    assert names[-1] == "daemon_stopped"
    assert sum(event["rows"] for event in events if event.get("target_layer") == "gold") == 6
    assert not [event for event in events if event["level"] in {"error", "critical"}]


def test_one_template_serves_several_roots(machine: Machine) -> None:
    for root in ("/srv/one", "/srv/two words"):
        machine.run(PROGRAM, "init", root)
        machine.run("chown", "-R", "medalliond:", root)
        name = machine.run("systemd-escape", "--path", "--template=medalliond@.service", root).strip()
        machine.run("systemctl", "start", name)
        assert machine.container.show(name, "ActiveState") == "active"
        report = json.loads(machine.run(PROGRAM, "status", "--root", root, "--json"))
        assert report["daemon"]["running"]
        machine.run("systemctl", "stop", name)
        assert machine.container.show(name, "Result") == "success"
