"""A promotion from its plan to its commit: what a worker is told, and what its answer brings about."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest
from ledgers import transition_at
from paper import Desk, batch_of, refuses, told

from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.outcomes import Hop, KnownContentError
from daemon.catalog.ledger.store import Store
from daemon.catalog.promotion import FileOutcome, PromotionOutcome, PromotionTask, Rewritten, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.requests import RecordId
from daemon.catalog.transition import Layer
from daemon.errors import RetryLaterError, SharedFileError
from daemon.lake.tables import read_table
from daemon.scheduling.clock import utc_now
from daemon.scheduling.lanes import Lanes
from daemon.scheduling.telling import _first_reasons
from daemon.scheduling.workers import StoppingError, WorkerDiedError

KEY = TableKey("sales", "orders")
CLIMB = (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD)
LAST = "silver: {dedup: {keys: [id], keep: last}}\n"


def step(desk: Desk, target: Layer = Layer.STAGED) -> tuple[Layer, ...]:
    return desk.refinery.promoter.step(KEY, target).published


# What a worker is told


def test_a_small_batch_is_told_to_climb_and_each_hop_has_its_own_time_a_microsecond_apart(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n", b="2\n")
    due = desk.ledger.promotions.due(KEY, Layer.STAGED, ())
    assert due is not None
    assert step(desk) == CLIMB
    (plan,) = desk.worker.calls
    first = plan.task
    assert (first.root, first.key, first.target, first.source_generation, first.generation) == (
        desk.layout.root,
        KEY,
        Layer.STAGED,
        1,
        1,
    )
    assert [source.name for source in first.items[0].sources] == ["sales/orders/a.csv", "sales/orders/b.csv"]
    assert abs(time.time() - first.incomplete_since) < 60
    planned = [task.items[0].planned_at for task in plan.tasks]
    assert planned == [due.items[0].planned_at + timedelta(microseconds=number) for number in range(4)]
    assert {task.items[0].batch_id for task in plan.tasks} == {batch}
    assert {task.items[0].attempt for task in plan.tasks} == {1}
    logs = desk.ledger.views.transitions_of_batch(batch)
    assert [log.transition_id for log in logs] == [task.items[0].transition_id for task in plan.tasks]


def test_only_hops_to_staged_and_bronze_are_told_what_is_known_of_columns(desk: Desk) -> None:
    def teach(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        learned = (("id", frozenset(["int64:"])),)
        return batch_of(outcome, delivered=learned) if task.target is Layer.STAGED else outcome

    desk.worker.change = teach
    for name in "ab":
        desk.refinery.claim(KEY, **{name: f"{name}\n"})
        step(desk)
    plan = desk.worker.calls[-1]
    assert [set(task.columns.columns) for task in plan.tasks] == [{"id"}, {"id"}, set(), set()]
    assert plan.contract.version == "none"
    assert plan.task.contract.version.startswith("learned-")


def test_two_files_weigh_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.scheduling.planning._SMALL", 5)
    desk.refinery.claim(KEY, a="12\n", b="123\n")
    desk.refinery.claim(KEY, c="1234\n")
    assert step(desk) == (Layer.STAGED,)
    assert step(desk) == (Layer.STAGED,)  # it fits, but one waits above
    assert step(desk, Layer.BRONZE) == CLIMB[1:]
    desk.refinery.climb(KEY)
    desk.refinery.claim(KEY, d="1235\n")
    assert step(desk) == CLIMB


def test_a_batch_that_met_trouble_or_replaces_another_goes_hop_by_hop(desk: Desk) -> None:
    desk.refinery.contract(KEY, "landing: {revisions: replace}\n")
    desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(RetryLaterError("disk full"))
    step(desk)
    desk.now = 1.0
    assert step(desk) == (Layer.STAGED,)
    desk.refinery.climb(KEY)
    desk.refinery.settle(KEY)
    desk.refinery.claim(KEY, a="2\n")
    assert step(desk) == (Layer.STAGED,)
    assert desk.ledger.rebuilds.current(KEY) is not None


def test_known_names_are_told_where_the_contract_rejects_them(desk: Desk) -> None:
    desk.refinery.deliver(KEY, a="1\n")
    desk.refinery.claim(KEY, a="2\n")
    step(desk)
    assert desk.worker.calls[-1].task.known_names == frozenset()
    desk.refinery.settle(KEY)
    desk.refinery.contract(KEY, "landing: {revisions: reject}\n")
    desk.refinery.claim(KEY, a="3\n")
    step(desk)
    assert desk.worker.calls[-1].task.known_names == {"sales/orders/a.csv"}


def test_content_that_the_table_has_is_told_before_a_climb_by_its_hash(desk: Desk) -> None:
    """A file's rows stand in gold before its first commit: a guess by size would come too late."""
    desk.worker.change = lambda task, outcome: (
        batch_of(
            outcome,
            files=tuple(
                FileOutcome(
                    file.file_id,
                    {"1\n": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"}.get(
                        source.path.read_text(), "other"
                    ),
                    3,
                    "staged",
                )
                for file, source in zip(outcome.items[0].files, task.items[0].sources, strict=True)
            ),
        )
        if task.target is Layer.STAGED
        else outcome
    )
    desk.refinery.claim(KEY, a="1\n")
    step(desk)
    desk.refinery.claim(KEY, b="2\n")
    step(desk)
    assert desk.worker.calls[-1].task.known_hashes == frozenset()
    desk.refinery.claim(KEY, c="1\n", d="3\n")
    step(desk)
    assert desk.worker.calls[-1].task.known_hashes == {
        "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
    }


