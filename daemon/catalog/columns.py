"""What is known of a table's columns from all deliveries so far: which there are, and the types their values allow.

Kept by the ledger, one state a table; what it says depends on what was delivered, never on the order. The types that a
column's values allow are a set of candidates, and every delivery only takes some away: so int becomes float becomes
text, a date becomes a datetime becomes text, and the state of two batches is the intersection of theirs (a semilattice).
Candidates are named here and found in the data by pipeline/learning.py. Never imports polars.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from daemon.catalog.contract import NO_CONTRACT, BronzeRules, CastRule, Contract

INT: Final = "int"
FLOAT: Final = "float"
DECIMAL: Final = "decimal:"
COMMA: Final = "comma:"
COMMA_FLOAT: Final = "comma:float"
COMMA_DECIMAL: Final = "comma:decimal:"
COMMA_GROUPS: Final = "comma:groups"
"""The comma as decimal sign, and as what parts thousands: where both fit every value, neither is taken."""
DATE: Final = "date:"
TYPED: Final = "typed:"
DATE_FORMATS: Final = (
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
)
"""The ways to write a day that are told apart; of two that both fit every value, neither is taken."""

Candidates = frozenset[str] | None
"""The types that every value of a column allows; None as long as it had no value."""


class ColumnChange(NamedTuple):
    """A line of a table's schema history."""

    kind: str
    column: str
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        """As it is logged: `type amount: int64 -> text`."""
        path = " -> ".join(filter(None, (self.before, self.after)))
        return f"{self.kind} {self.column}" + (f": {path}" if path else "")


class ColumnState(BaseModel):
    """A column: its candidates, and whether it belongs to the table (`bronze.drift` may have kept it out)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: frozenset[str] | None = None
    accepted: bool = True

    @property
    def rule(self) -> CastRule | None:
        """The narrowest type that every value survives; text where none does; None: as the file brought it."""
        found = self.candidates
        if found is None:
            return CastRule(type="text")
        if any(name.startswith(TYPED) for name in found):
            return None
        for kind, rule in _NARROWEST_FIRST:
            fitting = sorted(name for name in found if name.startswith(kind))
            if fitting:
                return rule(fitting)
        return CastRule(type="text")


class TableColumns(BaseModel):
    """All columns of a table, in the order of their first sight, by their name there.

    Frozen. Never to be had by `model_copy`, which would take `rules` and `version` along.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, ColumnState] = {}

    def name_of(self, delivered: str) -> str:
        """The table's name for a delivered column: names that differ in case alone are one."""
        if delivered in self.columns:
            return delivered
        same = [name for name in self.columns if name.casefold() == delivered.casefold()]
        return same[0] if len(same) == 1 else delivered

    def spelled(self, delivered: Sequence[str], rules: BronzeRules) -> dict[str, str]:
        """Delivered columns that go by another name in the table: by an alias, or for they differ in case alone."""
        aliases = {old: new for new, names in rules.aliases.items() for old in names}
        found = {name: aliases[name] for name in delivered if name in aliases and aliases[name] != name}
        counts: dict[str, int] = {}
        for name in delivered:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        for name in delivered:
            if name not in found and counts[name.casefold()] == 1 and self.name_of(name) != name:
                found[name] = self.name_of(name)
        return found

    def merged(
        self, delivered: Mapping[str, Candidates], rules: BronzeRules
    ) -> tuple[Self, list[ColumnChange]]:
        """The state with a delivery's columns, and what changed.

        Of a table's first delivery every column is accepted; later ones are added, or kept out, as `rules.drift` says.
        """
        known: dict[str, ColumnState] = dict(self.columns)
        changes: list[ColumnChange] = []
        accepts_new = rules.drift.new_columns == "add"
        spelled = self.spelled(list(delivered), rules)
        for name, candidates in delivered.items():
            own = spelled.get(name, name)
            if own != name:
                changes.append(ColumnChange("spelled", own, own, name))
            before = known.get(own)
            if before is None:
                accepted = accepts_new or not self.columns
                known[own] = ColumnState(candidates=candidates, accepted=accepted)
                if self.columns:
                    changes.append(
                        ColumnChange("added" if accepted else "kept out", own, None, _shown(known[own]))
                    )
                continue
            left = _both(before.candidates, candidates)
            if left == before.candidates:
                continue
            known[own] = before.model_copy(update={"candidates": left})
            if known[own].rule != before.rule:
                changes.append(ColumnChange("type", own, _shown(before), _shown(known[own])))
        here = {spelled.get(name, name) for name in delivered}
        changes += [
            ColumnChange("missing", name)
            for name, state in known.items()
            if state.accepted and name not in here
        ]
        return type(self)(columns=known), changes

    @cached_property
    def rules(self) -> dict[str, CastRule]:
        """The learned type of every accepted column that is not taken as its file brought it."""
        found = {name: state.rule for name, state in self.columns.items() if state.accepted}
        return {name: rule for name, rule in found.items() if rule is not None}

    @property
    def accepted(self) -> tuple[str, ...]:
        """The columns of the table."""
        return tuple(name for name, state in self.columns.items() if state.accepted)

    @property
    def kept_out(self) -> tuple[str, ...]:
        """The columns that do not belong to the table."""
        return tuple(name for name, state in self.columns.items() if not state.accepted)

    def under(self, contract: Contract) -> Contract:
        """The contract, its version naming the learned types where types are learned."""
        if not contract.learns:
            return contract
        version = self.version if contract.version == NO_CONTRACT else f"{contract.version}+{self.version}"
        return contract.stamped(version=version, origin=contract.origin)

    @cached_property
    def version(self) -> str:
        """Names the learned types: other types, another version."""
        text = repr(sorted((name, rule.model_dump_json()) for name, rule in self.rules.items()))
        return f"learned-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _both(first: Candidates, second: Candidates) -> Candidates:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _date_rule(fitting: list[str]) -> CastRule:
    formats = tuple(name.removeprefix(DATE) for name in fitting)
    if len(formats) > 1:
        return CastRule(type="text")
    return CastRule(type="date") if formats == ("%Y-%m-%d",) else CastRule(type="date", formats=formats)


