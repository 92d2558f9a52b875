"""What the daemon costs when nothing comes: its share of a core, its memory and its workers', and how fast it says hello.

`python -m bench.idle [SECONDS]`. 500 files are worked off first; then a minute of quiet passes before it is looked at.
"""

import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from bench.common import children, cpu_seconds, keep, memory_mb, running, timed_command
from bench.data import small_files

FILES = 500
ROWS = 1_000
_QUIET = 60.0
_PATIENCE = 60.0


def main() -> int:
    """Run it; returns 1 when a row is missing."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory(prefix="medalliond-bench-") as folder:
        root = Path(folder) / "root"
        small_files(Path(folder) / "source", FILES, ROWS)
        (root / "landing").mkdir(parents=True)
        with running(root) as pid:
            (Path(folder) / "source").rename(root / "landing/orders")
            until = time.monotonic() + _PATIENCE
            while _rows(root) < FILES * ROWS and time.monotonic() < until:
                time.sleep(0.1)
            busy = [memory_mb(worker) for worker in children(pid)]
            time.sleep(_QUIET)
            before = {one: cpu_seconds(one) for one in (pid, *children(pid))}
            time.sleep(seconds)
            used = {one: cpu_seconds(one) - began for one, began in before.items()}
            parent = memory_mb(pid)
            resting = [memory_mb(worker) for worker in children(pid)]
        rows = _rows(root)
    hello = min(timed_command("-m", "daemon", "--help") for _ in range(5))
    imported = min(timed_command("-c", "import daemon") for _ in range(5))
    keep(
        "idle",
        [
            {
                "what": "one core used by the daemon, %",
                "found": used.pop(pid) / seconds * 100,
                "goal": "under 1",
            },
            {
                "what": "one core used by its workers, %",
                "found": sum(used.values()) / seconds * 100,
                "goal": "",
            },
            {"what": "memory of the daemon, MB", "found": parent, "goal": "under 80"},
            {"what": "memory of its largest worker, MB", "found": max(resting, default=0.0), "goal": "small"},
            {"what": "medalliond --help, s", "found": hello, "goal": "under 0.3"},
            {"what": "import daemon, s", "found": imported, "goal": "under 0.3"},
        ],
        {"its largest worker after the work, MB": max(busy, default=0.0), "rows": rows},
    )
    return int(rows != FILES * ROWS)


def _rows(root: Path) -> int:
    files = list(root.glob("data/gold/main/orders/*.parquet"))
    return int(pl.scan_parquet(files).select(pl.len()).collect().item()) if files else 0


if __name__ == "__main__":
    sys.exit(main())
