"""`python -m tests.torture`: the command line of the campaigns. `docs/reliability.md` has their last figures."""

import sys
from pathlib import Path

# `tests/` is a folder of test modules, no package: its helpers are imported by their own names, as pytest does.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torture.cli import app

if __name__ == "__main__":  # a daemon's worker processes import the main module of their parent again
    app(prog_name="python -m tests.torture")