def _comma_rule(fitting: list[str]) -> CastRule:
    if COMMA_GROUPS in fitting:
        return CastRule(type="text")
    if COMMA_FLOAT in fitting:
        return CastRule(type="float64", decimal=",")
    return CastRule(
        type="decimal", precision=38, scale=int(fitting[0].removeprefix(COMMA_DECIMAL)), decimal=","
    )


def _datetime_rule(fitting: list[str]) -> CastRule:
    return CastRule(type="datetime", time_zone="UTC" if fitting == ["datetime:Z"] else None)


_NARROWEST_FIRST: Final[tuple[tuple[str, Callable[[list[str]], CastRule]], ...]] = (
    ("bool:", lambda _: CastRule(type="bool")),
    (INT, lambda _: CastRule(type="int64")),
    (FLOAT, lambda _: CastRule(type="float64")),
    (
        DECIMAL,
        lambda fitting: CastRule(type="decimal", precision=38, scale=int(fitting[0].removeprefix(DECIMAL))),
    ),
    (COMMA, _comma_rule),
    (DATE, _date_rule),
    ("datetime:", _datetime_rule),
)


def _shown(state: ColumnState) -> str:
    rule = state.rule
    if rule is None:
        return next(
            name.removeprefix(TYPED) for name in sorted(state.candidates or ()) if name.startswith(TYPED)
        )
    if state.candidates is None:
        return "no value yet"
    details = f"({rule.precision}, {rule.scale})" if rule.type == "decimal" else ""
    comma = " with a decimal comma" if rule.decimal == "," else ""
    return f"{rule.type}{details}{comma}"
