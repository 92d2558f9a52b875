"""Climbs: several hops in one call of a worker, each committed by itself; of one that fails nothing is left."""

import errno
import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from refinery import HOPS, Refinery
from structlog.testing import capture_logs

from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.lake import durable, parquet
from daemon.lake.layout import Layout
from daemon.lake.tables import read_table
from daemon.scheduling.recovery import recover
from daemon.scheduling.step import Step
from daemon.scheduling.workers import StoppingError, WorkerDiedError

KEY = TableKey("sales", "orders")
TEXT = "id,amount\n1,10\n2,x\n3,30\n"
CONTRACT = "bronze: {cast: {id: int64, amount: int64}}\n"
NEVER = CONTRACT + "silver: {checks: [{name: never, sql: 'id < 0', on_failure: quarantine}]}\n"


@pytest.fixture
def refinery(tmp_path: Path) -> Iterator[Refinery]:
    refinery = Refinery(Layout(tmp_path))
    yield refinery
    refinery.close()


def rows(refinery: Refinery, layer: Layer) -> pl.DataFrame | None:
    files = sorted(refinery.layout.layer_link(layer, KEY).glob("*.parquet"))
    return pl.read_parquet(files) if files else None


def published(refinery: Refinery) -> list[Layer]:
    """The layers in which readers find a file of the table."""
    return [layer for layer in HOPS if rows(refinery, layer) is not None]


def committed(refinery: Refinery) -> list[Layer]:
    """The layers in which the ledger has one."""
    return [layer for layer in HOPS if refinery.ledger.promotions.published(KEY, layer)]


def test_a_small_batch_climbs_to_gold_in_one_step_with_a_record_for_each_hop(refinery: Refinery) -> None:
    refinery.contract(KEY, CONTRACT)
    batch = refinery.claim(KEY, a=TEXT)
    assert refinery.promoter.step(KEY, Layer.STAGED).published == HOPS
    logs = refinery.ledger.outcomes.newest(10)
    counts = {log.target_layer: (log.row_count_in, log.row_count_out, log.rows_quarantined) for log in logs}
    assert counts == {"staged": (3, 3, 0), "bronze": (3, 2, 1), "silver": (2, 2, 0), "gold": (2, 2, 0)}
    assert {log.batch_id for log in logs} == {batch}
    assert not refinery.ledger.promotions.unfinished()


def test_each_hop_of_a_climb_has_its_own_time(refinery: Refinery) -> None:
    refinery.claim(KEY, a=TEXT)
    refinery.promoter.step(KEY, Layer.STAGED)
    times = [
        frame["_ingested_at"].unique().to_list()
        for layer in HOPS
        if (frame := rows(refinery, layer)) is not None
    ]
    assert [len(time) for time in times] == [1, 1, 1, 1]
    assert sorted(times) == times
    assert len({time[0] for time in times}) == len(HOPS)


@pytest.mark.parametrize("contract", [None, CONTRACT, NEVER.replace("<", ">")])
def test_a_climb_writes_what_hops_one_by_one_would(tmp_path: Path, contract: str | None) -> None:
    found = []
    for name, hop_by_hop in (("climb", False), ("hops", True)):
        refinery = Refinery(Layout(tmp_path / name))
        if contract:
            refinery.contract(KEY, contract)
        refinery.claim(KEY, a=TEXT, b="id,amount\n7,70\n")
        for hop in HOPS if hop_by_hop else ():
            refinery.climb(KEY, hop)
        refinery.climb(KEY)
        layers = [rows(refinery, layer) for layer in HOPS]
        found.append([frame.drop("_ingested_at", "_batch_id") for frame in layers if frame is not None])
        refinery.close()
    climbed, hopped = found
    assert len(climbed) == len(hopped) == len(HOPS)
    for one, other in zip(climbed, hopped, strict=True):
        assert one.equals(other)
        assert one.schema == other.schema


