"""`medalliond doctor`: a line for each thing that the daemon needs here, with what is to be done about it.

The looks themselves are in doctor_machine.py and doctor_root.py.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from daemon.cli import doctor_machine, doctor_root
from daemon.cli.findings import Finding, fail
from daemon.cli.output import console, on_terminal, print_json, print_line, printable, styled
from daemon.cli.refusals import next_step
from daemon.cli.roots import open_root
from daemon.lake.layout import Layout

_Look = Callable[[Layout], Finding]

_LOOKS: dict[str, _Look] = {
    "permissions": doctor_root.permissions,
    "file systems": doctor_root.file_systems,
    "landing file system": doctor_machine.landing_file_system,
    "inotify watches": doctor_machine.inotify_watches,
    "inotify instances": doctor_machine.inotify_instances,
    "inotify queue": doctor_machine.inotify_queue,
    "leases": doctor_root.leases,
    "clock": doctor_machine.clock,
    "clock against ledger": doctor_root.clock_against_ledger,
    "disk space": doctor_machine.disk_space,
    "inodes": doctor_machine.inodes,
    "room for more": doctor_machine.room,
    "ledger": doctor_root.ledger,
    "daemon": doctor_root.daemon,
}


def examine(root: Path, *, as_json: bool) -> int:
    """Look at everything, print what was found, and return the exit status: 1 when something failed."""
    layout = open_root(root)
    findings = {check: _look(look, layout) for check, look in _LOOKS.items()}
    if as_json:
        print_json(
            {
                "root": str(layout.root),
                "findings": [{"check": check, **asdict(finding)} for check, finding in findings.items()],
            }
        )
    else:
        for check, finding in findings.items():
            _print(check, finding)
    return int(any(finding.status == "fail" for finding in findings.values()))


def _look(look: _Look, layout: Layout) -> Finding:
    """Take a look; one that the machine refuses is a finding as well."""
    try:
        return look(layout)
    except OSError as error:
        return fail(
            f"{error.filename or look.__name__}: {error.strerror}", next_step(error) or "look into that first"
        )


def _print(check: str, finding: Finding) -> None:
    if on_terminal():
        _print_coloured(check, finding)
    else:
        print_line(f"{finding.status}\t{check}\t{printable(finding.found)}\t{printable(finding.next_step)}")


def _print_coloured(check: str, finding: Finding) -> None:
    console().print(f"{styled(finding.status)}{' ' * (5 - len(finding.status))}{check}: ", end="")
    print_line(printable(finding.found))
    if finding.next_step:
        print_line(f"     next: {printable(finding.next_step)}")
