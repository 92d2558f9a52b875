"""Small roots in four situations: where the campaigns that harm single steps begin.

Each scene is a root as it stands before a run of `drain`, in which every kind of durable step happens somewhere: a ledger
is made, files are claimed, set aside, found to be duplicates, replaced and undone, newer rows take older ones' places, a
model is made anew, generations go, and a crash is recovered from. The rarer steps are in `corners`.
"""

import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torture.campaign import Plan
from torture.lanes import Lane, Lanes
from torture.life import SETUP, Life, Scene, expect
from torture.shim import Action, Call, Calls, Fault
from torture.warm import Warm


def orders(number: int) -> str:
    """Twenty orders; some do not cast, fail a check or are dropped; most are newer versions of earlier ones."""
    chance = random.Random(number)
    lines = ["id,key,version,amount"]
    for row in range(20):
        amount = chance.choice(
            ["abc", "-1.00", *(f"{chance.randrange(1, 99999) / 100:.2f}" for _ in range(8))]
        )
        lines.append(f"T{number}-{row},k{chance.randrange(15)},{number * 100 + row},{amount}")
    return "\n".join(lines) + "\n"


def events(number: int) -> str:
    """Ten events, of which one has a field too few."""
    lines = ["id,code,text", *(f"T{number}-{row},{row:05},event {row} of {number}" for row in range(10))]
    lines[5] = f"T{number}-short"
    return "\n".join(lines) + "\n"


def drop(root: Path, name: str, content: str | bytes) -> None:
    """Put a file into landing by rename, as a careful sender does."""
    path = root / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = root / "dropping"
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    beside.rename(path)


def deliver(warm: Warm, root: Path, *numbers: int) -> None:
    """Carry orders to gold, one delivery after the other."""
    for number in numbers:
        drop(root, f"sales/orders/{number}.csv", orders(number))
        expect(warm.run(root, ["drain"], setup=SETUP), warm)


def _birth(_: Warm, root: Path) -> None:
    """Nothing was ever done here."""
    drop(root, "events/0.csv", events(0))
    drop(root, "kept/0.csv", "id,code\nT0,1\n")


def _arrival(warm: Warm, root: Path) -> None:
    """New deliveries for tables that have some: good, double, broken, with newer rows for older keys."""
    drop(root, "events/0.csv", events(0))
    drop(root, "sales/orders/1.csv", orders(1))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    drop(root, "events/2.csv", events(2))
    drop(root, "events/double.csv", events(0))
    drop(root, "events/broken.xlsx", b"PK\x03\x04" + bytes(range(256)))
    drop(root, "sales/orders/3.csv", orders(3))


def _changes(warm: Warm, root: Path) -> None:
    """A delivery is undone, another replaced, a third deleted once it is in gold; models follow."""
    drop(root, "sales/orders/1.csv", orders(1))
    drop(root, "prices/prices.csv", "id,price\na,1\nb,2\n")
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    drop(root, "sales/orders/3.csv", orders(3))
    expect(warm.run(root, ["drain"], setup=SETUP), warm)
    ask(root, "undo", files=file_ids(root, "1.csv"))
    drop(root, "prices/prices.csv", "id,price\na,3\nc,4\n")
    drop(root, "gone/0.csv", "id,code\nT0,1\n")


def _recovery(warm: Warm, root: Path) -> None:
    """A daemon was killed as it was about to publish a rewritten silver file."""
    _arrival(warm, root)
    status = warm.run(root, ["drain"], setup=SETUP, fault=Fault(Action.KILL_DAEMON, 9, calls=Calls.RENAME))
    if status != -9:
        raise AssertionError(f"the kill that recovery starts from did not fire: {status}")


def ask(root: Path, act: str, table: str = "orders", **what: Any) -> None:
    """Ask for something to be done to a table of `sales`, as the commands of people do."""
    from daemon.catalog.identity import new_id
    from daemon.catalog.requests import Request
    from daemon.lake.layout import Layout
    from daemon.lake.requests import post

    request = {
        "request_id": new_id(),
        "act": act,
        "domain": "sales",
        "table": table,
        "asked_at": datetime.now(UTC),
    }
    post(Layout(root), Request.model_validate(request | what))


def looked_up(root: Path, sql: str) -> list[Any]:
    """The first column of what the ledger answers."""
    connection = sqlite3.connect(f"{(root / 'catalog/state.sqlite3').as_uri()}?mode=ro", uri=True)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return [row[0] for row in rows]


def file_ids(root: Path, name: str) -> tuple[int, ...]:
    """The ledger's numbers of the files dropped for sales.orders as `name`."""
    return tuple(looked_up(root, f"SELECT file_id FROM files WHERE name = 'sales/orders/{name}'"))  # noqa: S608 - our own names


SCENES = (
    Scene("arrival", _arrival),
    Scene("changes", _changes),
    Scene("recovery", _recovery),
    Scene("birth", _birth),
)


def calm_lives(lanes: Lanes, plan: Plan) -> list[tuple[Life, list[Call]]]:
    """The lives of all scenes, each with the calls that a run nobody harms makes."""

    def lived(lane: Lane, scene: Scene) -> tuple[Life, list[Call]]:
        life = Life.prepare(scene, lane.warm, plan.work, lane.root)
        life.expect(life.run(lane.warm, life.begin(lane.root)), lane.warm)
        return life, lane.warm.shim.calls()

    return lanes.spread(lived, SCENES)
