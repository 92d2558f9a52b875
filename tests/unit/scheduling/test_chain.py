"""The chain: what a step brought about wakes the jobs that go on from it, and nothing else; what waits has one timer."""

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ledgers import transitions_of_table
from paper import Desk, batch_of, refuses, told

from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.promotion import PromotionOutcome, PromotionTask, TableKey
from daemon.catalog.rebuild import Rebuild
from daemon.catalog.transition import Layer
from daemon.errors import ContractError, RejectDataError, RetryLaterError
from daemon.scheduling.clock import utc_now
from daemon.scheduling.recovery import recover
from daemon.scheduling.workers import WorkerDiedError

KEY = TableKey("sales", "orders")
PEOPLE = TableKey("hr", "people")
TOTALS = TableKey("main", "totals")
MODEL = "model: {sql: 'SELECT count(*) AS n FROM gold.sales.orders'}\n"


def ask(desk: Desk, base: Layer = Layer.STAGED) -> None:
    desk.ledger.rebuilds.request(Rebuild("r1", KEY, "rebuild", base), utc_now())


def test_a_small_batch_goes_to_gold_and_its_file_to_rest(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    assert desk.run() == ["sales.orders staged", "upkeep", "sales.orders rest"]
    assert desk.staged == [KEY]
    assert desk.fates(batch) == ["ingested"]
    assert desk.files(batch)[0].resting_path is not None
    assert desk.is_idle()
    assert desk.is_done()
    assert desk.jobs.timers == {}
    assert desk.run() == ["upkeep"]


def test_a_hop_wakes_the_one_above_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.scheduling.planning._SMALL", 1)
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.claim(KEY, b="22\n")
    assert desk.run() == [
        "sales.orders staged",
        "upkeep",
        "sales.orders bronze",
        "sales.orders staged",
        "sales.orders rest",
        "sales.orders bronze",
        "sales.orders rest",
    ]
    assert desk.staged == [KEY, KEY]
    assert [len(call.above) for call in desk.worker.calls] == [0, 2, 0, 2]
    assert desk.is_done()


def test_jobs_of_one_table_do_not_touch_another(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    people = desk.refinery.claim(PEOPLE, a="1\n")
    desk.chain.wake(KEY, Layer.STAGED)
    assert desk.jobs.run() == ["sales.orders staged", "sales.orders rest"]
    assert desk.fates(people) == ["claimed"]
    assert not desk.is_idle()
    assert not desk.is_done()


def test_what_failed_waits_for_the_one_timer_of_all_and_then_goes_on(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.refinery.claim(PEOPLE, a="1\n")
    desk.worker.errors += [RetryLaterError("disk full"), ContractError("no column x")]
    desk.run()
    assert {name: seconds for name, (seconds, _) in desk.jobs.timers.items()} == {"retries": 1.0}
    assert desk.is_idle()
    assert not desk.is_done()
    assert desk.fates(batch) == ["claimed"]
    desk.now = 1.0
    assert not desk.is_idle()
    desk.jobs.ring("retries")
    assert desk.jobs.run()[:3] == ["retries", "hr.people staged", "sales.orders staged"]
    assert desk.is_done()
    assert desk.ledger.views.counts() == {"ingested": 2}
    assert desk.jobs.timers == {}


def test_an_edited_contract_ends_the_wait_for_one(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.claim(PEOPLE, a="1\n")
    desk.worker.errors += [ContractError("no column x"), RetryLaterError("disk full")]
    desk.run()
    ask(desk)
    desk.ledger.shadows.drop(Rebuild("r1", KEY, "rebuild", Layer.STAGED), "failed", "no", utc_now())
    replacement = Rebuild("r2", KEY, "replace", Layer.LANDING, files_out=(99,))
    desk.ledger.rebuilds.request(replacement, utc_now())
    desk.ledger.shadows.drop(replacement, "failed", "no", utc_now())
    desk.chain.contracts_changed()
    ran = desk.jobs.run()
    assert "sales.orders rebuild" in ran
    assert desk.ledger.views.counts() == {"claimed": 1, "ingested": 1}
    assert desk.ledger.views.rebuild("r1") == ("failed", "no")
    assert desk.ledger.views.rebuild("r2") == ("done", "no")


def test_a_job_that_the_disk_refuses_is_told_and_tried_again_alone(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    rest = desk.refinery.rest
    rest.step = refuses(rest.step, OSError(errno.EIO, "Input/output error"))  # type: ignore[method-assign]
    with told("promotion_retried") as lines:
        desk.run()
    assert lines == [
        {
            "event": "promotion_retried",
            "log_level": "warning",
            "job": "sales.orders rest",
            "kind": "machine",
            "error": "[Errno 5] Input/output error",
            "seconds": 1.0,
        }
    ]
    assert desk.jobs.timers["retries"][0] == 1.0
    assert desk.is_idle()
    assert not desk.is_done()
    assert sorted(desk.run()) == ["sales.orders rest", "upkeep"]
    assert not desk.is_done()
    desk.now = 1.0
    assert not desk.is_idle()
    desk.run()
    assert desk.is_done()
    assert (
        desk.refinery.backoff.hold("sales.orders rest", "machine") == 1.0
    )  # forgotten: a first failure again


def test_a_batch_that_was_withdrawn_begins_again_from_landing(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n", b="2\n")
    desk.refinery.climb(KEY, Layer.STAGED)
    desk.worker.errors.append(RejectDataError("no", kind="check_failed"))
    desk.chain.wake(KEY, Layer.BRONZE)
    ran = desk.jobs.run()
    assert ran[:4] == ["sales.orders bronze", "sales.orders staged", "upkeep", "sales.orders rest"]
    assert desk.ledger.views.counts() == {"ingested": 2}
    assert not list(desk.layout.data.glob(".generations/staged/sales/orders/1/*-0000.parquet"))
    assert desk.ledger.rest.removals(utc_now()) == []


def test_what_the_disk_did_not_show_after_a_commit_is_done_by_upkeep(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    module = "daemon.scheduling.promoter.write_transition"
    monkeypatch.setattr(module, refuses(None, OSError(errno.EIO, "Input/output error")))
    desk.chain.wake(KEY, Layer.STAGED)
    with told("promotion_retried") as lines:
        assert desk.jobs.run() == ["sales.orders staged", "upkeep", "sales.orders rest"]
    assert [(line["kind"], line["error"]) for line in lines] == [("machine", "[Errno 5] Input/output error")]
    for log in desk.ledger.views.transitions_of_batch(batch):
        assert (desk.layout.lineage / f"{log.transition_id}.json").exists()
    desk.ledger.outcomes.flush()
    assert desk.ledger.outcomes.unfiled() == []


def test_sheets_of_a_workbook_wake_their_tables_and_the_workbook_rests_after_the_last(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, book="1\n")

    def sheets(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        if task.key == KEY and task.target is Layer.STAGED:
            (file,) = outcome.items[0].files
            return batch_of(outcome, files=(replace(file, parts=(("Sheet2", "others"),)),))
        return outcome

    desk.worker.change = sheets
    desk.chain.wake(KEY, Layer.STAGED)
    ran = desk.jobs.run()
    assert ran.index("sales.others staged") < len(ran) - 1 - ran[::-1].index("sales.orders rest")
    assert desk.files(batch)[0].resting_path is not None
    assert desk.published(TableKey("sales", "others"))[-1] is Layer.GOLD
    assert desk.is_done()


def test_a_rebuild_is_begun_climbs_under_the_shadows_name_and_is_shown(desk: Desk) -> None:
    batch = desk.refinery.deliver(KEY, a="1\n")
    ask(desk)
    assert not desk.is_idle()
    assert not desk.is_done()
    ran = desk.run()
    assert ran.count("sales.orders rebuild") >= 2
    shadow = [f"sales.orders~ {layer}" for layer in ("bronze", "silver", "gold")]
    assert [name for name in dict.fromkeys(ran) if "~" in name] == shadow
    assert desk.ledger.views.rebuild("r1") == ("done", None)
    assert desk.ledger.promotions.generation(KEY, Layer.GOLD) == 3
    assert desk.layout.layer_link(Layer.GOLD, KEY).resolve().name == "3"
    assert desk.fates(batch) == ["ingested"]
    assert desk.is_done()


def test_a_batch_that_is_staged_while_a_rebuild_waits_for_it_wakes_the_rebuild(desk: Desk) -> None:
    desk.refinery.deliver(KEY, a="1\n")
    desk.refinery.claim(KEY, b="2\n")
    ask(desk)
    desk.chain.wake(KEY, Layer.STAGED)
    assert "sales.orders rebuild" in desk.jobs.run()
    assert desk.is_done()
    assert desk.ledger.views.counts() == {"ingested": 2}


def test_a_rebuild_that_the_machine_refuses_waits_and_does_not_keep_the_chain_busy(desk: Desk) -> None:
    desk.refinery.deliver(KEY, a="1\n")
    ask(desk)
    rebuilder = desk.refinery.rebuilder
    rebuilder.step = refuses(rebuilder.step, RetryLaterError("lost"))  # type: ignore[method-assign]
    desk.run()
    assert desk.is_idle()
    assert not desk.is_done()
    desk.now = 1.0
    assert not desk.is_idle()
    desk.run()
    assert desk.is_done()


def test_models_that_the_machine_refuses_to_look_at_do_not_keep_the_chain_busy(desk: Desk) -> None:
    desk.refinery.contract(TOTALS, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.run()
    models = desk.refinery.models
    models.step = refuses(models.step, RetryLaterError("disk full"))  # type: ignore[method-assign]
    desk.jobs.ring("models")
    desk.jobs.run()
    assert desk.is_idle()
    assert not desk.is_done()
    desk.now = 1.0
    assert not desk.is_idle()


def test_models_are_looked_at_a_moment_after_what_they_may_read_has_changed(desk: Desk) -> None:
    desk.refinery.contract(TOTALS, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.chain.wake(KEY, Layer.STAGED)
    desk.jobs.run()
    assert not desk.is_idle()
    assert not desk.is_done()
    assert {name: seconds for name, (seconds, _) in desk.jobs.timers.items()} == {"models": 0.5}
    desk.jobs.ring("models")
    with told("model_refreshed") as lines:
        assert desk.jobs.run() == ["models"]
    assert [(line["domain"], line["table"], line["rows"]) for line in lines] == [("main", "totals", 1)]
    assert desk.is_idle()
    assert desk.is_done()


def test_a_layer_that_no_model_may_read_wakes_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.scheduling.planning._SMALL", 1)
    desk.refinery.contract(TOTALS, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.worker.meanwhile = lambda: desk.worker.errors.append(RetryLaterError("later"))
    desk.chain.wake(KEY, Layer.STAGED)
    desk.jobs.run()
    assert desk.published(KEY) == [Layer.STAGED]
    assert list(desk.jobs.timers) == ["retries"]


def test_a_model_that_failed_waits_and_the_one_timer_is_set_for_it(desk: Desk) -> None:
    desk.refinery.contract(TOTALS, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.run()
    desk.worker.errors.append(RetryLaterError("disk full"))
    desk.jobs.ring("models")
    with told("model_failed") as lines:
        desk.jobs.run()
    assert [(line["table"], line["error"], line["seconds"]) for line in lines] == [
        ("totals", "disk full", 1.0)
    ]
    assert desk.ledger.views.model_failures() == {TOTALS: "disk full"}
    assert desk.jobs.timers["retries"][0] == 1.0
    assert desk.is_idle()
    assert not desk.is_done()
    desk.now = 1.0
    desk.jobs.ring("retries")
    desk.jobs.run()
    desk.jobs.ring("models")
    desk.jobs.run()
    assert desk.is_done()
    assert desk.ledger.views.model_failures() == {}


def test_after_something_was_merged_hops_that_were_not_let_in_are_woken(desk: Desk) -> None:
    did = [True, False]
    desk.refinery.compactor.step = lambda: did.pop(0)  # type: ignore[method-assign]
    assert desk.chain.compact()
    assert list(desk.jobs.awake) == ["upkeep"]
    desk.jobs.awake.clear()
    assert not desk.chain.compact()
    assert not desk.jobs.awake
    desk.refinery.compactor.step = refuses(None, OSError(errno.EIO, "no"))  # type: ignore[method-assign]
    with told("promotion_retried") as lines:
        assert not desk.chain.compact()
    assert [line["job"] for line in lines] == ["compaction"]
    assert not desk.chain.compact()  # it waits; a second call would have succeeded


def test_a_step_that_was_in_the_way_of_others_wakes_them(desk: Desk) -> None:
    desk.refinery.claim(KEY, a="1\n")
    other = TableKey("sales", "more")

    def meanwhile() -> None:
        assert not desk.refinery.promoter.step(KEY, Layer.GOLD).ran
        desk.refinery.claim(other, a="1\n")

    desk.worker.meanwhile = meanwhile
    desk.chain.wake(KEY, Layer.STAGED)
    assert "sales.orders gold" in desk.jobs.run()


@pytest.mark.parametrize("error", [StaleSourceError("again"), None])
def test_a_void_outcome_is_made_again_and_told_to_nobody(desk: Desk, error: Any) -> None:
    desk.refinery.claim(KEY, a="1\n")
    commit: Callable[..., Any] = desk.ledger.outcomes.commit
    if error:
        desk.ledger.outcomes.commit = refuses(commit, error)  # type: ignore[method-assign]
    with told("promotion_retried", "batch_failed") as lines:
        desk.run()
    assert lines == []
    assert desk.is_done()
    assert len(desk.worker.calls) == (2 if error else 1)


def test_a_model_is_told_the_files_of_its_inputs_wherever_their_tables_are(desk: Desk) -> None:
    desk.refinery.contract(TOTALS, "model: {sql: 'SELECT 1 AS n FROM gold.orders, silver.hr.people'}\n")
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY)
    desk.refinery.models.step()
    assert len(desk.worker.calls) == 1  # it waits for people
    desk.refinery.claim(PEOPLE, a="1\n")
    desk.refinery.climb(PEOPLE)
    with told("model_refreshed") as lines:
        desk.refinery.models.step()
    task = desk.worker.calls[-1]
    assert (task.root, task.key, task.generation) == (desk.layout.root, TOTALS, 1)
    assert [(read.layer, read.key, read.generation) for read in task.inputs] == [
        (Layer.GOLD, KEY, 1),
        (Layer.SILVER, PEOPLE, 1),
    ]
    assert [file.batch_id for file in task.inputs[0].files] == [batch]
    assert desk.layout.generation(Layer.GOLD, TOTALS, 1).is_dir()
    (line,) = lines
    assert (line["batch_id"], line["rows"], line["rows_in"]) == (task.batch_id, 1, 1)
    (log,) = transitions_of_table(desk.ledger.views, TOTALS)
    assert (log.transition_id, log.batch_id) == (task.transition_id, task.batch_id)
    assert (desk.layout.lineage / f"{log.transition_id}.json").exists()
    desk.refinery.models.step()
    assert desk.worker.calls[-1] is task


def test_a_model_that_is_wrong_waits_for_an_edit_and_others_are_made(desk: Desk) -> None:
    more = TableKey("main", "more")
    for key in (TOTALS, more):
        desk.refinery.contract(key, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY)
    desk.worker.errors.append(ContractError("no column x"))
    desk.refinery.models.step()
    ((failed, why),) = desk.ledger.views.model_failures().items()
    assert why == "no column x"
    assert desk.refinery.models.due(()) == [failed]
    assert desk.refinery.models.due({f"model {failed}"}) == []
    calls = len(desk.worker.calls)
    desk.refinery.models.step()
    assert len(desk.worker.calls) == calls
    desk.refinery.backoff.release("contract")
    desk.refinery.models.step()
    assert desk.ledger.views.model_failures() == {}
    assert desk.refinery.models.due(()) == []


def test_what_a_worker_that_was_lost_was_writing_of_a_model_is_removed(desk: Desk) -> None:
    desk.refinery.contract(TOTALS, MODEL)
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY)
    generation = desk.layout.generation(Layer.GOLD, TOTALS, 1)
    generation.mkdir(parents=True)
    left = [generation / "totals.parquet.1f.tmp", generation.with_name("1.1f.tmp")]
    for path in left:
        path.touch()
    desk.worker.errors.append(WorkerDiedError("killed"))
    desk.refinery.models.step()
    assert not any(path.exists() for path in left)


def test_a_start_removes_what_was_not_committed_and_tells_what_it_found(desk: Desk) -> None:
    done = desk.refinery.deliver(KEY, a="1\n")
    waits = desk.refinery.claim(KEY, b="2\n")
    layout = desk.layout
    folders = {layer: layout.generation(layer, KEY, 1) for layer in (Layer.STAGED, Layer.GOLD)}
    quarantine = layout.quarantine(KEY)
    gone = [
        *(folder / f"{waits}.parquet" for folder in folders.values()),
        *(folder / f"{waits}.parquet.1f.tmp" for folder in folders.values()),
        quarantine / f"{waits}-bronze.parquet",
        quarantine / f"{waits}-bronze.parquet.1f.tmp",
        layout.tables / "sales.orders.json.1f.tmp",
        layout.claimed(waits) / "b.csv.1f.tmp",
        layout.generation(Layer.GOLD, KEY, 7) / f"{done}.parquet",
        layout.generation(Layer.GOLD, TOTALS, 1) / "totals.parquet.1f.tmp",
    ]
    for path in gone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (log, *_) = desk.ledger.views.transitions_of_batch(done)
    (layout.lineage / f"{log.transition_id}.json").unlink()
    with told("recovery_completed") as lines:
        recover(desk.ledger, layout, [TOTALS])
    assert [path for path in gone if path.exists()] == []
    assert all((folder / f"{done}.parquet").exists() for folder in folders.values())
    assert (layout.lineage / f"{log.transition_id}.json").exists()
    (line,) = lines
    assert (line["batches"], line["temporary_files"], line["lineage_files"]) == (1, 6, 1)
    assert desk.run()
    assert desk.is_done()
