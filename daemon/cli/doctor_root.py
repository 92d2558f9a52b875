"""The doctor's looks at a root: permissions, file systems, leases, the ledger and its times, the daemon.

Each takes the layout of the root and returns a Finding; OSError passes through.
"""

import os
import tempfile
import time
import uuid
from pathlib import Path

from daemon.catalog.ledger.lock import lock_holder
from daemon.cli.findings import Finding, fail, ok, warn
from daemon.cli.output import age
from daemon.cli.roots import open_ledger
from daemon.errors import HaltError
from daemon.lake.layout import Layout
from daemon.lake.leases import lease_answer
from daemon.lake.lost_ledger import refuse_lost_ledger

_PREFIX = ".medalliond-doctor-"
"""Landing never takes a file whose name begins with a dot."""


def permissions(layout: Layout) -> Finding:
    """See whether this user may do in the root what the daemon does."""
    missing = [folder for folder in (layout.landing, layout.data, layout.catalog) if not folder.is_dir()]
    if missing:
        return fail(f"{missing[0]} is missing", f"medalliond init {layout.root}")
    for folder in (layout.landing, layout.data, layout.catalog):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return fail(
                f"{folder} is on a file system that is mounted read-only",
                "mount it so that it can be written",
            )
    who = f"user {os.geteuid()}"
    for folder in (layout.landing, layout.data, layout.catalog):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            return fail(
                f"{who} may not write in {folder}", f"chown -R {os.geteuid()} {folder}, or run as its owner"
            )
    for folder in _subfolders(layout.landing):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            return warn(
                f"{who} may not take files out of {folder}",
                f"chmod g+rwxs {folder}, with the daemon in its group",
            )
    return ok(f"{who} may read and write landing/, data/ and catalog/")


def file_systems(layout: Layout) -> Finding:
    """See whether landing and data are on one file system, so that archiving is a rename."""
    claimed = layout.landing / ".claimed"
    landing, data = layout.landing.stat().st_dev, layout.data.stat().st_dev
    if claimed.is_dir() and claimed.stat().st_dev != landing:
        return fail(
            f"{claimed} is another file system than landing", "unmount it: files are claimed by a rename"
        )
    if landing != data:
        return warn(
            "landing and data are on different file systems: every file is copied into the archive",
            "nothing, if that was meant; `archive: delete` or `keep` in the contracts copies nothing",
        )
    return ok("landing and data are on one")


def leases(layout: Layout) -> Finding:
    """See whether it can be told that somebody still writes a file."""
    with tempfile.NamedTemporaryFile(prefix=_PREFIX, dir=layout.landing) as written:
        path = Path(written.name)
        during = lease_answer(path)
        written.file.close()
        after = lease_answer(path)
    if (during, after) == ("open_for_writing", "free"):
        return ok("a file that is being written is told from a finished one")
    return warn(
        f"not to be had here ({during} while written, {after} afterwards): quiet files count as finished",
        "put landing on a local file system; until then give slow writers a longer `settle`",
    )


def ledger(layout: Layout) -> Finding:
    """See whether the ledger is whole."""
    try:
        refuse_lost_ledger(layout)
        if not layout.ledger.exists():
            return ok("none yet: the first run makes it")
        with open_ledger(layout) as views:
            version, damage = views.version(), views.damage()
    except HaltError as error:
        return fail(str(error), "do what it says; until then no daemon starts here")
    if damage:
        return fail(
            f"{layout.ledger} is damaged: {damage}", "stop the daemon and restore the ledger from a backup"
        )
    return ok(f"version {version}, whole")


def clock_against_ledger(layout: Layout) -> Finding:
    """See whether the wall clock was set back behind what the ledger has seen."""
    if not layout.ledger.exists():
        return ok("nothing to compare with yet")
    try:
        with open_ledger(layout) as views:
            newest = views.newest_batch()
    except HaltError:
        return warn("the ledger cannot be read", "see the line about the ledger")
    return judge_newest_batch(newest, time.time())


def judge_newest_batch(newest: str | None, now: float) -> Finding:
    """Judge the id of the newest batch, which begins with the milliseconds at which it was made.

    `now` is in seconds since 1970.
    """
    if newest is None:
        return ok("nothing to compare with yet")
    behind = (uuid.UUID(newest).int >> 80) / 1000 - now
    if behind > 60:  # noqa: PLR2004 - a minute: more than clocks are slewed by
        return warn(
            f"the newest batch was made {age(behind)} in the future: the clock was set back",
            "set the clock right; ids go on in their order, but the times in lineage are not to be trusted until then",
        )
    return ok("later than everything in the ledger")


def daemon(layout: Layout) -> Finding:
    """See whether a daemon works here."""
    pid = lock_holder(layout.lock)
    return ok("none is running on this root" if pid is None else f"at work, pid {pid}")


def _subfolders(landing: Path) -> list[Path]:
    return [path for path in landing.rglob("*") if path.is_dir() and not path.is_symlink()]
