"""Whose fault it is decides what is done: again later, when the contract changes, or the file is found and set aside."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from paper import Desk, told

from daemon.catalog.promotion import TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer
from daemon.errors import ContractError, RejectDataError, RetryLaterError
from daemon.scheduling.clock import utc_now
from daemon.scheduling.workers import WorkerDiedError, WorkerTimedOutError, WorkerTooLargeError

KEY = TableKey("sales", "orders")
FULL = OSError(errno.ENOSPC, "No space left on device")
ABOUT = {"domain": "sales", "table": "orders"}


def step(desk: Desk, target: Layer = Layer.STAGED, key: TableKey = KEY) -> tuple[bool, bool, bool]:
    found = desk.refinery.promoter.step(key, target)
    return found.ran, found.settled, found.withdrawn


@pytest.mark.parametrize("error", [FULL, RetryLaterError("disk full"), MemoryError("none left")])
def test_what_the_machine_refuses_is_tried_again_after_a_while(desk: Desk, error: Exception) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors += [error, error]
    with told("promotion_retried") as lines:
        assert step(desk) == (True, False, False)
        assert step(desk) == (False, False, False)
        desk.now = 1.0
        assert step(desk) == (True, False, False)
    where = {**ABOUT, "batch_id": batch, "target_layer": "staged", "kind": "machine", "error": str(error)}
    assert [{**line, "event": "", "log_level": ""} for line in lines] == [
        {**where, "attempt": 1, "seconds": 1.0, "event": "", "log_level": ""},
        {**where, "attempt": 2, "seconds": 1.0, "event": "", "log_level": ""},
    ]
    (failure,) = desk.ledger.views.failures()
    assert (failure.kind, failure.error, failure.attempt) == ("machine", str(error), 3)
    desk.now = 2.0
    desk.refinery.climb(KEY)
    assert desk.fates(batch) == ["ingested"]


def test_what_a_worker_was_writing_when_the_machine_failed_is_removed(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    layers = [desk.layout.generation(layer, KEY, 1) for layer in (Layer.STAGED, Layer.GOLD)]
    left = [folder / f"{batch}.parquet.1f.tmp" for folder in layers]
    left += [folder.with_name("1.1f.tmp") for folder in layers]  # the link that shows the generation
    left.append(desk.layout.quarantine(KEY) / f"{batch}-staged.parquet.1f.tmp")
    others = [
        desk.layout.quarantine(KEY) / "other-batch-bronze.parquet.1f.tmp",
        layers[0].with_name("2.1f.tmp"),
    ]
    for path in (*left, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    desk.worker.errors.append(FULL)
    step(desk)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_what_only_an_edit_can_mend_waits_for_one(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(ContractError("no column x"))
    with told("batch_parked") as lines:
        assert step(desk) == (True, False, False)
    assert [(line["batch_id"], line["kind"], line["error"]) for line in lines] == [
        (batch, "contract", "no column x")
    ]
    assert desk.ledger.views.failures()[0].kind == "contract"
    desk.refinery.backoff.release("machine")
    assert step(desk) == (False, False, False)
    desk.refinery.backoff.release("contract")
    assert step(desk) == (True, False, False)
    assert desk.fates(batch) == ["staged"]


def test_a_file_alone_that_nobody_can_read_is_set_aside_with_its_reason(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(RejectDataError("no table in it", kind="no_table"))
    with told("batch_failed") as lines:
        assert step(desk) == (True, True, True)
    assert [(line["batch_id"], line["kind"], line["reason"]) for line in lines] == [
        (batch, "no_table", "no table in it")
    ]
    (file,) = desk.files(batch)
    assert (file.state, file.kind, file.reason) == ("set_aside", "no_table", "no table in it")
    (log,) = desk.ledger.views.transitions_of_batch(batch)
    assert (log.status, log.errors, log.source_layer, log.target_layer, log.attempt) == (
        "failed",
        ("no table in it",),
        "landing",
        "staged",
        1,
    )
    assert log.started_at <= log.completed_at
    assert (desk.layout.lineage / f"{log.transition_id}.json").exists()


def test_the_rows_of_a_batch_that_fails_above_are_told_as_quarantined(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY, Layer.STAGED)
    desk.worker.errors.append(RejectDataError("a check failed", kind="check_failed"))
    assert step(desk, Layer.BRONZE) == (True, True, True)
    log = desk.ledger.views.transitions_of_batch(batch)[-1]
    assert (log.row_count_in, log.rows_quarantined, log.row_count_out) == (3, 3, 0)
    assert desk.fates(batch) == ["set_aside"]
    assert desk.published(KEY) == []


def test_a_batch_of_several_files_is_halved_until_the_one_at_fault_is_found(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n", b="2\n", c="bad\n", d="4\n")

    def find_fault(task: object, outcome: object) -> object:
        if any("bad" in source.path.read_text() for source in task.items[0].sources):  # type: ignore[attr-defined]
            raise RejectDataError("not a table", kind="unreadable")
        return outcome

    desk.worker.change = find_fault  # type: ignore[assignment]
    with told("batch_split", "batch_failed") as lines:
        desk.refinery.climb(KEY)
    assert [(line["event"], line.get("files"), line["reason"]) for line in lines] == [
        ("batch_split", 4, "not a table"),
        ("batch_split", 2, "not a table"),
        ("batch_failed", None, "not a table"),
    ]
    assert len(set(lines[0]["into"])) == 2
    (refused,) = desk.ledger.views.files.set_aside()
    assert refused.name == "sales/orders/c.csv"
    assert desk.ledger.views.counts() == {"ingested": 3, "set_aside": 1}


@pytest.mark.parametrize("error", [WorkerDiedError, WorkerTimedOutError, WorkerTooLargeError])
def test_a_file_alone_that_costs_a_second_worker_is_set_aside(
    desk: Desk, error: Callable[[str], WorkerDiedError]
) -> None:
    """The climb is one, after which the hops go one by one; then the file alone has two tries."""
    batch = desk.refinery.claim(KEY, a="1\n")
    lost = error("the worker is lost")
    desk.worker.errors += [lost, lost]
    for now in (1.0, 2.0):
        with told(str(lost.event)) as lines:
            found = step(desk)
        assert [(line["batch_id"], line["error"], line["files"]) for line in lines] == [
            (batch, "the worker is lost", 1)
        ]
        desk.now = now
    assert found == (True, True, True)
    assert [len(call.above) for call in desk.worker.calls] == [3, 0]
    (file,) = desk.files(batch)
    assert (file.kind, file.reason) == (lost.kind, "the worker is lost")


def test_a_file_that_goes_hop_by_hop_has_two_tries(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors += [RetryLaterError("later"), WorkerDiedError("lost"), WorkerDiedError("lost")]
    found = []
    for now in (1.0, 2.0, 3.0):
        found.append(step(desk))
        desk.now = now
    assert found == [(True, False, False), (True, False, False), (True, True, True)]
    assert desk.fates(batch) == ["set_aside"]


def test_a_batch_that_cost_a_worker_goes_hop_by_hop_and_so_do_its_halves(desk: Desk) -> None:
    first = desk.refinery.claim(KEY, a="1\n", b="2\n")
    desk.worker.errors += [WorkerDiedError("lost"), WorkerDiedError("lost")]
    assert step(desk) == (True, False, False)
    desk.now = 1.0
    assert step(desk) == (True, True, True)
    assert desk.fates(first) == []
    desk.refinery.climb(KEY)
    assert [len(call.above) for call in desk.worker.calls] == [3, *[0] * 9]
    assert desk.ledger.views.counts() == {"ingested": 2}
    later = desk.refinery.claim(KEY, c="3\n")
    desk.refinery.climb(KEY)
    assert len(desk.worker.calls[-1].above) == 3
    assert desk.fates(later) == ["ingested"]


def test_a_fault_of_ours_is_told_whole_and_the_file_set_aside_without_a_value_in_the_log(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    error = ZeroDivisionError("value 4711 by zero")
    desk.worker.errors.append(error)
    with told("promotion_failed", "batch_failed") as lines:
        assert step(desk) == (True, True, True)
    failed, given_up = lines
    assert (failed["batch_id"], failed["exc_info"]) == (batch, error)
    assert given_up["reason"] == "unexpected: `medalliond lineage` tells the reason"
    (file,) = desk.files(batch)
    assert (file.kind, file.reason) == ("unexpected", "ZeroDivisionError: value 4711 by zero")


def test_gold_sets_nothing_aside(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY, Layer.STAGED, Layer.BRONZE, Layer.SILVER)
    desk.worker.errors.append(RejectDataError("no such column", kind="refining_failed"))
    with told("promotion_retried") as lines:
        assert step(desk, Layer.GOLD) == (True, False, False)
    assert [(line["kind"], line["error"]) for line in lines] == [("refining_failed", "no such column")]
    assert desk.fates(batch) == ["staged"]
    desk.now = 1.0
    assert step(desk, Layer.GOLD) == (True, True, False)


def test_data_that_cannot_be_rebuilt_ends_the_rebuild_and_the_table_stays(desk: Desk) -> None:
    batch = desk.refinery.deliver(KEY, a="1\n")
    desk.ledger.rebuilds.request(Rebuild("r1", KEY, "rebuild", Layer.STAGED), utc_now())
    desk.refinery.rebuilder.step(KEY)
    desk.worker.errors.append(RejectDataError("a check failed", kind="check_failed"))
    assert step(desk, Layer.BRONZE, KEY.shadow) == (True, False, False)
    assert desk.ledger.views.rebuild("r1") == ("failed", f"batch {batch}: a check failed")
    assert desk.fates(batch) == ["ingested"]
    assert len(desk.published(KEY)) == 4


def test_leftovers_that_the_disk_keeps_do_not_hinder_the_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("daemon.scheduling.failures.remove_leftovers", refused)
    desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(FULL)
    assert step(desk) == (True, False, False)
