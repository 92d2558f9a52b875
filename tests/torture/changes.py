"""People who change what is published, against a daemon that is killed at random: stories, held against a model.

Deliveries come, one or several files at once; they are undone and brought back, whole or by the file, made anew from every
layer, under contracts that are edited, merged into larger files and taken out of them again, and records that a check
caught are released or discarded. The daemon is killed before any act on the disk, and before and after any commit of the
ledger. Whenever a story comes to rest, gold holds the rows that the model says, quarantine as many as it says, and `verify`
proves the root. Told by Hypothesis to the daemon's own parts in one process.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
from hypothesis import strategies as st
from hypothesis.stateful import rule

from torture.campaign import Campaign, Plan, Report
from torture.house import Moments
from torture.stories import Story, tell
from torture.workshop import Workshop

_AMOUNTS = st.sampled_from(("10", "20", "30", "500", "700", "x"))
_KEYS = st.lists(st.integers(1, 6), min_size=1, max_size=6, unique=True)
_WISHES = ("deliver", "undo", "redo", "rebuild", "edit", "judge")
_CHECK = "check:small"


@dataclass
class Delivered:
    """A dropped file as the model knows it: key, amount and token of each record; whether it is undone; its turn."""

    rows: Sequence[tuple[int, str, str]]
    turn: int
    is_undone: bool = False
    is_known: bool = False  # its content was there already: kept beside, and counted


@dataclass(frozen=True)
class Terms:
    """What the contract says."""

    check: bool = True
    keep: str | None = "last"
    derived: bool = False

    def text(self) -> str:
        """The contract."""
        silver = ["  checks: [{name: small, sql: amount < 100}]"] if self.check else []
        silver += [f"  dedup: {{keys: [key], keep: {self.keep}}}"] if self.keep else []
        gold = ["gold:", "  sql: SELECT *, amount * 2 AS twice FROM silver"] if self.derived else []
        bronze = ["bronze:", "  cast: {key: int64, amount: int64, token: text}"]
        return "\n".join([*bronze, *(["silver:"] if silver else []), *silver, *gold, ""])


class ChangeStory(Story):
    """One story, in a folder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.work))
        self.shop = Workshop(self.folder / "root")
        self.files: dict[str, Delivered] = {}
        self.verdicts: dict[tuple[str, int], str] = {}
        self.asked: list[tuple[str, Callable[[], None]]] = []
        self.terms = Terms()
        self.count = 0
        self.shop.contract(self.terms.text())

    # what people wish

    def deliver(self, data: st.DataObject) -> None:
        """One to three files at once; no key twice among them, as which of them comes first is not promised."""
        keys, parts = data.draw(_KEYS), data.draw(st.integers(1, 3))
        for part in range(min(parts, len(keys))):
            rows = [(key, data.draw(_AMOUNTS), f"T{self._next():05}") for key in keys[part::parts]]
            self._drop(Delivered(rows, self.count))

    def undo(self, data: st.DataObject) -> None:
        """Take back one file, or all that came with it."""
        names, whole = self._chosen(data, is_undone=False), data.draw(st.booleans())
        if names and whole:
            together = [(name, self.files[name]) for name in self.shop.companions(names[0])]
            names = [name for name, file in together if not file.is_undone and not file.is_known]
        self._ask_about(names, "undo", is_undone=True)

    def redo(self, data: st.DataObject) -> None:
        """Bring one back."""
        self._ask_about(self._chosen(data, is_undone=True), "redo", is_undone=False)

    def rebuild(self, data: st.DataObject) -> None:
        """Make everything anew above a layer."""
        base = data.draw(st.sampled_from(("landing", "staged", "bronze")))
        self._ask(
            "rebuild", lambda: None, base=base, batches=self.shop.batches() if base == "landing" else None
        )

    def edit(self, data: st.DataObject) -> None:
        """Another contract, also for what is there."""
        self.come_to_rest()
        self.terms = data.draw(
            st.builds(Terms, st.booleans(), st.sampled_from((None, "first", "last")), st.booleans())
        )
        self.shop.contract(self.terms.text())
        self._ask("rebuild", lambda: None, base="staged")

    def judge(self, data: st.DataObject) -> None:
        """Release or discard a record that the check caught."""
        self.come_to_rest()
        held = [place for place in self._caught() if place not in self.verdicts]
        if held:
            place, act = data.draw(st.sampled_from(held)), data.draw(st.sampled_from(("release", "discard")))
            record = self.shop.record(*place, _CHECK)
            self._ask(act, partial(self.verdicts.__setitem__, place, act), records=(record,))

    @rule(wish=st.sampled_from(_WISHES), data=st.data())
    def somebody_wishes(self, wish: str, data: st.DataObject) -> None:
        getattr(self, wish)(data)

    @rule(data=st.data())
    def somebody_delivers_it_again(self, data: st.DataObject) -> None:
        """The content of a file under another name: taken if no file has it in gold."""
        self.come_to_rest()
        names = self._chosen(data)
        if names:
            rows = self.files[names[0]].rows
            twins = [file for file in self.files.values() if file.rows == rows]
            known = any(not file.is_undone and not file.is_known for file in twins)
            self._drop(Delivered(rows, self._next(), is_known=known))
            self.come_to_rest()

    # what the daemon does, or dies of

    @rule()
    def small_files_are_merged(self) -> None:
        self.shop.merge()

    @rule()
    def come_to_rest(self) -> None:
        """Everything that was asked for is done; what came of it is as the model says."""
        self.shop.work()
        for request_id, effect in self.asked:
            if self.shop.agreed(request_id):
                effect()
        self.asked.clear()
        self._compare()

    @rule(
        wish=st.sampled_from((*_WISHES, "nothing")),
        at=st.integers(0, 150),
        merges=st.booleans(),
        data=st.data(),
    )
    def killed(self, wish: str, at: int, *, merges: bool, data: st.DataObject) -> None:
        """While it does what somebody wishes; where that is over before, the kill comes after it."""
        if wish != "nothing":
            getattr(self, wish)(data)
        moments = Moments()
        moments.before, moments.at = moments.die, at
        self.report.planned += 1
        self.shop.work_until_killed(moments, merges=merges)
        self.report.fired += 1

    # the model

    def _next(self) -> int:
        self.count += 1
        return self.count

    def _drop(self, file: Delivered) -> None:
        name = f"f{self._next():05}.csv"
        self.files[name] = file
        lines = ["key,amount,token", *(",".join(map(str, row)) for row in file.rows)]
        self.shop.drop(name, "\n".join(lines) + "\n")

    def _chosen(self, data: st.DataObject, *, is_undone: bool | None = None) -> list[str]:
        names = [
            name
            for name, file in self.files.items()
            if not file.is_known and is_undone in {None, file.is_undone} and self.shop.file(name)
        ]
        return [data.draw(st.sampled_from(names))] if names else []

    def _ask(self, act: str, effect: Callable[[], None], **what: Any) -> None:
        self.asked.append((self.shop.ask(act, **what), effect))

    def _ask_about(self, names: Sequence[str], act: str, *, is_undone: bool) -> None:
        def effect() -> None:
            for name in names:
                self.files[name].is_undone = is_undone

        if names:
            known = [self.shop.file(name) for name in names]
            self._ask(act, effect, files=tuple(file.file_id for file in known if file is not None))

    def _standing(self) -> list[tuple[str, int, tuple[int, str, str]]]:
        """File, number and fields of each record of what is not undone, in the order of arrival."""
        return [
            (name, number, row)
            for name, file in sorted(self.files.items(), key=lambda item: item[1].turn)
            if not file.is_undone and not file.is_known
            for number, row in enumerate(file.rows, 1)
        ]

    def _caught(self) -> list[tuple[str, int]]:
        """The records that the check does not let pass."""
        found = [
            (name, number) for name, number, (_, amount, _) in self._standing() if amount in {"500", "700"}
        ]
        return [place for place in found if self.terms.check and self.verdicts.get(place) != "release"]

    def _gold(self) -> list[tuple[int, int, str]]:
        caught = set(self._caught())
        valid = [
            (key, int(amount), token)
            for name, number, (key, amount, token) in self._standing()
            if amount != "x" and (name, number) not in caught
        ]
        if self.terms.keep is None:
            return sorted(valid)
        return sorted({row[0]: row for row in (valid if self.terms.keep == "last" else valid[::-1])}.values())

    def _compare(self) -> None:
        frame = self.shop.gold()
        rows = frame.select("key", "amount", "token").rows() if frame.width else []
        wanted = Counter(self._gold())
        found = Counter(rows)
        self.report.lost += (wanted - found).total()
        self.report.doubled += (found - wanted).total()
        assert found == wanted
        if self.terms.derived and frame.width:
            assert frame.filter(pl.col("twice").ne_missing(pl.col("amount") * 2)).is_empty()
        uncast = sum(amount == "x" for _, _, (_, amount, _) in self._standing())
        aside = Counter({"cast:amount": uncast, _CHECK: len(self._caught())})
        assert self.shop.set_aside() == +aside
        assert self.shop.problems() == []

    def teardown(self) -> None:
        self.come_to_rest()
        self.report.records_in += sum(len(file.rows) for file in self.files.values())
        self.shop.stop()
        shutil.rmtree(self.folder)


def run(plan: Plan) -> Report:
    """Tell `n` stories, or a broken build's until one goes wrong."""
    from daemon.catalog.ledger.rebuilds import RebuildLedger

    report = Report()
    broken = mock.patch.object(RebuildLedger, "is_known", return_value=False)
    tell(ChangeStory, plan, report, stories=plan.n, acts=25, broken=broken)
    return report


CAMPAIGN = Campaign(
    "changes",
    "undo, redo, rebuilds, edited contracts, merging, released records, and kills, held against a model",
    run,
    short=6,
    long=2000,
    teeth={"requests_forgotten": 60},
)
