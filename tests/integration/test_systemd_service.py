"""The service under a real systemd, as hardened as the unit is: started, fed, killed, reloaded, stopped."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from systemd_container import missing, wait_until
from systemd_machine import HEADER, SERVICE, Machine, serving

from daemon.cli.systemd import STATE_DIRECTORY

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(180),
    pytest.mark.skipif(missing() is not None, reason=f"a container with systemd {missing()}"),
]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with serving(tmp_path, "[Service]\nEnvironment=MEDALLIOND_WORKERS=1\n") as machine:
        yield machine


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
    archived = machine.state / "data/archive/sales/orders"
    wait_until(lambda: len(list(archived.glob("*/*.csv"))) == 4, 10, "four archived sources")
    machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", SERVICE)
    machine.drop("d.csv", 6)
    wait_until(lambda: machine.restarts() == 1 and show(SERVICE, "ActiveState") == "active", 30, "a restart")
    machine.wait_for_ids(1, 2, 3, 4, 5, 6)

    machine.run("systemctl", "reload", SERVICE)
    assert show(SERVICE, "ActiveState") == "active"

    wait_until(lambda: len(list(archived.glob("*/*.csv"))) == 5, 10, "five archived sources")
    assert machine.ask("status")["failures"] == []
    assert machine.ask("query", "SELECT count(*) AS rows FROM gold.sales.orders") == [{"rows": 6}]

    machine.run("systemctl", "stop", SERVICE)
    assert (show(SERVICE, "Result"), show(SERVICE, "ExecMainStatus")) == ("success", "0")

    events = machine.events()
    names = [event["event"] for event in events]
    assert names.count("daemon_ready") == 2
    assert names[-1] == "daemon_stopped"
    assert sum(event["rows"] for event in events if event.get("target_layer") == "gold") == 6
    assert not [event for event in events if event["level"] in {"error", "critical"}]