def test_files_taken_as_new_whose_content_is_known_are_done_again_knowing_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.scheduling.planning._SMALL", 1)
    desk.refinery.claim(KEY, a="1\n")
    commit = desk.ledger.outcomes.commit
    desk.ledger.outcomes.commit = refuses(commit, KnownContentError("t", frozenset(["abc"])))  # type: ignore[method-assign]
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert (found.ran, found.published) == (True, ())
    assert step(desk) == (Layer.STAGED,)
    assert [call.task.known_hashes for call in desk.worker.calls] == [frozenset(), {"abc"}]
    desk.refinery.claim(KEY, b="2\n")
    step(desk)
    assert "abc" not in desk.worker.calls[-1].task.known_hashes


def test_what_people_decided_about_records_and_files_is_told(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.ledger.quarantine.decide(KEY, [RecordId(batch, "a.csv", 7, "check:x")], "released", "", utc_now())
    step(desk)
    assert [task.released for task in desk.worker.calls[-1].tasks] == [
        frozenset(),
        frozenset(),
        {("a.csv", 7)},
        frozenset(),
    ]
    assert desk.worker.calls[-1].task.replays == ()


def test_a_hop_whose_rows_compete_across_batches_is_told_what_is_published(desk: Desk) -> None:
    desk.refinery.contract(KEY, LAST)
    first = desk.refinery.claim(KEY, a="1\n")
    step(desk)
    desk.refinery.claim(KEY, b="2\n")
    step(desk)
    silver = desk.worker.calls[-1].tasks[2]
    assert [file.batch_id for file in silver.published] == [first]
    assert silver.next_generation == 2
    others = [task for task in desk.worker.calls[-1].tasks if task is not silver]
    assert [(task.published, task.next_generation) for task in others] == [((), 0)] * 3
    desk.refinery.contract(KEY, LAST.replace("last", "first").replace("}}", ", across_batches: false}}"))
    desk.refinery.claim(KEY, c="3\n")
    step(desk)
    assert desk.worker.calls[-1].tasks[2].published == ()


# A source at rest


def test_a_file_that_somebody_writes_to_is_read_when_it_has_come_to_rest(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    (source,) = desk.layout.claimed("").glob("*/*")
    with source.open("a") as writer:
        with told("promotion_retried") as lines:
            assert step(desk) == ()
        writer.write("2\n")
    assert [line["error"] for line in lines] == [
        "sales/orders/a.csv: somebody still writes to it; it is read when it has come to rest"
    ]
    desk.now = 1.0
    with told("promotion_retried") as lines:
        assert step(desk) == ()
    assert [line["error"] for line in lines] == [
        "sales/orders/a.csv: somebody wrote to it; it is read when it has come to rest"
    ]
    desk.now = 2.0
    desk.refinery.climb(KEY)
    assert desk.worker.calls[0].task.items[0].sources[0].size == 4
    assert desk.ledger.views.counts() == {"ingested": 1}


def test_a_file_whose_time_alone_changed_has_been_written_to(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    (source,) = desk.layout.claimed("").glob("*/*")
    os.utime(source, ns=(1, 1))
    assert step(desk) == ()
    desk.now = 1.0
    assert step(desk) == (Layer.STAGED,)


# What its answer brings about


def test_a_daemon_that_stops_leaves_the_promotion_as_it_is(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(StoppingError())
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert not found.ran
    due = desk.ledger.promotions.due(KEY, Layer.STAGED, ())
    assert due is not None
    assert due.items[0].attempt == 1
    assert step(desk) == CLIMB


def test_a_hop_that_nothing_is_due_for_does_nothing(desk: Desk) -> None:
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert (found.ran, found.published, found.wanted) == (False, (), frozenset())
    assert desk.refinery.lanes.take(KEY, Layer.STAGED)
    assert not desk.refinery.promoter.step(KEY, Layer.STAGED).ran
    assert desk.refinery.lanes.leave(KEY, [Layer.STAGED]) == {(KEY, Layer.STAGED)}


def test_batches_in_a_file_with_others_are_taken_out_of_it_first(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    apart: list[tuple[Layer, object]] = []

    def take_apart(_: TableKey, layer: Layer, batches: object) -> bool:
        apart.append((layer, batches))
        return False

    desk.refinery.compactor.take_apart = take_apart  # type: ignore[method-assign, assignment]
    desk.worker.errors.append(SharedFileError(frozenset(["b1"])))
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert (found.ran, found.published) == (True, ())
    assert apart == [(Layer.STAGED, []), (Layer.STAGED, frozenset(["b1"]))]
    desk.refinery.compactor.take_apart = lambda *_: True  # type: ignore[method-assign]
    assert desk.refinery.promoter.step(KEY, Layer.STAGED).ran
    assert len(desk.worker.calls) == 1


def test_of_a_void_outcome_nothing_stays_in_the_layers(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    other = desk.refinery.claim(TableKey("sales", "more"), a="1\n")
    commit = desk.ledger.outcomes.commit
    desk.ledger.outcomes.commit = refuses(commit, StaleSourceError("t"))  # type: ignore[method-assign]
    quarantine = desk.layout.quarantine(KEY)
    quarantine.mkdir(parents=True)
    left = quarantine / f"{batch}-bronze.parquet"
    theirs = desk.layout.generation(Layer.STAGED, KEY, 1) / f"{other}.parquet"

    def write() -> None:
        left.touch()
        theirs.touch()

    desk.worker.meanwhile = write
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert (found.ran, found.published, found.settled) == (True, (), False)
    assert list(desk.layout.data.rglob(f"{batch}*")) == []
    assert theirs.exists()
    desk.worker.meanwhile = lambda: None
    assert step(desk) == CLIMB


def test_what_a_lost_call_published_goes_before_its_hop_is_done_again(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.meanwhile = lambda: desk.worker.errors.append(WorkerDiedError("lost"))
    folder = desk.layout.generation(Layer.SILVER, KEY, 1)
    folder.mkdir(parents=True)
    (folder / f"{batch}.parquet").touch()
    desk.worker.errors.append(WorkerDiedError("lost"))
    step(desk)
    assert (folder / f"{batch}.parquet").exists()  # nobody knows yet whether the ledger was told
    desk.worker.meanwhile = lambda: None
    desk.now = 1.0
    assert step(desk) == (Layer.STAGED,)
    assert not (folder / f"{batch}.parquet").exists()


def test_a_ledger_that_refuses_a_climb_is_the_machines_fault(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    commit = desk.ledger.outcomes.commit
    desk.ledger.outcomes.commit = refuses(commit, RetryLaterError("disk full"))  # type: ignore[method-assign]
    with told("promotion_retried") as lines:
        assert step(desk) == ()
    assert [line["kind"] for line in lines] == ["machine"]
    # what a sync that failed has left of the commit may come back after a death, and then speaks of these files
    for layer in CLIMB:
        assert (desk.layout.generation(layer, KEY, 1) / f"{batch}.parquet").exists()
    desk.now = 1.0
    assert step(desk) == (Layer.STAGED,)


def test_a_hop_that_is_void_in_the_midst_of_a_climb_leaves_those_below_it_committed(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    commit: Callable[..., Any] = desk.ledger.outcomes._commit
    void = [StaleSourceError("t")]

    def third(tx: Store, hop: Hop, *values: Any) -> Any:
        done = commit(tx, hop, *values)
        if hop.task.target is Layer.SILVER and void:
            raise void.pop()
        return done

    desk.ledger.outcomes._commit = third  # type: ignore[method-assign, assignment]
    assert step(desk) == CLIMB[:2]
    assert not (desk.layout.generation(Layer.GOLD, KEY, 1) / f"{batch}.parquet").exists()
    assert step(desk, Layer.SILVER) == CLIMB[2:]
    assert desk.fates(batch) == ["ingested"]


def test_columns_are_noted_before_the_commit_and_where_that_fails_nothing_is_committed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.change = lambda _, outcome: batch_of(outcome, columns=(("id", "Int64"),))
    full = OSError(errno.ENOSPC, "No space left on device")
    write = "daemon.scheduling.tables.write_table"
    with monkeypatch.context() as patched:
        patched.setattr(write, refuses(None, full))
        assert step(desk) == ()
    assert desk.published(KEY) == []
    assert [path.name for path in desk.layout.data.rglob(f"{batch}.parquet")] == []
    assert read_table(desk.layout, KEY) is None
    desk.now = 1.0
    desk.refinery.climb(KEY)
    known = read_table(desk.layout, KEY)
    assert known is not None
    assert known.columns == {layer: {"id": "Int64"} for layer in CLIMB}


def rewriting(desk: Desk, old: str) -> None:
    """Let the next hop to silver take a row out of an older batch's file, in the next generation."""

    def rewrite(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        if task.target is not Layer.SILVER or not task.published:
            return outcome
        before = task.published[0]
        now = utc_now()
        folder = desk.layout.generation(Layer.SILVER, KEY, task.next_generation)
        folder.mkdir(parents=True, exist_ok=True)
        after = replace(before, name=f"{old}.g2.parquet", rows=2)
        return replace(
            outcome, generation=task.next_generation, lost=(Rewritten(before, after, "shown", now, now),)
        )

    desk.worker.change = rewrite


def test_a_new_generation_is_shown_after_its_commit_with_the_records_of_what_lost_rows(desk: Desk) -> None:
    desk.refinery.contract(KEY, LAST)
    old = desk.refinery.deliver(KEY, a="1\n")
    rewriting(desk, old)
    new = desk.refinery.claim(KEY, b="2\n")
    with told("generation_published", "transition_completed", "batch_completed") as lines:
        assert step(desk) == CLIMB[:3]
    (shown,) = [line for line in lines if line["event"] == "generation_published"]
    assert {**shown, "layer": str(shown["layer"])} == {
        "event": "generation_published",
        "log_level": "info",
        "domain": "sales",
        "table": "orders",
        "layer": "silver",
        "generation": 2,
    }
    assert desk.layout.layer_link(Layer.SILVER, KEY).resolve().name == "2"
    again = desk.ledger.promotions.transition(KEY, Layer.SILVER, old)
    assert again is not None
    assert (again.row_count_out, again.rows_deduplicated, again.target_file) == (2, 1, "shown")
    assert (desk.layout.lineage / f"{again.transition_id}.json").exists()
    assert again.transition_id in {log.transition_id for log in desk.ledger.views.transitions_of_batch(old)}
    due = desk.ledger.promotions.due(KEY, Layer.GOLD, ())
    assert due is not None
    assert [item.batch_id for item in due.items] == [old, new]
    with told("batch_completed") as lines:
        assert step(desk, Layer.GOLD) == (Layer.GOLD,)
    assert [line["batch_id"] for line in lines] == [new]


def test_rows_that_are_gone_meanwhile_make_the_outcome_void(desk: Desk) -> None:
    desk.refinery.contract(KEY, LAST)
    old = desk.refinery.deliver(KEY, a="1\n")
    rewriting(desk, old)
    desk.refinery.claim(KEY, b="2\n")
    transition_of = desk.ledger.promotions.transition
    desk.ledger.promotions.transition = lambda *_: None  # type: ignore[method-assign]
    assert step(desk) == CLIMB[:2]
    desk.ledger.promotions.transition = transition_of  # type: ignore[method-assign]
    assert step(desk, Layer.SILVER) == (Layer.SILVER,)


def test_a_finished_batch_is_told_hop_by_hop_with_its_counts(desk: Desk) -> None:
    def set_aside(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        outcome = replace(outcome, warnings=(f"{task.target}: odd",) if task.target is Layer.SILVER else ())
        if task.target is not Layer.BRONZE:
            return outcome
        log = outcome.items[0].transition
        counted = transition_at(
            utc_now(),
            log.transition_id,
            log.batch_id,
            KEY,
            Layer.BRONZE,
            3,
            row_count_in=6,
            rows_quarantined=1,
            rows_filtered=2,
        )
        return batch_of(
            outcome, transition=counted, quarantine_file="q.parquet", rejected=(("cast:id", "a.csv", 1),)
        )

    desk.worker.change = set_aside
    batch = desk.refinery.claim(KEY, a="1\n")
    with told("transition_completed", "records_quarantined", "check_warned", "batch_completed") as lines:
        step(desk)
    place = {"domain": "sales", "table": "orders", "batch_id": batch}
    done = [line for line in lines if line["event"] == "transition_completed"]
    assert [line["target_layer"] for line in done] == list(CLIMB)
    assert {
        name: done[1][name]
        for name in ("source_layer", "rows_in", "rows", "quarantined", "deduplicated", "filtered")
    } == {
        "source_layer": "staged",
        "rows_in": 6,
        "rows": 3,
        "quarantined": 1,
        "deduplicated": 0,
        "filtered": 2,
    }
    assert {name: done[0][name] for name in place} == place
    assert 0 <= done[0]["seconds"] < 10
    rest = [line for line in lines if line["event"] != "transition_completed"]
    assert rest == [
        {
            "event": "records_quarantined",
            "log_level": "warning",
            **place,
            "rules": {"cast:id": 1},
            "file": "q.parquet",
        },
        {
            "event": "check_warned",
            "log_level": "warning",
            "domain": "sales",
            "table": "orders",
            "warning": "silver: odd",
        },
        {"event": "batch_completed", "log_level": "info", **place},
    ]


@pytest.mark.parametrize(
    ("fate", "event"),
    [("duplicate", "file_duplicate"), ("set_aside", "file_set_aside"), ("returned", "file_incomplete")],
)
def test_files_that_were_not_taken_are_told_in_one_line_with_the_first_reasons(
    desk: Desk, fate: Literal["duplicate", "set_aside", "returned"], event: str
) -> None:
    def refuse(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        if task.target is not Layer.STAGED:
            return outcome
        first, *others = outcome.items[0].files
        files = [replace(file, fate=fate, reason=f"reason {file.file_id}") for file in others]
        return batch_of(outcome, files=(first, *files))

    desk.worker.change = refuse
    batch = desk.refinery.claim(KEY, **{name: f"{name}\n" for name in "abcdef"})
    with told(event) as lines:
        found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert found.settled
    assert lines == [
        {
            "event": event,
            "log_level": "warning",
            "domain": "sales",
            "table": "orders",
            "batch_id": batch,
            "files": 5,
            "reasons": ["reason 2", "reason 3", "reason 4", "and 2 more"],
        }
    ]


def test_up_to_three_reasons_are_told_whole() -> None:
    assert _first_reasons(["a", None, "b", "c"]) == ["a", "b", "c"]
    assert _first_reasons(["a", "b", "c", "d"]) == ["a", "b", "c", "and 1 more"]


def test_changed_columns_are_told(desk: Desk) -> None:
    def teach(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        if task.target is not Layer.STAGED:
            return outcome
        names = ["id", "more"] if "more" in task.items[0].sources[0].name else ["id"]
        return batch_of(outcome, delivered=tuple((name, frozenset(["int64:"])) for name in names))

    desk.worker.change = teach
    desk.refinery.claim(KEY, a="1\n")
    step(desk)
    batch = desk.refinery.claim(KEY, more="2\n")
    with told("schema_changed") as lines:
        step(desk)
    assert [(line["domain"], line["table"], line["batch_id"], line["changes"]) for line in lines] == [
        ("sales", "orders", batch, ["added more: int64"])
    ]


def test_a_step_says_whether_files_are_settled_and_whether_other_tables_have_work(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY, Layer.STAGED)
    found = desk.refinery.promoter.step(KEY, Layer.BRONZE)
    assert (found.settled, found.branched, found.part, found.outstanding, found.withdrawn) == (
        True,
        False,
        False,
        False,
        False,
    )
    desk.refinery.claim(KEY, b="2\n")
    desk.worker.change = lambda task, outcome: (
        batch_of(
            outcome, files=tuple(replace(file, parts=(("S2", "others"),)) for file in outcome.items[0].files)
        )
        if task.target is Layer.STAGED and task.key == KEY
        else outcome
    )
    found = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert (found.branched, found.part) == (True, False)
    found = desk.refinery.promoter.step(TableKey("sales", "others"), Layer.STAGED)
    assert (found.branched, found.part) == (False, True)


def test_large_work_leaves_a_worker_for_what_is_small(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.catalog.ledger.promotions._LARGE", 0)
    desk.refinery.claim(KEY, a="1\n")
    other = TableKey("sales", "more")
    desk.refinery.claim(other, a="1\n")
    found = []
    desk.worker.meanwhile = lambda: found.append(desk.refinery.promoter.step(other, Layer.STAGED))
    after = desk.refinery.promoter.step(KEY, Layer.STAGED)
    assert [(one.ran, one.published) for one in found] == [(False, ())]
    assert after.wanted == {(other, Layer.STAGED)}
    desk.worker.meanwhile = lambda: None
    assert desk.refinery.promoter.step(other, Layer.STAGED).ran


def test_what_a_shadow_publishes_is_not_shown(desk: Desk) -> None:
    desk.refinery.contract(KEY, LAST)
    old = desk.refinery.deliver(KEY, a="1\n")
    desk.refinery.deliver(KEY, b="2\n")
    desk.ledger.rebuilds.request(Rebuild("r1", KEY, "rebuild", Layer.BRONZE), utc_now())
    desk.refinery.rebuilder.step(KEY)
    before = (
        desk.layout.layer_link(Layer.SILVER, KEY).readlink()
        if desk.layout.layer_link(Layer.SILVER, KEY).is_symlink()
        else None
    )
    rewriting(desk, old)
    desk.refinery.climb(KEY.shadow)
    link = desk.layout.layer_link(Layer.SILVER, KEY)
    assert (link.readlink() if link.is_symlink() else None) == before


def test_lanes_let_a_climb_go_up_to_the_first_layer_that_is_taken() -> None:
    lanes = Lanes()
    assert lanes.take(KEY, Layer.SILVER)
    asked: list[object] = []

    def is_clear(layers: object) -> bool:
        asked.append(layers)
        return True

    assert lanes.take_above(KEY, Layer.STAGED, is_clear) == (Layer.BRONZE,)
    assert asked == [(Layer.BRONZE,)]
    assert lanes.take_above(KEY, Layer.BRONZE, lambda _: True) == ()
    assert lanes.take_above(TableKey("a", "b"), Layer.SILVER, lambda _: False) == ()
    assert not lanes.take(KEY, Layer.BRONZE)
    assert lanes.leave(KEY, [Layer.BRONZE, Layer.SILVER]) == {(KEY, Layer.BRONZE)}
    assert lanes.leave(KEY, [Layer.BRONZE]) == set()
    assert lanes.take(KEY, Layer.BRONZE)


def test_large_work_that_waits_has_its_turn_in_its_order_and_once() -> None:
    lanes = Lanes(2)
    first, second = (KEY, Layer.STAGED), (KEY, Layer.BRONZE)
    assert lanes.take_large(*first)
    assert lanes.take_large(*second)
    for _ in range(2):
        assert not lanes.take_large(*first)
        assert not lanes.take_large(*second)
    assert [lanes.leave_large() for _ in range(3)] == [first, second, None]
    assert lanes.take_large(*first)


def test_who_has_a_layer_alone_keeps_others_out_until_it_leaves() -> None:
    lanes = Lanes()
    with lanes.alone(KEY, Layer.GOLD):
        assert not lanes.take(KEY, Layer.GOLD)
        assert lanes.take_above(KEY, Layer.SILVER, lambda _: True) == ()
    assert lanes.take(KEY, Layer.GOLD)
