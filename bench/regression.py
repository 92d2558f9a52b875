"""Has anything become slower? Processor time of ours against a rival's in the same run, held to the last recorded ratios.

`python -m bench.regression` (in CI, under three minutes) returns 1 when a ratio is above BOUND times the recorded one;
`--record` writes the ratios anew, to be committed with the change that justifies them. Processor time and not the clock's,
both sides in turns and the best of each, since the machine may have other work; a ratio that is too high is measured again
before it counts.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench import big_file, data, proof, small_files
from bench.common import RESULTS, drain, in_fresh_process

RECORDED = RESULTS.parent / "recorded.json"
BOUND = 1.3
_TURNS = 3
_MORE_TURNS = 6
_FILES, _FILE_ROWS = 300, 1_000
_ROWS = 800_000


@dataclass(frozen=True)
class Contest:
    """Two ways to do one thing; each returns the processor seconds it took."""

    name: str
    ours: Callable[[], float]
    rival: Callable[[], float]

    def ratio(self, turns: int) -> float:
        """Ours to the rival's, each the best of `turns`, turn by turn."""
        pairs = [(self.ours(), self.rival()) for _ in range(turns)]
        return min(ours for ours, _ in pairs) / min(rival for _, rival in pairs)


def main() -> int:
    """Measure, print, and compare or record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep the ratios as those to compare with")
    record = parser.parse_args().record
    with tempfile.TemporaryDirectory(prefix="medalliond-regression-") as folder:
        contests = _contests(Path(folder))
        if record:
            ratios = {contest.name: round(contest.ratio(_MORE_TURNS), 3) for contest in contests}
            RECORDED.write_text(json.dumps(ratios, indent=1) + "\n")
            print(ratios)
            return 0
        recorded: dict[str, float] = json.loads(RECORDED.read_text())
        slower = [contest for contest in contests if not _holds(contest, recorded[contest.name])]
    return int(bool(slower))


def _holds(contest: Contest, recorded: float) -> bool:
    """Whether a contest's ratio is within the bound, if need be at the second attempt; prints a line."""
    ratio = contest.ratio(_TURNS)
    if ratio > recorded * BOUND:
        ratio = min(ratio, contest.ratio(_MORE_TURNS))
    holds = ratio <= recorded * BOUND
    verdict = "ok" if holds else f"SLOWER: more than {BOUND} times the recorded one"
    print(f"{contest.name}: {ratio:.2f}, recorded {recorded:.2f}: {verdict}", flush=True)
    return holds


def _contests(work: Path) -> list[Contest]:
    big, small, quoted = work / "big.csv", work / "small", work / "quoted.csv"
    data.big_file(big, _ROWS)
    data.small_files(small, _FILES, _FILE_ROWS)
    proof.write_csv(quoted, proof.ONE_QUOTED, _ROWS)
    files = sorted(small.iterdir())
    start = min(_drained(work, files[:1]) for _ in range(_TURNS))
    return [
        Contest(
            "one big file, four layers with key dedup, to one bare scan",
            lambda: _drained(work, [big], big_file.CONTRACT) - start,
            lambda: in_fresh_process("bench.regression:bare_scan", str(big), str(work / "bare.parquet")),
        ),
        Contest(
            f"{_FILES} small files, four layers, to four of bare Polars",
            lambda: _drained(work, files) - start,
            lambda: in_fresh_process("bench.regression:bare_layers", str(small), str(work / "layers")),
        ),
        Contest(
            "a quoted file read and proved, to one bare scan",
            lambda: in_fresh_process("bench.regression:read_proved", str(quoted), str(work)),
            lambda: in_fresh_process("bench.regression:bare_scan", str(quoted), str(work / "bare.parquet")),
        ),
    ]


def _drained(work: Path, files: Sequence[Path], contract: str = "") -> float:
    """Processor seconds of a drain of files into the table `orders` of a fresh root."""
    root = work / "root"
    landing, contracts = root / "landing/orders", root / "catalog/contracts/main"
    landing.mkdir(parents=True)
    contracts.mkdir(parents=True)
    if contract:
        (contracts / "orders.yaml").write_text(contract)
    for file in files:
        os.link(file, landing / file.name)
    seconds = _processor_seconds(lambda: drain(root))
    gold = root / "data/gold/main/orders/*.parquet"
    if not pl.scan_parquet(gold).select(pl.len()).collect().item():
        raise RuntimeError("nothing arrived in gold")
    shutil.rmtree(root)
    return seconds


def _processor_seconds(work: Callable[[], object]) -> float:
    """User and system time that `work` takes in this process, and in those it starts and ends."""
    before = os.times()
    work()
    return sum(os.times()[:4]) - sum(before[:4])


def bare_scan(source: str, target: str) -> float:
    """Processor seconds of one scan to one Parquet file."""
    return _processor_seconds(lambda: big_file.bare_scan(source, target))


def bare_layers(source: str, target: str) -> float:
    """Processor seconds of four bare layers."""
    return _processor_seconds(lambda: small_files.bare_polars(source, target))


def read_proved(source: str, work: str) -> float:
    """Processor seconds of a reading with its proof."""
    return _processor_seconds(lambda: proof.proved(Path(source), Path(work)))


if __name__ == "__main__":
    sys.exit(main())
