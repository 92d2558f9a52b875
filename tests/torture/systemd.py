"""The service under a real systemd: killed, hung, out of memory, crashing as it starts, rebooted with files in flight.

Its systemd is PID 1 of a container (`systemd_container`), its unit the one that is installed, with shorter waits.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from systemd_container import PROGRAM, missing, wait_until
from systemd_machine import SERVICE, Machine, serving

from torture.bombs import bombs
from torture.campaign import Campaign, Plan, Report

_MOST_EXPOSED = 1.5
"""What `systemd-analyze security` may say of the unit at most."""
_PATIENCE = 100.0
"""Seconds in which a busy machine must have done what a quiet one does in ten: less than the two minutes within which
systemd counts starts.
"""
_DROP_IN = """
[Service]
WatchdogSec=4s
RestartSec=300ms
MemoryMax=600M
Environment=MEDALLIOND_SWEEP_INTERVAL=5 MEDALLIOND_WORKER_MEMORY=16GB MEDALLIOND_WORKERS=1
"""
_BROKEN_UNITS = {"unit_without_restart": "Restart=no\n", "unit_without_watchdog": "WatchdogSec=0\n"}
_GROUPS = Path("/sys/fs/cgroup/memory")
_OOM = f"{_GROUPS}/system.slice/{SERVICE}/memory.oom_control"


class _Service:
    """The service under attack, what was dropped for it, and how long it took to be ready again."""

    def __init__(self, machine: Machine, report: Report, dropped: list[int]) -> None:
        self.machine = machine
        self._report = report
        self._dropped = dropped

    def drop(self, count: int = 3) -> None:
        """Let alice drop so many files of two records each."""
        for _ in range(count):
            first = 2 * len(self._dropped)
            self._dropped.append(first)
            self.machine.drop(f"{first:06}.csv", first, first + 1)

    def shows(self, name: str, value: str) -> bool:
        """Whether a property of the unit has this value."""
        return self.machine.container.show(SERVICE, name) == value

    def back(self, what: str, fault: Callable[[], object]) -> None:
        """Do something to it with files in flight, and time how long systemd takes to have it ready again."""
        # Faults come faster here than the limit of ten starts in two minutes allows for: the count begins anew with each.
        self.machine.run("systemctl", "reset-failed", SERVICE)
        before = self.machine.restarts()
        self.drop()
        self._report.planned += 1
        began = time.monotonic()
        fault()
        wait_until(
            lambda: self.machine.restarts() > before and self.shows("ActiveState", "active"), _PATIENCE, what
        )
        took = time.monotonic() - began
        self._report.fired += 1
        self.drop()
        slowest = float(self._report.figures.get(what, "0 s").removesuffix(" s"))
        self._report.figures[what] = f"{max(slowest, took):.1f} s"

    def arrived(self) -> None:
        """Wait until everything is in gold; account for it."""
        wanted = Counter(str(first + row) for first in self._dropped for row in range(2))
        with suppress(TimeoutError):
            wait_until(lambda: not wanted - Counter(self.machine.ids()), _PATIENCE, "all in gold")
        found = Counter(self.machine.ids())
        self._report.lost += (wanted - found).total()
        self._report.doubled += (found - wanted).total()


def _killed(service: _Service, times: int) -> None:
    for _ in range(times):
        service.back(
            "ready again after kill -9",
            lambda: service.machine.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", SERVICE),
        )


def _hung(service: _Service, _: int) -> None:
    service.back(
        "ready again after a hang (watchdog after 4 s)",
        lambda: service.machine.run("systemctl", "kill", "-s", "STOP", "--kill-who=main", SERVICE),
    )


def _out_of_memory(service: _Service, report: Report) -> None:
    """A file that unfolds beyond MemoryMax costs its worker twice and is set aside; the service goes on."""
    machine = service.machine
    machine.run("mount", "-o", "remount,rw,bind", _GROUPS)  # nspawn mounts them read-only
    machine.run("systemctl", "daemon-reexec")
    machine.run("systemctl", "restart", SERVICE)
    before = machine.restarts()
    bomb = machine.state / "landing/bombs/unfolds.parquet"
    bomb.parent.mkdir()
    os.chown(bomb.parent, 970, 970)
    bomb.write_bytes(bombs(large=False)["unfolds.parquet"]())
    service.drop()
    report.planned += 1
    reasons = machine.state / "data/quarantine/main/bombs"
    wait_until(lambda: list(reasons.glob("*.reason.json")), _PATIENCE, "the bomb set aside")
    killed = re.search(r"oom_kill (\d+)", machine.run("cat", _OOM))
    report.fired += bool(killed and int(killed[1]))
    report.figures["killed for memory"] = f"{killed[1] if killed else 0} processes"
    report.figures["restarts by that"] = str(machine.restarts() - before)


def _crash_loop(service: _Service, report: Report) -> None:
    """A daemon that cannot start is given up; once mended and asked, it goes on with what was dropped meanwhile."""
    machine = service.machine
    settings = machine.state / "medalliond.toml"
    before = settings.read_text() if settings.exists() else ""
    settings.write_text("workers = 'many'\n")
    report.planned += 1
    machine.run("systemctl", "restart", SERVICE, check=False)
    wait_until(lambda: service.shows("ActiveState", "failed"), _PATIENCE, "the limit of starts")
    report.fired += 1
    report.figures["starts until the limit"] = str(machine.restarts() + 1)
    service.drop()
    settings.write_text(before)
    machine.run("systemctl", "reset-failed", SERVICE)
    machine.run("systemctl", "start", SERVICE)


def _several_roots(machine: Machine, report: Report) -> None:
    """One template serves further roots, of any name."""
    for root in ("/srv/one", "/srv/two words"):
        machine.run(PROGRAM, "init", root)
        machine.run("chown", "-R", "medalliond:", root)
        name = machine.run("systemd-escape", "--path", "--template=medalliond@.service", root).strip()
        machine.run("systemctl", "start", name)
        if not json.loads(machine.run(PROGRAM, "status", "--root", root, "--json"))["daemon"]["running"]:
            report.findings.append(f"{name} was started and does not run")
        machine.run("systemctl", "stop", name)
        if machine.container.show(name, "Result") != "success":
            report.findings.append(f"{name} was stopped and says {machine.container.show(name, 'Result')}")


def _exposure(machine: Machine, report: Report) -> None:
    said = machine.run("systemd-analyze", "security", SERVICE, "--no-pager").splitlines()[-1]
    exposure = float(re.findall(r"\d+\.\d+", said)[0])
    report.figures["exposure"] = str(exposure)
    if exposure > _MOST_EXPOSED:
        report.findings.append(f"the unit is exposed: {said}")


def run(plan: Plan) -> Report:
    """Kill the service `n` times, then let it hang, run out of memory, crash in a loop, and reboot its machine."""
    report = Report()
    dropped: list[int] = []
    drop_in = _DROP_IN + _BROKEN_UNITS.get(plan.breakage or "", "")
    try:
        with _memory_group(), serving(plan.work, drop_in) as machine:
            service = _Service(machine, report, dropped)
            _exposure(machine, report)
            _several_roots(machine, report)
            service.drop()
            _killed(service, plan.n)
            _hung(service, plan.n)
            service.arrived()
            _out_of_memory(service, report)
            _crash_loop(service, report)
            service.drop(20)
            report.planned += 1
            rebooted = time.monotonic()
        with serving(plan.work, drop_in) as machine:
            report.fired += 1
            report.figures["ready again after a reboot"] = f"{time.monotonic() - rebooted:.1f} s"
            _Service(machine, report, dropped).arrived()
            machine.run("systemctl", "stop", SERVICE)
            proof = machine.ask("verify")
            report.findings += [f"verify: {problem}" for problem in proof["problems"]]
    except TimeoutError as error:
        report.hands += 1
        report.findings.append(str(error))
    report.records_in = 2 * len(dropped)
    return report


@contextmanager
def _memory_group() -> Iterator[None]:
    """A control group of our own: below it MemoryMax= is enforced."""
    group = _GROUPS / f"torture-systemd-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (_GROUPS / "cgroup.procs").write_text(str(os.getpid()))
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def _missing() -> str | None:
    if not (_GROUPS / "cgroup.procs").exists():
        return "needs the memory controller of control groups, version 1"
    return missing()


CAMPAIGN = Campaign(
    "systemd",
    "under a real systemd: kill -9, hang, MemoryMax, crash loop, reboot with files in flight, further roots (root)",
    run,
    short=2,
    long=100,
    teeth={"unit_without_restart": 1, "unit_without_watchdog": 1},
    missing=_missing,
)
