"""Claiming: ready files are renamed into `landing/.claimed/<batch_id>/`, so that nobody changes them under us.

Called by intake. The ledger knows the intent before the first rename, and is told after the folders are
synced what the disk shows; a crash at any point is put right by `recover`. Batches of several tables are claimed
together, with one commit for each of the two.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from daemon.catalog.identity import new_id
from daemon.catalog.ledger.intake import ClaimIntent, IntakeLedger, OpenClaim
from daemon.catalog.promotion import TableKey
from daemon.events import Event
from daemon.lake.durable import make_directories, make_directory, sync_directory
from daemon.lake.layout import Layout
from daemon.lake.leases import lease_answer

log = structlog.get_logger(__name__)

_NAME_MAX = 255


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file that may be claimed.

    `path` is absolute, `name` what `_source_file` will say; `marker` is its done-marker.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    inode: int
    marker: str | None = None


class Claims:
    """Turns ready files of tables into batches."""

    def __init__(self, ledger: IntakeLedger, layout: Layout) -> None:
        self._ledger = ledger
        self._layout = layout
        self._root = f"{layout.root}/"

    def claim(self, batches: Mapping[TableKey, Sequence[ReadyFile]], now: datetime) -> dict[TableKey, str]:
        """Claim files of each table as one batch; returns the ids of the batches that came to be, by table.

        A file that vanished, was replaced or opened for writing meanwhile stays out of its batch; there is none where none
        was left to claim. Raises OSError and RetryLaterError for the machine's faults: what was renamed by then is
        recovered by `recover`.
        """
        claims = [self._intended(key, files) for key, files in batches.items()]
        self._ledger.intend(claims, now)
        place = self._layout.claimed("")
        if not place.is_dir():
            make_directory(place)  # raises where landing is gone: its place is left to whoever brings it back
        for claim in claims:
            os.mkdir(f"{place}/{claim.batch_id}")  # made durable together with the names of the files in it
            for intent in claim.intents:
                _take(self._root + intent.landing_path, self._root + intent.claimed_path, intent)
        files = [file for batch in batches.values() for file in batch]
        for folder in {os.path.dirname(file.path) for file in files}:
            sync_directory(folder)
        confirmed = self._confirm(claims, now)
        for file in files:
            if file.marker is not None and not os.path.lexists(file.path):
                with suppress(FileNotFoundError):
                    os.unlink(file.marker)
        return confirmed

    def recover(self, now: datetime) -> list[TableKey]:
        """Put right the claims that a crash or a refusal left half done, from what the disk shows.

        Returns their tables. Raises OSError and RetryLaterError.
        """
        claims = self._ledger.open_claims()
        for claim in claims:
            self._claim_anew(claim, now)
            self._confirm([claim], now)
            log.info(
                Event.CLAIM_RECOVERED, domain=claim.key.domain, table=claim.key.table, batch_id=claim.batch_id
            )
        return [claim.key for claim in claims]

    def give_back_forgotten(self) -> bool:
        """Put back into landing files of claims that were given up, if their names are free.

        They came back with landing, which was not mounted when the claim ended, or was looked at as it went; and so may
        have done folders that were emptied as it went: those are removed. Only while no claim is being made. Returns
        whether any went back. Raises OSError and RetryLaterError.
        """
        root, found = self._root, False
        for folder in self._layout.claimed("").glob("*"):
            given_up = self._ledger.given_up(folder.name)
            for intent in given_up:
                if os.path.lexists(root + intent.claimed_path):
                    make_directories(Path(root + intent.landing_path).parent)
                    found |= _give_back(root + intent.claimed_path, root + intent.landing_path)
            _remove_empty(folder)
        return found

    def _intended(self, key: TableKey, files: Sequence[ReadyFile]) -> OpenClaim:
        batch_id = new_id()
        inside = self._layout.relative(self._layout.claimed(batch_id))
        intents = (
            ClaimIntent(
                name=file.name,
                landing_path=file.path.removeprefix(self._root),
                claimed_path=f"{inside}/{_claimed_name(ordinal, file.path)}",
                size=file.size,
                mtime_ns=file.mtime_ns,
                inode=file.inode,
            )
            for ordinal, file in enumerate(files)
        )
        return OpenClaim(batch_id, key, tuple(intents))

    def _claim_anew(self, claim: OpenClaim, now: datetime) -> None:
        """Take what a claim has got into another folder: a sync of the first may have failed.

        One that succeeds after that proves nothing of the names that were there before.
        """
        root, batch_id = self._root, new_id()
        folder = self._layout.claimed(batch_id)
        taken = [intent for intent in claim.intents if os.path.lexists(root + intent.claimed_path)]
        if not taken:
            return
        inside = self._layout.relative(folder)
        intents = tuple(
            replace(intent, claimed_path=f"{inside}/{os.path.basename(intent.claimed_path)}")
            for intent in taken
        )
        anew = OpenClaim(batch_id, claim.key, intents)
        self._ledger.intend([anew], now)
        folder.mkdir()
        for old, new in zip(taken, intents, strict=True):
            os.rename(root + old.claimed_path, root + new.claimed_path)
        self._confirm([anew], now)

    def _confirm(self, claims: Sequence[OpenClaim], now: datetime) -> dict[TableKey, str]:
        """Tell the ledger which files are ours: those in the folders. Raises FileNotFoundError where landing is gone."""
        claimed = {claim.batch_id: self._ours(claim) for claim in claims}
        if not self._layout.landing.is_dir():  # moved away for a while, and what we claimed with it
            raise FileNotFoundError(errno.ENOENT, "landing is gone", str(self._layout.landing))
        folders = [self._layout.claimed(batch_id) for batch_id, sizes in claimed.items() if sizes]
        for folder in (*folders, *{folder.parent for folder in folders}):
            sync_directory(folder)
        confirmed = self._ledger.confirm(claimed, new_id, now)
        for claim in claims:
            sizes = claimed[claim.batch_id]
            if claim.batch_id not in confirmed:
                _remove_empty(self._layout.claimed(claim.batch_id))
                continue
            log.info(
                Event.BATCH_CLAIMED,
                domain=claim.key.domain,
                table=claim.key.table,
                batch_id=claim.batch_id,
                files=len(sizes),
                bytes=sum(size for size, _ in sizes.values()),
            )
        return {claim.key: claim.batch_id for claim in claims if claim.batch_id in confirmed}

    def _ours(self, claim: OpenClaim) -> dict[int, tuple[int, int]]:
        """Size and mtime_ns of those files of a claim that are in its folder to stay, by ordinal."""
        sizes = {}
        for ordinal, intent in enumerate(claim.intents):
            with suppress(FileNotFoundError):
                found = _kept(self._root + intent.claimed_path, self._root + intent.landing_path)
                if found is not None:
                    sizes[ordinal] = (found.st_size, found.st_mtime_ns)
        return sizes


def _take(landing_path: str, claimed_path: str, intent: ClaimIntent) -> None:
    """Rename one file to us, unless it is no longer the file that was ready."""
    try:
        found = os.lstat(landing_path)
        if found.st_ino != intent.inode:
            return
        os.rename(landing_path, claimed_path)
    except FileNotFoundError:
        return


def _kept(claimed_path: str, landing_path: str) -> os.stat_result | None:
    """What was claimed, as it looks; None where it went back: no regular file, or somebody has it open for writing.

    Where one of those cannot go back it stays ours: staging waits for its writer. Raises FileNotFoundError.
    """
    if not stat.S_ISREG(os.lstat(claimed_path).st_mode):
        _put_out(claimed_path, landing_path)
        return None
    unfinished = _is_back(claimed_path, landing_path) or lease_answer(claimed_path) == "open_for_writing"
    if unfinished and _give_back(claimed_path, landing_path):
        return None
    return os.lstat(claimed_path)


def _is_back(claimed_path: str, landing_path: str) -> bool:
    """Whether a crash came between the two steps of giving a file back."""
    try:
        return os.path.samestat(os.lstat(claimed_path), os.lstat(landing_path))
    except FileNotFoundError:
        return False


def _give_back(claimed_path: str, landing_path: str) -> bool:
    """Let a file go back to landing. False where its name is taken again, or it may not be linked to."""
    try:
        os.link(claimed_path, landing_path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOENT, errno.EPERM}:
            raise
        if not _is_back(claimed_path, landing_path):
            return False
    sync_directory(os.path.dirname(landing_path))  # before its other name goes
    os.unlink(claimed_path)
    return True


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {
            errno.ENOTEMPTY,
            errno.ENOENT,
            errno.ENOTDIR,
        }:  # a stray file is nobody's claim
            raise


def _put_out(claimed_path: str, landing_path: str) -> None:
    """A link, pipe or device took the file's place between the look and the rename: nobody may open it.

    It goes back; where the name is taken again it is removed, which costs no data.
    """
    if not _give_back(claimed_path, landing_path):
        os.unlink(claimed_path)


def _claimed_name(ordinal: int, path: str) -> str:
    """A name that is unique within the batch and fits a directory entry; it keeps the endings, which readers look at.

    It is UTF-8 whatever the sender's name is: Polars takes no other path. The sender's name comes back at rest.
    """
    readable = (
        os.fsencode(os.path.basename(path))
        .decode("utf-8", "replace")
        .replace("\N{REPLACEMENT CHARACTER}", "_")
    )
    name = f"{ordinal}-{readable}".encode()
    if len(name) > _NAME_MAX:
        name = name[: _NAME_MAX - 64] + name[-64:]
    return name.decode("utf-8", "ignore")