def test_the_records_of_a_climb_tell_the_files_as_they_were_published(refinery: Refinery) -> None:
    refinery.claim(KEY, a=TEXT)
    refinery.promoter.step(KEY, Layer.STAGED)
    found = {}
    for layer in HOPS:
        (path,) = refinery.layout.layer_link(layer, KEY).glob("*.parquet")
        found[layer] = (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    kept = {layer: refinery.ledger.promotions.published(KEY, layer)[0] for layer in HOPS}
    assert {layer: (file.size, file.sha256) for layer, file in kept.items()} == found
    sources = {Layer(log.target_layer): log.source_files[0] for log in refinery.ledger.outcomes.newest(10)}
    for below, above in pairwise(HOPS):
        assert (sources[above].bytes, sources[above].sha256) == found[below]


@pytest.mark.parametrize("full", HOPS)
def test_a_climb_ends_below_the_file_that_a_full_disk_refuses_and_nothing_above_it_is_published(
    refinery: Refinery, monkeypatch: pytest.MonkeyPatch, full: Layer
) -> None:
    tried = []

    def refusing(temporary: Path, final: Path) -> None:
        tried.append(next(layer for layer in HOPS if f"/{layer}/" in str(final)))
        if tried[-1] is full:
            raise OSError(errno.ENOSPC, "no space left on device")
        durable.publish(temporary, final)

    refinery.claim(KEY, a=TEXT)
    below = HOPS[: HOPS.index(full)]
    with monkeypatch.context() as patched:
        patched.setattr(parquet, "publish", refusing)
        assert refinery.promoter.step(KEY, Layer.STAGED).published == below
    assert tried == [*below, full]
    assert tuple(published(refinery)) == tuple(committed(refinery)) == below
    refinery.backoff.release("machine")
    refinery.climb(KEY)
    assert tuple(published(refinery)) == HOPS


def test_a_batch_does_not_overtake_one_that_waits_above(refinery: Refinery) -> None:
    refinery.claim(KEY, a=TEXT)
    refinery.climb(KEY, Layer.STAGED)
    refinery.claim(KEY, b="id,amount\n4,40\n")
    assert refinery.promoter.step(KEY, Layer.STAGED).published == (Layer.STAGED,)
    first = refinery.promoter.step(KEY, Layer.BRONZE)
    assert first.published == (Layer.BRONZE, Layer.SILVER, Layer.GOLD)


def test_a_step_that_finds_its_layer_taken_by_a_climb_is_woken_after_it(refinery: Refinery) -> None:
    refinery.claim(KEY, a=TEXT)
    found = []
    refinery.workers.meanwhile = lambda: found.append(refinery.promoter.step(KEY, Layer.SILVER).ran)
    assert refinery.promoter.step(KEY, Layer.STAGED).wanted == {(KEY, Layer.SILVER)}
    assert found == [False]


def test_a_hop_that_fails_ends_the_climb_and_is_answered_by_itself(refinery: Refinery) -> None:
    refinery.contract(KEY, NEVER.replace("quarantine", "fail"))
    refinery.claim(KEY, a=TEXT)
    assert refinery.promoter.step(KEY, Layer.STAGED).published == (Layer.STAGED, Layer.BRONZE)
    step = refinery.promoter.step(KEY, Layer.SILVER)
    assert step.withdrawn
    assert committed(refinery) == []


def test_what_a_void_hop_published_is_taken_back_and_the_hop_done_again(refinery: Refinery) -> None:
    refinery.deliver(KEY, a=TEXT)
    refinery.claim(KEY, b="id,amount\n4,40\n")

    def another_generation() -> None:
        with refinery.ledger.promotions._store.transaction() as tx:  # as a rebuild's end would
            tx.execute("UPDATE layers SET generation = 2 WHERE layer = 'silver'")
        refinery.workers.meanwhile = lambda: None

    refinery.workers.meanwhile = another_generation
    assert refinery.promoter.step(KEY, Layer.STAGED).published == (Layer.STAGED, Layer.BRONZE)
    gold = rows(refinery, Layer.GOLD)
    assert gold is not None
    assert gold["_source_file"].unique().to_list() == ["sales/orders/a.csv"]
    assert refinery.promoter.step(KEY, Layer.SILVER).published == (Layer.SILVER, Layer.GOLD)


def test_what_a_void_hop_published_of_a_batch_that_lost_all_its_rows_meanwhile_does_not_stay(
    refinery: Refinery,
) -> None:
    refinery.contract(KEY, CONTRACT + "silver: {dedup: {keys: [id], keep: last}}\n")
    refinery.claim(KEY, a="id,amount\n1,10\n")
    for hop in HOPS[:-1]:
        refinery.climb(KEY, hop)
    refinery.claim(KEY, b="id,amount\n1,20\n")
    for hop in HOPS[:2]:
        assert refinery.promoter.step(KEY, hop).published == (hop,)
    steps = []

    def newer_row() -> None:
        refinery.workers.meanwhile = lambda: None
        steps.append(refinery.promoter.step(KEY, Layer.SILVER))

    refinery.workers.meanwhile = newer_row
    assert refinery.promoter.step(KEY, Layer.GOLD).published == ()
    assert [step.published for step in steps] == [(Layer.SILVER,)]
    assert rows(refinery, Layer.GOLD) is None
    refinery.climb(KEY)
    gold = rows(refinery, Layer.GOLD)
    assert gold is not None
    assert gold["amount"].to_list() == [20]


def test_what_a_call_could_not_remove_since_the_disk_refused_is_removed_after_it(refinery: Refinery) -> None:
    refinery.claim(KEY, a=TEXT)
    scratch = refinery.layout.generation(Layer.STAGED, KEY, 1) / "tmpabc.tmp"

    def refused() -> None:
        scratch.mkdir()
        refinery.workers.meanwhile = lambda: None
        raise OSError(errno.EROFS, "Read-only file system")

    refinery.workers.meanwhile = refused
    refinery.promoter.step(KEY, Layer.STAGED)
    assert not scratch.exists()


def test_what_a_killed_climb_published_is_removed_at_start_whatever_the_contract_says_by_then(
    refinery: Refinery,
) -> None:
    refinery.contract(KEY, CONTRACT)
    refinery.claim(KEY, a=TEXT)

    def killed() -> None:
        raise StoppingError

    refinery.workers.meanwhile = killed
    refinery.promoter.step(KEY, Layer.STAGED)
    assert published(refinery) == list(HOPS)
    assert committed(refinery) == []
    assert list(refinery.layout.quarantine(KEY).iterdir())  # the value that does not cast
    refinery.contract(KEY, NEVER)
    recover(refinery.ledger, refinery.layout, ())
    assert published(refinery) == []
    assert not list(refinery.layout.quarantine(KEY).iterdir())


def test_after_a_worker_is_lost_the_hops_are_done_one_by_one_and_nothing_is_left_of_the_climb(
    refinery: Refinery,
) -> None:
    refinery.contract(KEY, CONTRACT)
    refinery.claim(KEY, a=TEXT)

    def lost() -> None:
        refinery.workers.meanwhile = lambda: None
        raise WorkerDiedError("it died")

    refinery.workers.meanwhile = lost
    refinery.promoter.step(KEY, Layer.STAGED)
    assert published(refinery) == list(HOPS)
    refinery.backoff.release("worker_died")
    refinery.contract(KEY, NEVER)
    assert refinery.promoter.step(KEY, Layer.STAGED).published == (Layer.STAGED,)
    assert published(refinery) == [Layer.STAGED]
    refinery.climb(KEY)
    assert published(refinery) == [Layer.STAGED, Layer.BRONZE]


def test_a_delivery_that_teaches_other_types_ends_its_climb_at_staged(refinery: Refinery) -> None:
    refinery.deliver(KEY, a="id,amount\n1,10\n")
    refinery.claim(KEY, b="id,amount\n2,many\n")
    assert refinery.promoter.step(KEY, Layer.STAGED).published == (Layer.STAGED,)
    refinery.carry_out(KEY)
    gold = rows(refinery, Layer.GOLD)
    assert gold is not None
    assert sorted(gold["amount"]) == ["10", "many"]


def test_the_ledger_knows_what_a_climb_may_have_left_above(refinery: Refinery) -> None:
    batch = refinery.claim(KEY, a=TEXT)
    refinery.climb(KEY, Layer.STAGED)
    hops = refinery.ledger.promotions.uncommitted()
    assert [(hop.layer, hop.batch_id) for hop in hops] == [(layer, batch) for layer in HOPS[1:]]


def test_content_the_table_has_never_shows_twice_in_gold_however_many_files_are_of_its_size(
    refinery: Refinery,
) -> None:
    texts = {f"f{number}": f"id\n{number}\n" for number in range(10, 40)}
    refinery.deliver(KEY, **texts)
    refinery.claim(KEY, again=texts["f39"])
    seen = []
    refinery.workers.meanwhile = lambda: seen.append(rows(refinery, Layer.GOLD))
    assert refinery.promoter.step(KEY, Layer.STAGED).settled
    (frame,) = seen
    assert frame is not None
    assert frame.height == len(texts)


def test_large_work_never_has_all_workers(refinery: Refinery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.catalog.ledger.promotions._LARGE", 40)
    other, small = TableKey("sales", "other"), TableKey("sales", "small")
    refinery.claim(KEY, a=TEXT * 2)
    refinery.claim(other, a=TEXT * 2)
    refinery.claim(small, a="id\n1\n")
    steps: list[Step] = []

    def meanwhile() -> None:
        refinery.workers.meanwhile = lambda: None
        steps.extend(refinery.promoter.step(key, Layer.STAGED) for key in (other, small))

    refinery.workers.meanwhile = meanwhile
    assert refinery.promoter.step(KEY, Layer.STAGED).wanted == {(other, Layer.STAGED)}
    assert [step.ran for step in steps] == [False, True]
    assert refinery.promoter.step(other, Layer.STAGED).ran


def test_nothing_is_published_whose_columns_could_not_be_noted(
    refinery: Refinery, monkeypatch: pytest.MonkeyPatch
) -> None:
    refinery.claim(KEY, a=TEXT)
    with monkeypatch.context() as disk:
        disk.setattr("daemon.scheduling.tables.write_table", refuse)
        refinery.promoter.step(KEY, Layer.STAGED)
    assert (committed(refinery), published(refinery)) == ([], [])
    refinery.backoff.release("machine")
    for layer in HOPS:
        refinery.promoter.step(KEY, layer)
    known = read_table(refinery.layout, KEY)
    assert committed(refinery) == list(HOPS)
    assert known is not None
    assert set(known.columns) == set(HOPS)


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_claimed_file_that_somebody_still_writes_to_is_read_once_when_it_has_come_to_rest(
    refinery: Refinery,
) -> None:
    batch = refinery.claim(KEY, a=TEXT)
    (path,) = refinery.layout.claimed(batch).iterdir()
    with capture_logs() as logs:
        with path.open("a") as writer:
            refinery.promoter.step(KEY, Layer.STAGED)
            writer.write("4,40\n")
        refinery.backoff.release("machine")
        refinery.promoter.step(KEY, Layer.STAGED)
    assert [line["error"] for line in logs] == [
        "sales/orders/a.csv: somebody still writes to it; it is read when it has come to rest",
        "sales/orders/a.csv: somebody wrote to it; it is read when it has come to rest",
    ]
    refinery.backoff.release("machine")
    refinery.climb(KEY)
    gold = rows(refinery, Layer.GOLD)
    assert gold is not None
    assert gold["id"].to_list() == [1, 2, 3, 4]
