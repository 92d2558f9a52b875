"""A user who drops, deletes, renames and replaces files at random, against a daemon that is killed at random: stories.

Told by Hypothesis to the daemon's own parts in one process, and held against a model: a few names with a content each.
Every act of the daemon on the disk is a moment at which the user may act in between, or the daemon be killed. Used by
the campaign `crowded`.
"""

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TextIO
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from torture.campaign import Plan, Report
from torture.house import TABLE, House, KilledError, Moments
from torture.stories import Story, tell
from torture.world import column

NAMES = ("a.csv", "b.csv", "c.csv")


class UserStory(Story):
    """One story, in a folder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.work))
        self.house = House(self.folder / "root")
        self.landing = self.house.layout.landing / TABLE
        self.owed: set[str] = set()  # tokens that must come out once
        self.may: set[str] = set()  # tokens that were taken away by the user: once, or not at all
        self.shared: set[str] = set()  # tokens that stand in more than one file
        self.writer: TextIO | None = None
        self.held: set[str] = set()  # the tokens in the file that is open for writing
        self.count = 0

    # what the user does; all of it is over in a moment, whatever the daemon is at

    def put(self, name: str) -> None:
        """Drop a new file by rename, over whatever has the name."""
        token = self._token()
        arriving = self.folder / "arriving"
        arriving.write_text(f"id,note\n{token},written by a user\n")
        self._gone(name)
        arriving.rename(self.landing / name)
        self.owed.add(token)

    def copy(self, name: str, to: str) -> None:
        """The same content under another name, if that is free and nobody writes to it."""
        tokens = self._tokens(name)
        if tokens and not self._tokens(to) and not tokens & self.held:
            shutil.copyfile(self.landing / name, self.folder / "arriving")
            (self.folder / "arriving").rename(self.landing / to)
            self.shared |= tokens

    def write(self, name: str) -> None:
        """Open a file that lies there, to write on in it and let it go some time later."""
        tokens = self._tokens(name)
        if self.writer is None and tokens and not tokens & self.shared:
            self.writer, self.held = (self.landing / name).open("a"), tokens

    def delete(self, name: str) -> None:
        """Take away what lies there."""
        self._gone(name)
        (self.landing / name).unlink(missing_ok=True)

    def move(self, name: str, to: str) -> None:
        """Give a file another name, over whatever has that."""
        if self._tokens(name) and name != to:
            self._gone(to)
            (self.landing / name).rename(self.landing / to)

    def _token(self) -> str:
        self.count += 1
        return f"U{self.count:05}"

    def _tokens(self, name: str) -> set[str]:
        """What stands in a file, if it lies there."""
        path = self.landing / name
        return set(re.findall(r"U\d{5}", path.read_text())) if path.exists() else set()

    def _gone(self, name: str) -> None:
        """What lies under a name is about to be taken away; what the daemon took already is not."""
        self.may |= self._tokens(name)
        self.owed -= self.may

    def act(self, action: str, name: str, to: str) -> None:
        """Do one of these."""
        if action in {"copy", "move"}:
            getattr(self, action)(name, to)
        else:
            getattr(self, action)(name)

    names = st.sampled_from(NAMES)
    actions = st.sampled_from(("put", "put", "put", "copy", "delete", "move", "write", "write"))

    @rule(action=actions, name=names, to=names)
    def user(self, action: str, name: str, to: str) -> None:
        self.act(action, name, to)

    @precondition(lambda self: self.writer)
    @rule()
    def let_go(self) -> None:
        """The user writes a last record into the open file, wherever it is by now, and closes it."""
        assert self.writer is not None
        token = self._token()
        (self.may if self.held & self.may else self.owed).add(token)
        with self.writer as writer:
            writer.write(f"{token},added by a user\n")
        self.writer, self.held = None, set()

    @rule()
    def tick(self) -> None:
        self.house.tick()

    @rule(action=actions, name=names, to=names, at=st.integers(0, 40))
    def user_in_a_tick(self, action: str, name: str, to: str, at: int) -> None:
        moments = Moments()

        self._meddled(moments, lambda: self._interfere(moments, action, name, to), at)

    def _interfere(self, moments: Moments, action: str, name: str, to: str) -> None:
        with mock.patch.dict(vars(os), moments.real):
            self.act(action, name, to)

    @rule(at=st.integers(0, 120))
    def killed_in_a_tick(self, at: int) -> None:
        self._killed(Moments(), at)

    @rule(name=names, at=st.integers(1, 5))
    def killed_right_after_a_claim(self, name: str, at: int) -> None:
        self.put(name)
        self._killed(Moments(from_claim=True), at)

    @rule(name=names, then=st.sampled_from(("nothing", "another file", "killed")))
    def opened_just_before_a_claim(self, name: str, then: str) -> None:
        """Too late to be seen by the look before; and what may happen as soon as the file is claimed."""
        self.put(name)
        moments = Moments(from_claim=True)

        def opened() -> None:
            self._interfere(moments, "write", name, name)
            if then != "nothing":
                moments.before, moments.at = next_, 1

        def next_() -> None:
            if then == "killed":
                moments.die()
            self._interfere(moments, "put", name, name)

        self._meddled(moments, opened, 0)
        self.house.stop()
        self.house.start()

    def _killed(self, moments: Moments, at: int) -> None:
        self._meddled(moments, moments.die, at)
        self.house.stop()
        self.house.start()

    @precondition(lambda self: self.count)
    @rule(at=st.integers(0, 30))
    def killed_in_recovery(self, at: int) -> None:
        self.house.stop()
        moments = Moments()
        moments.before, moments.at = moments.die, at
        with moments.watched():
            try:
                self.house.start()
            except KilledError:
                self.report.planned += 1
                self.report.fired += 1
        self.house.stop()
        self.house.start()

    def _meddled(self, moments: Moments, what: Callable[[], None], at: int) -> None:
        """A tick with a fault in it; where the tick is shorter than that, the fault comes after it."""
        moments.before, moments.at = what, at
        self.report.planned += 1
        with moments.watched():
            try:
                self.house.tick()
                if moments.before is not None:
                    moments.at = 0
                    moments.moment()
            except (KilledError, FileNotFoundError):  # a file went from under the daemon: it tries again
                pass
        self.report.fired += moments.before is None

    def teardown(self) -> None:
        if self.writer is not None:
            self.let_go()
        for _ in range(3):
            self.house.tick()
        root = self.house.layout.root
        found = Counter(column(f"{root}/data/gold/main/{TABLE}/*.parquet", "id"))
        self.house.stop()
        lost = [token for token in self.owed if found[token] == 0]
        doubled = [token for token, times in found.items() if times > 1]
        shutil.rmtree(self.folder)
        self.report.records_in += len(self.owed)
        self.report.lost += len(lost)
        self.report.doubled += len(doubled)
        assert not lost, f"lost: {lost}"
        assert not doubled, f"doubled: {doubled}"


def play(plan: Plan, report: Report, stories: int) -> None:
    """Tell so many stories, or the broken build's until one goes wrong."""
    from daemon.landing.claims import Claims

    broken = mock.patch.object(Claims, "recover", return_value=[])
    tell(UserStory, plan, report, stories=stories, acts=12, broken=broken)
