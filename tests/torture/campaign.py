"""The words of a campaign: what it is asked, what it reports. Every campaign module defines one or more `Campaign`s."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of a campaign is asked.

    `n`: how many faults (the campaign says of what kind); `work`: an empty folder of its own; `breakage`: the
    deliberately broken build under test (a name of `broken.BREAKAGES`), None for the real one.
    """

    n: int
    seed: int
    work: Path
    breakage: str | None = None


@dataclass(slots=True)
class Report:
    """What a run found. `hands`: times a person would have had to act; `figures`: what is worth a line besides.

    `findings` are sentences, each a promise that was broken, with what is needed to reproduce it.
    """

    planned: int = 0
    fired: int = 0
    records_in: int = 0
    lost: int = 0
    doubled: int = 0
    hands: int = 0
    findings: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.lost or self.doubled or self.hands or self.findings)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept, and every planned fault did fire."""
        return not self.broken and self.planned == self.fired > 0

    def add(self, part: "Report") -> None:
        """Take in what a part of the run found; figures are for the caller to put together."""
        self.planned += part.planned
        self.fired += part.fired
        self.records_in += part.records_in
        self.lost += part.lost
        self.doubled += part.doubled
        self.hands += part.hands
        self.findings += part.findings


@dataclass(slots=True)
class Outcome:
    """What became of the records of one root that was harmed, by name where it is not as it should be."""

    records: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    hands: int = 0
    findings: list[str] = field(default_factory=list)

    def add_to(self, report: Report) -> None:
        """Count this root in."""
        report.records_in += self.records
        report.lost += len(self.lost)
        report.doubled += len(self.doubled)
        report.hands += self.hands
        report.findings += self.findings


@dataclass(frozen=True, slots=True)
class Campaign:
    """One way to break the daemon.

    `short` and `long` are the `n` of the form in CI and of the published one. `teeth`: the broken builds it must catch,
    each with the `n` that suffices to catch it. `missing` says why it cannot run here (no root, no tool), or None.
    """

    name: str
    summary: str
    run: Callable[[Plan], Report]
    short: int
    long: int
    teeth: Mapping[str, int] = field(default_factory=dict)
    missing: Callable[[], str | None] = lambda: None
