"""A real daemon under siege: a sample of damaged files, the bombs and the oddities, all at once. Part of `hostile`."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from torture import oracle
from torture.campaign import Plan, Report
from torture.world import World, column

_MEMORY = 400_000_000
_OVERSHOOT = 1_000_000_000
"""What a worker may hold beyond its limit until it is ended: the looks are a tenth of a second apart."""
_LARGE = 10_000
"""From so many files on the bombs that take minutes are part of it."""
_PATIENCE = 100.0
_LITTLE_PATIENCE = 20.0
"""For a build that follows links, and waits for ever for some of them."""
_SWAPPING = 6.0
"""Seconds in which a sender changes a file into a link and back."""
_NEEDED = {"no_memory_limit": ["one_line.csv.gz"], "follows_links": []}
"""The bombs that a broken build has to be sent."""
_MADE_FOR = {"follows_links": {"sweep_interval": "60"}}
"""What a broken build has to be told: this one follows what an event names, until a sweep sees that it is a link."""


def besiege(plan: Plan, report: Report) -> None:
    """Send it all to a daemon, and account for it."""
    from torture.bombs import EARLY, LATE, Oddities, put_oddities

    world = World(plan.work, plan.breakage)
    landing = world.root / "landing"
    odd = Oddities()
    put_oddities(odd, landing, world.outside, EARLY)
    files = _files(plan)
    for name, content in files.items():
        path = landing / name
        path.parent.mkdir(exist_ok=True)
        (world.outside / "arriving").write_bytes(content)
        (world.outside / "arriving").rename(path)
    settings = {
        "worker_memory": str(_MEMORY),
        "worker_timeout": "30",
        "retry_base": "0.1",
        "incomplete_wait": "5",
        **_MADE_FOR.get(plan.breakage or "", {}),
    }
    said = plan.work / "daemon.log"
    with said.open("wb") as log:
        daemon = subprocess.Popen(
            world.command("run"), env=world.environment(**settings), stdout=log, stderr=subprocess.STDOUT
        )
        watch = _Watch(daemon.pid)
        watch.start()
        while b"daemon_ready" not in said.read_bytes() and daemon.poll() is None:
            time.sleep(0.05)
        put_oddities(odd, landing, world.outside, LATE)
        with _swapping(landing, world.outside / "secret.csv"):
            patience = _LITTLE_PATIENCE if plan.breakage == "follows_links" else _PATIENCE
            left = _rest(daemon, landing, set(odd.irregular), patience * (6 if plan.n >= _LARGE else 1))
        watch.stop()
        _stop(daemon, report)
    report.planned += len(files) + len(odd.tokens) + len(odd.irregular)
    if left:
        report.hands += 1
        report.findings.append(f"still waiting after {patience:g} s: {left[:5]}")
    report.figures["largest worker"] = f"{watch.most / 1e6:,.0f} MB (limit {_MEMORY / 1e6:.0f})"
    if watch.most > _MEMORY + _OVERSHOOT:
        report.findings.append(f"a worker held {watch.most / 1e6:,.0f} MB")
    _account(world, files, report)
    _account_tokens(world, odd.tokens, report)
    gone = odd.moved()
    report.fired += len(odd.irregular) - len(gone)
    if gone:
        report.findings.append(f"not left where it was: {gone[:5]}")
    if not all(path.exists() for path in odd.kept):
        report.findings.append("a file outside landing is gone")
    for socket in odd.sockets:
        socket.close()


def _files(plan: Plan) -> dict[str, bytes]:
    """What is sent, by its path in landing; each bomb to a table of its own, as they end workers."""
    from torture import mutations, seeds
    from torture.bombs import bombs

    chance = random.Random(plan.seed)
    files: dict[str, bytes] = {}
    for number in range(3 if plan.breakage else min(max(plan.n // 25, 20), 400)):
        seed = seeds.a_seed(chance.choice(seeds.KINDS), chance)
        files[f"sample/{number:04}{seed.suffix}"] = mutations.damage(seed.content, chance) or b"x"
    needed = None if plan.breakage is None else _NEEDED[plan.breakage]
    for number, (name, make) in enumerate(bombs(large=plan.n >= _LARGE).items()):
        if needed is None or name in needed:
            files[f"bomb{number}/{name}"] = make()
    return files


def _stop(daemon: "subprocess.Popen[bytes]", report: Report) -> None:
    if daemon.poll() is not None:
        report.findings.append(f"the daemon died with {daemon.returncode}")
        return
    daemon.send_signal(signal.SIGTERM)
    try:
        if daemon.wait(20) != 0:
            report.findings.append(f"the daemon ended with {daemon.returncode} when it was asked to stop")
    except subprocess.TimeoutExpired:
        daemon.kill()
        report.findings.append("the daemon did not stop when it was asked to")


def _rest(daemon: subprocess.Popen[bytes], landing: Path, irregular: set[Path], patience: float) -> list[str]:
    """Wait until nothing is left in landing but what is no file; returns what is left when patience ends."""
    until = time.monotonic() + patience
    left: list[str] = []
    quiet = 0
    while time.monotonic() < until and daemon.poll() is None and quiet < 4:
        left = [
            os.path.join(here, name)  # noqa: PTH118 - faster, and any bytes
            for here, _, names in os.walk(landing)
            for name in names
            if Path(here, name) not in irregular and name != ".canary" and not here.endswith("/.receipts")
        ]
        quiet = 0 if left else quiet + 1
        time.sleep(0.5)
    return left


class _swapping:  # noqa: N801 - used as a function
    """While the block runs a sender changes a file into a link to a secret and back, as fast as it can."""

    def __init__(self, landing: Path, secret: Path) -> None:
        self._path, self._secret = landing / "late" / "swap.csv", secret
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._swap)

    def _swap(self) -> None:
        spare = self._path.with_name("swap.tmp")
        until = time.monotonic() + _SWAPPING
        while not self._end.wait(0.002) and time.monotonic() < until:
            with suppress(OSError):
                spare.unlink(missing_ok=True)
                spare.symlink_to(self._secret)
                spare.rename(self._path)
                self._path.unlink()
                spare.write_text("key,note\n1,swapped\n2,swapped\n")
                spare.rename(self._path)
        spare.unlink(missing_ok=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


class _Watch(threading.Thread):
    """Notes how much memory the largest worker of a daemon ever held."""

    def __init__(self, daemon: int) -> None:
        super().__init__()
        self._daemon = daemon
        self._end = threading.Event()
        self.most = 0

    def run(self) -> None:
        from daemon.scheduling.memory import memory_held

        while not self._end.wait(0.05):
            for thread in Path(f"/proc/{self._daemon}/task").glob("*/children"):
                with suppress(OSError):
                    for pid in thread.read_text().split():
                        self.most = max(self.most, memory_held(int(pid)))

    def stop(self) -> None:
        self._end.set()
        self.join()


def _account(world: World, files: dict[str, bytes], report: Report) -> None:
    """Every dropped file is at rest once, with a reason that a person understands if it was set aside."""
    data = world.root / "data"
    reasons = [json.loads(path.read_text()) for path in data.glob("quarantine/**/*.reason.json")]
    at_rest = Counter(entry["file"] for entry in reasons)
    kinds = {entry["file"]: entry["kind"] for entry in reasons}
    for path in data.glob("archive/**/*"):
        if path.is_file():
            at_rest[f"{path.relative_to(data / 'archive' / 'main').parts[0]}/{path.name}"] += 1
    for name in files:
        if at_rest[name] == 1:
            report.fired += 1
        else:
            report.findings.append(f"{name} is at rest {at_rest[name]} times: {kinds.get(name)}")
        if name.endswith("one_line.csv.gz") and kinds.get(name) != "too_much_memory":
            report.findings.append(
                f"{name} was not ended at the limit of memory but: {kinds.get(name, 'in gold')}"
            )
    for entry in reasons:
        trouble = oracle.unreadable_reason(entry["reason"].removeprefix(f"{entry['file']}: "))
        if trouble:
            report.findings.append(
                f"nobody understands the reason of {entry['file']} ({trouble}): {entry['reason']}"
            )


def _account_tokens(world: World, tokens: list[str], report: Report) -> None:
    """Every record of a regular file is in gold once; no secret is anywhere."""
    found = Counter(column(f"{world.root}/data/gold/*/*/*.parquet", "key"))
    for token in tokens:
        report.records_in += 1
        report.fired += found[token] == 1
        report.lost += found[token] == 0
        report.doubled += found[token] > 1
        if found[token] != 1:
            report.findings.append(f"{token} is in gold {found[token]} times")
    looked = subprocess.run(
        ["grep", "-rlE", "FEEDFACE|of the secret", str(world.root / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    if looked.stdout or any("FEEDFACE" in token for token in found):
        report.findings.append(f"a link was followed out of landing: {looked.stdout.split()[:3]}")
