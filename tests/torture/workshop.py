"""A house in which what is published can be changed: requests are answered, rebuilds carried out, files merged.

Used by the campaign `changes`.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from torture.house import TABLE, House, KilledError, Moments

if TYPE_CHECKING:
    from daemon.catalog.ledger.dropped import KnownFile
    from daemon.catalog.requests import RecordId


class Workshop(House):
    """The daemon's parts on one root, and the words of whoever changes what they made."""

    def start(self) -> None:
        from daemon.catalog.promotion import TableKey
        from daemon.scheduling.requests import RequestDesk

        super().start()
        self.key = TableKey("main", TABLE)
        self.ledger = self._refinery.ledger
        self._desk = RequestDesk(self.ledger, self.layout, lambda: None)

    def tick(self) -> None:
        """Answer what is asked, take what lies there, and carry out what is due."""
        from daemon.scheduling.upkeep import keep_up

        self._refinery.contracts.reload()
        self._desk.look()
        super().tick()
        self._refinery.carry_out(self.key)
        keep_up(self.ledger, self.layout)

    def work(self) -> None:
        """As often as it takes."""
        for _ in range(3):
            self.tick()

    def merge(self) -> None:
        """Merge what small files there are."""
        self._refinery.compact()

    def work_until_killed(self, moments: Moments, *, merges: bool) -> None:
        """Be killed at a moment of a tick, a commit's before and after among them, or after it; and be started again."""
        store = self.ledger._store
        commit = store._commit

        def watched() -> None:
            moments.moment()
            commit()
            moments.moment()

        with moments.watched():
            store._commit = watched  # type: ignore[method-assign]
            try:
                if merges:
                    self.merge()
                self.tick()
            except (Exception, KilledError):
                if not moments.dead:
                    raise
            store._commit = commit  # type: ignore[method-assign]
        self.stop()
        self.start()

    def contract(self, text: str) -> None:
        """Save a contract, as an editor does."""
        self._put(self.layout.contracts / "main" / f"{TABLE}.yaml", text)

    def drop(self, name: str, text: str) -> None:
        """Drop a file, by rename."""
        self._put(self.layout.landing / TABLE / name, text)

    def ask(self, act: str, **what: Any) -> str:
        """Ask for a change, as the command line does; returns the request's id."""
        from daemon.cli.changes import request_for
        from daemon.lake.requests import post

        request = request_for(self.key, act, **what)
        post(self.layout, request)
        return request.request_id

    def agreed(self, request_id: str) -> bool:
        """Whether it was accepted, and then done."""
        from daemon.lake.requests import clear, read_answer

        answer = read_answer(self.layout, request_id)
        assert answer is not None, "a request without an answer"
        if answer.rebuild_id is not None:
            found = self.ledger.views.rebuild(answer.rebuild_id)
            assert found == ("done", None), found
        clear(self.layout, request_id)
        return answer.accepted

    def file(self, name: str) -> "KnownFile | None":
        """What the ledger knows of a dropped file."""
        known = self.ledger.views.files.named(f"{TABLE}/{name}")
        return known[-1] if known else None

    def companions(self, name: str) -> list[str]:
        """The files that came in one batch with this one, itself among them."""
        known = self.file(name)
        files = self.ledger.views.files.of_batch(known.batch_id) if known else []
        return [Path(file.name).name for file in files]

    def record(self, name: str, number: int, rule: str) -> "RecordId":
        """The name of a record that was set aside."""
        from daemon.catalog.requests import RecordId

        known = self.file(name)
        assert known is not None
        return RecordId(known.batch_id, known.name, number, rule)

    def batches(self) -> tuple[str, ...]:
        """The batches that have rows."""
        return tuple(self.ledger.views.batches_with_rows(self.key))

    def gold(self) -> pl.DataFrame:
        """What readers of the folder see."""
        from daemon.catalog.transition import Layer

        paths = sorted(self.layout.layer_link(Layer.GOLD, self.key).glob("*.parquet"))
        return pl.concat(map(pl.read_parquet, paths), how="diagonal_relaxed") if paths else pl.DataFrame()

    def set_aside(self) -> Counter[str]:
        """How many records each rule set aside."""
        found: Counter[str] = Counter()
        for part in self.ledger.views.quarantined(self.key):
            found[part.rule] += part.rows
        return found

    def problems(self) -> list[str]:
        """What `verify` has to say."""
        from daemon.audit.proof import prove
        from daemon.catalog.ledger.inventory import LedgerInventory

        with LedgerInventory.open(self.layout.ledger) as inventory:
            proof = prove(self.layout, inventory, lambda _: None)
        return [f"{problem.path}: {problem.found}" for problem in proof.problems]

    def _put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.layout.root / "arriving"
        beside.write_text(text)
        beside.rename(path)
