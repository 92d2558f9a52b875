"""The kernel refuses a call: every error at every call where it can come, once or from there on; then the disk is well."""

import errno
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import PurePath

from torture import shim
from torture.campaign import Campaign, Outcome, Plan, Report
from torture.lanes import Lane, Lanes
from torture.life import LEFT_FOR_LATER, SETUP, Life
from torture.scenes import calm_lives
from torture.shim import Action, Call, Calls, Fault

_FULL = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
ERRORS: dict[Calls, tuple[int, ...]] = {
    Calls.CREATE: (*_FULL, errno.EROFS, errno.EMFILE),
    Calls.READ: (errno.EIO, errno.EMFILE),
    Calls.WRITE: _FULL,
    Calls.SYNC: _FULL,
    Calls.RENAME: (*_FULL, errno.EROFS),
    Calls.LINK: (*_FULL, errno.EROFS),
    Calls.SYMLINK: (*_FULL, errno.EROFS),
    Calls.REMOVE: (errno.EIO, errno.EROFS),
    Calls.MKDIR: (*_FULL, errno.EROFS),
    Calls.TRUNCATE: (errno.EIO,),
    Calls.CHMOD: (errno.EIO, errno.EROFS),
}
"""What the kernel may answer to each kind of call."""

_LASTING = 1_000_000
_TRIES = 5
"""A run may make a few calls less than the calm one did: then an earlier call is refused instead."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The `number`-th call of a kind is refused with `error`, and where `lasting`, every later one of the kind.

    `by_ledger`: it is SQLite that makes the call, in a calm run.
    """

    life: Life
    kind: Calls
    number: int
    error: int
    lasting: bool
    by_ledger: bool

    def __str__(self) -> str:
        how = " and all after it" if self.lasting else ""
        return f"{self.life.scene.name}: {errno.errorcode[self.error]} at {self.kind.name} {self.number}{how}"


@dataclass(frozen=True, slots=True)
class Refused:
    """A run in which calls were refused: whether any was, how it ended, and what came of it once the disk was well."""

    fired: bool
    status: int
    outcome: Outcome


def run(plan: Plan) -> Report:
    """Refuse calls in `n` runs, spread over all kinds, errors and calls; drain without faults; judge."""
    chance = random.Random(plan.seed)
    with Lanes(plan.work) as lanes:
        refusals = list(_refusals(calm_lives(lanes, plan)))
        chosen = list(islice(_in_turn(chance.sample(refusals, len(refusals))), plan.n))
        done = lanes.spread(lambda lane, refusal: _refuse(lane, refusal, plan), chosen)
    report = Report(planned=len(done), figures={"possible": f"{len(refusals):,}"})
    for one in done:
        report.fired += one.fired
        one.outcome.add_to(report)
    for status, words in ((0, "done all the same"), (3, "left for later"), (1, "stopped")):
        report.figures[words] = f"{sum(one.status == status for one in done):,}"
    return report


def _refusals(lives: Iterable[tuple[Life, list[Call]]]) -> Iterator[Refusal]:
    """Every call of a calm run, with every error it may meet. One error in four lasts."""
    for life, made in lives:
        for kind, errors in ERRORS.items():
            for number, call in enumerate((call for call in made if call.kind is kind), 1):
                for error in errors:
                    yield Refusal(
                        life,
                        kind,
                        number,
                        error,
                        lasting=(number + error) % 4 == 0,
                        by_ledger=PurePath(call.path).name.startswith("state.sqlite3"),
                    )


def _in_turn(refusals: Iterable[Refusal]) -> Iterator[Refusal]:
    """Each kind of call in turn: our own, then SQLite's, with errors that come once; then with those that last."""
    groups: dict[tuple[bool, bool, Calls], list[Refusal]] = {}
    for refusal in refusals:
        groups.setdefault((refusal.lasting, refusal.by_ledger, refusal.kind), []).append(refusal)
    for turn in zip_longest(*(groups[group] for group in sorted(groups))):
        yield from (refusal for refusal in turn if refusal is not None)


def _refuse(lane: Lane, refusal: Refusal, plan: Plan) -> Refused:
    setup = (
        SETUP
        | (LEFT_FOR_LATER if refusal.lasting else {})
        | ({"TORTURE_BREAKAGE": plan.breakage} if plan.breakage else {})
    )
    times = _LASTING if refusal.lasting else 1
    for _ in range(_TRIES):
        root = refusal.life.begin(lane.root)
        fault = Fault(Action.FAIL, refusal.number, times, refusal.error, refusal.kind)
        try:
            status = lane.warm.run(root, ["drain"], setup=setup, fault=fault)
        except TimeoutError as error:
            return Refused(fired=True, status=-1, outcome=Outcome(hands=1, findings=[f"{refusal}: {error}"]))
        made = lane.warm.shim.calls()
        if any(call.met for call in made):
            break
        refusal = replace(refusal, number=max(1, refusal.number // 2))
    first = lane.warm.log.read_text()[-1500:]
    again = lane.warm.run(root, ["drain"], setup=setup)
    made += lane.warm.shim.calls()
    outcome = refusal.life.judge(lane.warm, root, again, str(refusal))
    outcome.findings += [f"{refusal}: {told}" for told in trusted_after_failure(made)]
    if status not in {0, 1, 3}:
        outcome.findings.append(f"{refusal}: the daemon ended with {status}: {first}")
    return Refused(any(call.met for call in made), status, outcome)


def trusted_after_failure(calls: Iterable[Call]) -> Iterator[str]:
    """Syncs that failed, were tried again with nothing written anew, and succeeded: the kernel may have lost the pages.

    A file is written anew by a write to it, a folder by a name that comes or goes in it. What was not written since a
    sync that succeeded has nothing to lose.
    """
    doubtful: dict[int, str] = {}
    clean: dict[int, str] = {}
    for call in calls:
        if call.kind is Calls.SYNC and call.met is Action.FAIL:
            if call.inode not in clean:
                doubtful[call.inode] = call.path
        elif call.kind is Calls.SYNC:
            if doubtful.pop(call.inode, None) is not None:
                yield f"{call.path}: a sync that failed was tried again and trusted"
            clean[call.inode] = call.path
        elif call.met is Action.NOTHING and call.kind is not Calls.READ:
            for known in (doubtful, clean):
                for inode in _changed(known, call):
                    del known[inode]


def _changed(known: Mapping[int, str], call: Call) -> list[int]:
    """Which of the files and folders, known by inode and path, a call writes anew."""
    folder = str(PurePath(call.path).parent).rstrip("/")
    return [
        inode
        for inode, path in known.items()
        if (inode == call.inode and call.kind in Calls.WRITE | Calls.REMOVE | Calls.TRUNCATE)
        or (path == folder and call.kind not in Calls.WRITE | Calls.SYNC)
    ]


CAMPAIGN = Campaign(
    "ioerrors",
    "EIO, ENOSPC, EDQUOT, EROFS, EMFILE at every open, write, sync, rename, link, mkdir and unlink",
    run,
    short=12,
    long=2000,
    teeth={"syncs_again": 11},
    missing=shim.missing,
)
