"""Names of mistakes that mutmut has made, to be run: those that mean something, all of them or a sample.

A mistake that only changes the letter case of a string is left out: SQLite and codecs do not care for it, and where it
matters the one that puts XX around the same string says the same. Called by hand, see docs/reliability.md; it reads
`mutants/`, which the first `mutmut run` makes.
"""

import argparse
import ast
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

_MADE = Path("mutants")


def meaningful(source: Path) -> Iterator[str]:
    """The names of the mistakes in one mutated module that change more than letter case."""
    names = json.loads(Path(f"{source}.meta").read_text())["exit_code_by_key"]
    functions = {
        node.name: _body(node)
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name
    }
    for name in names:
        function = name.rpartition(".")[2]
        original = function.rpartition("__mutmut_")[0] + "__mutmut_orig"
        if functions[function].lower() != functions[original].lower():
            yield name


def _body(node: ast.FunctionDef) -> str:
    return ast.dump(ast.Module([*node.body], [])) + ast.dump(node.args)


def main() -> None:
    """Print the names, one a line."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("modules", nargs="+", help="files of the code, e.g. daemon/landing/intake.py")
    parser.add_argument("--sample", type=int, help="so many of them at random")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    names = sorted(name for module in wanted.modules for name in meaningful(_MADE / module))
    if wanted.sample is not None and wanted.sample < len(names):
        names = sorted(random.Random(wanted.seed).sample(names, wanted.sample))
    sys.stdout.write("\n".join(names) + "\n")


if __name__ == "__main__":
    main()
