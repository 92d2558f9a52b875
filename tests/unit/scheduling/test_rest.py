"""Where dropped files come to rest, what is said beside them, and that a move that fails is tried again by itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from paper import Desk, batch_of, told

from daemon.catalog.promotion import PromotionOutcome, PromotionTask, TableKey
from daemon.catalog.transition import Layer
from daemon.errors import RejectDataError
from daemon.scheduling.rest import RestKeeper
from daemon.scheduling.upkeep import keep_up

KEY = TableKey("sales", "orders")
NAME = "sales/orders/a.csv"
LANDING = f"landing/{NAME}"
Fate = Literal["staged", "duplicate", "set_aside", "returned"]


def archive(name: str = "a.csv", kind: str = "") -> str:
    return f"data/archive/sales/orders/{datetime.now(UTC).date().isoformat()}/{kind}{name}"


def settle(desk: Desk, fate: Fate = "staged", text: str = "1\n", **more: Any) -> str:
    """Claim and promote a.csv, which comes to this fate; returns its batch."""

    def outcome_of(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        if task.target is not Layer.STAGED or fate == "staged":
            return outcome
        files = tuple(replace(file, fate=fate, **more) for file in outcome.items[0].files)
        return batch_of(outcome, files=files, layer_file=None)

    desk.worker.change = outcome_of
    batch = desk.refinery.claim(KEY, a=text)
    desk.refinery.climb(KEY)
    return batch


def keeper(desk: Desk, policy: str, *, receipts: bool = True) -> RestKeeper:
    return RestKeeper(desk.ledger, desk.layout, desk.refinery.contracts, policy=policy, receipts=receipts)


def places(desk: Desk) -> set[str]:
    """Every file below landing and where sources rest, relative to the root."""
    folders = (desk.layout.landing, desk.layout.data / "archive", desk.layout.data / "quarantine")
    return {
        str(path.relative_to(desk.root)) for folder in folders for path in folder.rglob("*") if path.is_file()
    }


def receipt(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((desk.root / "landing/sales/orders/.receipts/a.csv.json").read_text())
    return found


def test_an_ingested_file_rests_in_the_archive_and_its_receipt_says_so(desk: Desk) -> None:
    batch = settle(desk)
    with told("source_archived") as lines:
        assert not desk.refinery.rest.step(KEY)
    assert lines == [
        {
            "event": "source_archived",
            "log_level": "info",
            "domain": "sales",
            "table": "orders",
            "files": 1,
            "policy": "move",
        }
    ]
    assert places(desk) == {archive(), "landing/sales/orders/.receipts/a.csv.json"}
    assert not (desk.layout.claimed(batch)).exists()
    said = receipt(desk)
    assert datetime.fromisoformat(said.pop("at")) <= datetime.now(UTC)
    assert said == {
        "file": NAME,
        "status": "accepted",
        "why": None,
        "table": "sales.orders",
        "rows": 3,
        "rows_quarantined": {},
        "batch_id": batch,
        "sha256": "sha-1\n",
        "lies_in": archive(),
    }
    assert not desk.refinery.rest.step(KEY)
    assert desk.ledger.rest.tables() == []


def test_a_namesake_in_the_archive_keeps_its_place(desk: Desk) -> None:
    for text in ("1\n", "2\n", "3\n"):
        settle(desk, text=text)
        desk.refinery.rest.step(KEY)
    assert {(desk.root / archive(name)).read_text() for name in ("a.csv", "a~2.csv", "a~3.csv")} == {
        "1\n",
        "2\n",
        "3\n",
    }


def test_two_namesakes_that_come_to_rest_together_get_two_names(desk: Desk) -> None:
    settle(desk)
    settle(desk, text="2\n")
    desk.refinery.rest.step(KEY)
    assert {archive(), archive("a~2.csv")} < places(desk)


def test_a_kept_file_goes_back_to_landing_but_not_over_another(desk: Desk) -> None:
    settle(desk)
    keep = keeper(desk, "keep", receipts=False)
    keep.step(KEY)
    assert places(desk) == {LANDING}
    settle(desk, text="2\n")
    (desk.root / LANDING).write_text("new\n")
    keep.step(KEY)
    assert places(desk) == {LANDING, LANDING.replace("a.csv", "a~2.csv")}
    assert (desk.root / LANDING).read_text() == "new\n"
    assert list(desk.ledger.views.kept_in_landing()) == [LANDING]


def test_what_is_not_to_be_kept_is_deleted_and_its_receipt_names_no_place(desk: Desk) -> None:
    batch = settle(desk)
    keeper(desk, "delete").step(KEY)
    assert places(desk) == {"landing/sales/orders/.receipts/a.csv.json"}
    assert receipt(desk)["lies_in"] is None
    assert [file.resting_path for file in desk.files(batch)] == [None]
    assert desk.ledger.rest.tables() == []
    settle(desk, "set_aside", text="2\n", kind="no_table", reason="no table")
    keeper(desk, "delete").step(KEY)
    assert len([path for path in places(desk) if path.startswith("data/quarantine")]) == 2


def test_a_refused_file_lies_in_quarantine_with_its_reason(desk: Desk) -> None:
    batch = desk.refinery.claim(KEY, a="1\n")
    desk.worker.errors.append(RejectDataError("no table in it", kind="no_table"))
    desk.refinery.climb(KEY)
    desk.refinery.rest.step(KEY)
    place = f"data/quarantine/sales/orders/{batch}-0-a.csv"
    assert places(desk) == {place, f"{place}.reason.json", "landing/sales/orders/.receipts/a.csv.json"}
    why = json.loads((desk.root / f"{place}.reason.json").read_text())
    assert datetime.fromisoformat(why.pop("set_aside_at")) <= datetime.now(UTC)
    assert why == {
        "file": NAME,
        "domain": "sales",
        "table": "orders",
        "batch_id": batch,
        "kind": "no_table",
        "reason": "no table in it",
        "bytes": 2,
        "sha256": None,
    }
    said = receipt(desk)
    assert (said["status"], said["why"], said["lies_in"], said["rows"]) == (
        "rejected",
        "no table in it",
        place,
        None,
    )


def test_a_duplicate_is_told_what_it_is_one_of(desk: Desk) -> None:
    settle(desk)
    desk.refinery.rest.step(KEY)
    settle(desk, "duplicate")
    desk.refinery.rest.step(KEY)
    assert {archive(), archive(kind="duplicates/")} < places(desk)
    said = receipt(desk)
    assert (said["status"], said["duplicate_of"], said["lies_in"]) == (
        "duplicate",
        NAME,
        archive(kind="duplicates/"),
    )


def test_a_file_that_waits_for_its_other_half_goes_back_and_nobody_is_told(desk: Desk) -> None:
    settle(desk, "returned", kind="incomplete", reason="cut short")
    with told("source_archived") as lines:
        desk.refinery.rest.step(KEY)
    assert places(desk) == {LANDING}
    assert lines == []
    assert desk.ledger.views.kept_in_landing() == {}  # it waits


def test_a_replayed_file_leaves_quarantine_with_its_reason_and_a_discarded_one_for_good(desk: Desk) -> None:
    for text in ("1\n", "2\n"):
        settle(desk, "set_aside", text=text, kind="no_table", reason="no table")
        keeper(desk, "move", receipts=False).step(KEY)
    assert len(places(desk)) == 4
    assert desk.ledger.quarantine.replay_files(KEY, [1]) == 1
    assert desk.ledger.quarantine.discard_files(KEY, [2], "a test") == 1
    desk.refinery.rest.step(KEY)
    assert places(desk) == {LANDING}
    assert (desk.root / LANDING).read_text() == "1\n"


@pytest.mark.parametrize(
    ("contract", "found"),
    [
        ("landing: {archive: keep, receipts: false}\n", {LANDING}),
        ("landing: {archive: delete}\n", {"landing/sales/orders/.receipts/a.csv.json"}),
    ],
)
def test_the_contract_has_the_last_word(desk: Desk, contract: str, found: set[str]) -> None:
    desk.refinery.contract(KEY, contract)
    settle(desk)
    desk.refinery.rest.step(KEY)
    assert places(desk) == found


@pytest.mark.parametrize("again", [False, True])
def test_a_done_marker_that_a_death_left_goes_when_its_file_rests_unless_there_is_another(
    desk: Desk, *, again: bool
) -> None:
    desk.refinery.contract(KEY, "landing: {done_marker: true, receipts: false}\n")
    settle(desk)
    left = {f"{LANDING}.done", *([LANDING] if again else [])}
    for path in left:
        (desk.root / path).touch()
    desk.refinery.rest.step(KEY)
    assert places(desk) == {archive(), *(left if again else ())}


def test_while_a_contract_is_broken_files_are_kept_safe(desk: Desk) -> None:
    settle(desk)
    desk.refinery.contract(KEY, "landing: {archive: perhaps}\n")
    keeper(desk, "delete", receipts=False).step(KEY)
    assert places(desk) == {archive()}


def test_a_receipt_counts_the_records_that_were_set_aside_by_rule(desk: Desk) -> None:
    def set_aside(task: PromotionTask, outcome: PromotionOutcome) -> PromotionOutcome:
        rules = {
            Layer.STAGED: (("short", NAME, 1), ("short", "other.csv", 5)),
            Layer.BRONZE: (("cast:id", NAME, 1000),),
        }
        if task.target not in rules:
            return outcome
        return batch_of(outcome, quarantine_file=f"{task.target}.parquet", rejected=rules[task.target])

    desk.worker.change = set_aside
    desk.refinery.claim(KEY, a="1\n")
    desk.refinery.climb(KEY)
    desk.refinery.rest.step(KEY)
    said = receipt(desk)
    assert said["status"] == "partly accepted"
    assert said["rows_quarantined"] == {"short": 1, "cast:id": 1000}
    assert said["why"] == "1,001 of 3 records are set aside: 1 short, 1,000 cast:id"


def test_a_namesake_that_comes_in_between_makes_it_choose_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(desk)

    def in_between(moves: Any, **_: Any) -> None:
        for source, destination in moves:
            raise FileExistsError(17, "File exists", str(source), None, str(destination))

    with monkeypatch.context() as patched:
        patched.setattr("daemon.scheduling.rest.move_all", in_between)
        with pytest.raises(FileExistsError):
            desk.refinery.rest.step(KEY)
    (file,) = desk.ledger.rest.restless(KEY, 9)
    assert file.destination is None
    place = desk.root / archive()
    place.parent.mkdir(parents=True)
    place.write_text("theirs\n")
    desk.refinery.rest.step(KEY)
    assert {archive(), archive("a~2.csv")} < places(desk)
    assert place.read_text() == "theirs\n"


def test_a_move_that_failed_goes_to_the_place_that_was_chosen(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(desk)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("daemon.scheduling.rest.move_all", full)
        with pytest.raises(OSError, match="No space left"):
            desk.refinery.rest.step(KEY)
    (file,) = desk.ledger.rest.restless(KEY, 9)
    assert file.destination == archive()
    desk.refinery.rest.step(KEY)
    assert archive() in places(desk)


def test_a_claimed_folder_that_others_still_lie_in_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.scheduling.rest._AT_ONCE", 1)
    batch = desk.refinery.claim(KEY, a="1\n", b="2\n")
    desk.refinery.climb(KEY)
    assert desk.refinery.rest.step(KEY)
    assert len(list(desk.layout.claimed(batch).iterdir())) == 1
    assert desk.refinery.rest.step(KEY)
    assert not desk.refinery.rest.step(KEY)
    assert not desk.layout.claimed(batch).exists()


def test_upkeep_makes_the_disk_show_what_the_ledger_says(desk: Desk) -> None:
    batch = settle(desk)
    link = desk.layout.layer_link(Layer.GOLD, KEY)
    log = desk.ledger.views.transitions_of_batch(batch)[0]
    lineage = desk.layout.lineage / f"{log.transition_id}.json"
    desk.ledger.outcomes.flush()
    with desk.ledger.promotions._store.transaction() as tx:
        tx.execute("UPDATE layers SET generation = 2 WHERE layer = 'gold'")
        tx.execute("UPDATE transitions SET filed = 0")
        tx.execute("INSERT INTO removals VALUES ('data/.generations/gold/sales/orders/1', '')")
        tx.execute("INSERT INTO removals VALUES ('data/later', '9999')")
    (desk.root / "data/later").mkdir()
    lineage.write_text("")
    with told("generation_removed") as lines:
        keep_up(desk.ledger, desk.layout)
    assert [(line["count"], line["paths"]) for line in lines] == [
        (1, ["data/.generations/gold/sales/orders/1"])
    ]
    assert link.readlink().name == "2"
    assert json.loads(lineage.read_text())["transition_id"] == log.transition_id
    assert not desk.layout.generation(Layer.GOLD, KEY, 1).exists()
    assert (desk.root / "data/later").exists()
    with told("generation_removed") as lines:
        keep_up(desk.ledger, desk.layout)
    assert lines == []
