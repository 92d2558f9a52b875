"""What the benchmarks share: running medalliond as a user would, measuring memory, printing and keeping results."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_START = 30.0


@dataclass
class Peaks:
    """The largest resident sets seen, in MB: of the process itself and of the largest of its children."""

    parent: float = 0.0
    child: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, pid: int) -> None:
        """Sample until the process is gone."""
        while not self._stop.wait(0.02):
            own = _high_water(pid)
            if own is None:
                return
            self.parent = max(self.parent, own)
            self.child = max([self.child, *(_high_water(child) or 0.0 for child in children(pid))])


def drain(root: Path, **settings: str) -> tuple[float, Peaks]:
    """Run `medalliond drain`; returns seconds from start to exit, and memory. Raises RuntimeError when it fails."""
    environment = {**os.environ, "MEDALLIOND_LOG_FORMAT": "json"}
    environment |= {f"MEDALLIOND_{name.upper()}": value for name, value in settings.items()}
    peaks = Peaks()
    began = time.perf_counter()
    command = [sys.executable, "-m", "daemon", "drain", "--root", str(root)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        sampler = threading.Thread(target=peaks.watch, args=(process.pid,))
        sampler.start()
        output, _ = process.communicate()
    seconds = time.perf_counter() - began
    sampler.join()
    if process.returncode:
        raise RuntimeError(f"drain ended with {process.returncode}:\n{output.decode()[-3000:]}")
    return seconds, peaks


@contextmanager
def running(root: Path) -> Iterator[int]:
    """`medalliond run` on a root, ready; gives its process id, and stops it when the block ends."""
    with (root.parent / "log").open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "daemon", "run", "--root", str(root)],
            stdout=log,
            stderr=log,
            env={**os.environ, "MEDALLIOND_LOG_FORMAT": "json"},
        )
    try:
        until = time.monotonic() + _START
        while "daemon_ready" not in (root.parent / "log").read_text():
            if time.monotonic() > until:
                raise RuntimeError((root.parent / "log").read_text()[-3000:])
            time.sleep(0.05)
        time.sleep(2)  # until its workers are warm
        yield daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(30)


def timed_command(*words: str) -> float:
    """Seconds that a Python command takes from start to exit."""
    return timed(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """The resident set of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_fresh_process(function: str, *arguments: str) -> float:
    """Seconds that `module:function` takes by its own count (it prints them), in a process of its own."""
    module, name = function.split(":")
    script = f"import sys; from {module} import {name}; print({name}(*sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=RESULTS.parents[1],
    )
    return float(done.stdout.split()[-1])


def keep(goal: str, rows: Sequence[Mapping[str, object]], notes: Mapping[str, object]) -> None:
    """Print the table, and keep it as bench/results/<goal>.json."""
    table = Table(title=goal)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console()
    console.print(table)
    for name, note in notes.items():
        console.print(f"{name}: {note}")
    RESULTS.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    kept = {
        "goal": goal,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine,
    }
    (RESULTS / f"{goal}.json").write_text(json.dumps({**kept, "table": list(rows), **notes}, indent=1) + "\n")


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=RESULTS.parents[1],
    )
    return done.stdout.strip() or "unknown"


def _high_water(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
    return int(line.split()[1]) / 1024 if line else None


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
