"""Rivals of the benchmarks: each installed into an environment of its own under bench/.work, run there, its rows checked.

A rival is a module of this package that needs nothing of ours: it is run by its own Python as `module.py function
source target`, does its work and prints the seconds that the work took (its own start is not counted).
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parent / ".work/rivals"
_LONGEST = 1_200


@dataclass(frozen=True)
class Rival:
    """One rival: how the table calls it, its module here and function, and what pip installs for it."""

    what: str
    module: str
    function: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """What a rival did: seconds, or the error that kept it from doing it."""

    what: str
    seconds: float | None
    error: str = ""

    def row(self, ours: float) -> dict[str, object]:
        """The line of a table; `times ours`: how many times as long as ours it took."""
        if self.seconds is None:
            return {"what": self.what, "seconds": self.error, "times ours": "-"}
        return {"what": self.what, "seconds": self.seconds, "times ours": self.seconds / ours}


def compete(rivals: Sequence[Rival], source: Path, work: Path, rows: int) -> list[Run]:
    """Let each rival do its work on `source`, and look whether it wrote `rows` rows."""
    return [_run(rival, source, work / f"{rival.module}-{rival.function}", rows) for rival in rivals]


def _run(rival: Rival, source: Path, target: Path, rows: int) -> Run:
    target.mkdir()
    try:
        python = _environment(rival)
        command = [str(python), str(_HERE / f"{rival.module}.py"), rival.function, str(source), str(target)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=target, timeout=_LONGEST
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        return Run(rival.what, None, lines[-1] if lines else str(error))
    except subprocess.TimeoutExpired as error:
        return Run(rival.what, None, str(error))
    found = _rows(target / "out")
    if found != rows:
        return Run(rival.what, None, f"wrote {found} rows of {rows}")
    return Run(rival.what, float(done.stdout.split()[-1]))


def _environment(rival: Rival) -> Path:
    """The Python of the rival's own environment, made when it is not there. Raises CalledProcessError."""
    folder = _ENVIRONMENTS / rival.module
    python = folder / "bin/python"
    installed = folder / "installed"
    if not installed.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *rival.requirements],
        ):
            subprocess.run(command, capture_output=True, text=True, check=True)
        installed.touch()
    return python


def _rows(out: Path) -> int:
    """The rows of what a rival wrote: Parquet files anywhere below, or one CSV."""
    if out.with_suffix(".csv").exists():
        return int(pl.scan_csv(out.with_suffix(".csv")).select(pl.len()).collect().item())
    files = [path for path in out.rglob("*.parquet") if path.stat().st_size]
    return sum(int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()) for path in files)
