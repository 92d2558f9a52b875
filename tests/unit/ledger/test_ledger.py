"""The ledger alone: claims, promotions, groups, splits, set-asides, and what it refuses."""

import sqlite3
from pathlib import Path

import pytest
from ledger_world import KEY, NOW, World, layer_file, transition

from daemon.catalog.ledger.committing import StaleSourceError
from daemon.catalog.ledger.intake import ClaimIntent
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.ledger.outcomes import KnownContentError
from daemon.catalog.ledger.store import IllegalChangeError
from daemon.catalog.ledger.views import LedgerViews
from daemon.catalog.promotion import BatchOutcome, FileOutcome
from daemon.catalog.transition import Layer
from daemon.errors import HaltError


def test_a_batch_climbs_from_landing_to_gold_and_its_files_are_then_ingested(world: World) -> None:
    batch = world.claim("a.csv", "b.csv")
    for target in (Layer.STAGED, Layer.BRONZE, Layer.SILVER):
        assert world.climb(target) == []
    assert world.climb(Layer.GOLD) == [batch]
    assert {file.state for file in world.ledger.views.files.of_batch(batch)} == {"ingested"}
    assert not world.ledger.promotions.unfinished()
    assert [totals.rows for totals in world.ledger.views.layers()] == [5, 5, 5, 5]


def test_a_batch_whose_every_record_was_set_aside_is_done_without_a_gold_file(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    assert world.climb(Layer.BRONZE, rows=0) == [batch]
    assert not world.ledger.promotions.unfinished()


def test_the_newest_id_is_known_so_that_later_ones_can_follow_it(world: World) -> None:
    assert world.ledger.promotions.newest_id() is None
    batch = world.claim("a.csv")
    before = world.ledger.promotions.newest_id()
    assert before is not None
    assert before >= batch
    world.climb(Layer.STAGED)
    after = world.ledger.promotions.newest_id()
    assert after is not None
    assert after >= max(log.transition_id for log in world.ledger.views.transitions_of_batch(batch))


def test_an_intended_claim_is_found_again_after_a_crash(world: World) -> None:
    world.intend("b1", "a.csv", "b.csv")
    (claim,) = world.ledger.intake.open_claims()
    assert (claim.batch_id, claim.key, [intent.name for intent in claim.intents]) == (
        "b1",
        KEY,
        ["a.csv", "b.csv"],
    )


def test_a_claim_of_which_nothing_is_left_is_cancelled(world: World) -> None:
    world.intend("b1", "a.csv")
    assert not world.ledger.intake.confirm({"b1": {}}, world.new_id, NOW)
    assert world.ledger.intake.open_claims() == []
    assert not world.ledger.promotions.unfinished()


def test_a_promotion_that_waits_lets_the_next_batch_pass(world: World) -> None:
    first, second = world.claim("a.csv"), world.claim("b.csv")
    due = world.due(Layer.STAGED)
    assert due.items[0].batch_id == first
    other = world.ledger.promotions.due(KEY, Layer.STAGED, {due.group_id})
    assert other is not None
    assert other.items[0].batch_id == second


def test_contents_of_a_file_that_was_set_aside_get_another_try(world: World) -> None:
    world.claim("a.csv")
    due = world.due(Layer.STAGED)
    item = due.items[0]
    refused = FileOutcome(item.sources[0].file_id, "sha", 0, "set_aside", "unreadable", "no table")
    world.commit(
        due, BatchOutcome(transition(item.transition_id, item.batch_id, Layer.STAGED, 0), None, (refused,))
    )
    again = world.claim("a.csv")
    due = world.due(Layer.STAGED)
    assert due.items[0].batch_id == again
    assert world.ledger.promotions.known_hashes(KEY, due.items[0].sources) == frozenset()


def test_contents_already_taken_are_known_by_their_hash(world: World) -> None:
    world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.claim("copy.csv")
    assert world.ledger.promotions.known_hashes(KEY, world.due(Layer.STAGED).items[0].sources) == {
        "sha-a.csv"
    }


def test_content_that_no_guess_by_size_named_is_found_when_it_is_committed(world: World) -> None:
    """Twenty files of one size are more than are handed to a promotion; the hash tells in the end."""
    for number in range(20):
        world.claim(f"{number:02}.csv")
        world.climb(Layer.STAGED)
    again = world.claim("19.csv")
    due = world.due(Layer.STAGED)
    assert "sha-19.csv" not in world.ledger.promotions.known_hashes(KEY, due.items[0].sources)
    with pytest.raises(KnownContentError) as raised:
        world.climb(Layer.STAGED)
    assert raised.value.hashes == {"sha-19.csv"}
    assert world.due(Layer.STAGED).items[0].batch_id == again


def test_files_are_counted_by_state_as_they_change_it(world: World) -> None:
    world.claim("a.csv", "b.csv")
    assert world.ledger.views.counts() == {"claimed": 2}
    world.climb(Layer.STAGED)
    world.intend("b2", "c.csv")
    assert world.ledger.views.counts() == {"staged": 2, "claiming": 1}


def test_the_counts_of_an_older_ledger_are_made_when_it_is_opened(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.ledger.close()
    connection = sqlite3.connect(world.path)
    connection.executescript(
        "DROP TABLE file_counts; DROP TRIGGER files_counted; DROP TRIGGER files_recounted; "
        "DROP INDEX files_by_content; CREATE INDEX files_by_size ON files (domain, table_name, size, state); "
        "DROP INDEX files_set_aside; DROP INDEX quarantine_by_batch; DROP INDEX verdicts_discarded; "
        "DROP INDEX layer_files_by_contract; ALTER TABLE layer_files DROP COLUMN contract_version; "
        "DROP INDEX layer_files_alone; DROP INDEX layer_files_merged; DROP TABLE merged_files; "
        "ALTER TABLE layer_files DROP COLUMN merged; PRAGMA user_version = 2"
    )
    connection.close()
    world.ledger = Ledger.open(world.path)
    assert world.ledger.views.counts() == {"staged": 1}
    assert world.ledger.views.batches_of_table(KEY, 5) == [batch]
    world.climb(Layer.BRONZE)


def test_a_failed_attempt_is_counted_and_the_promotion_stays_due(world: World) -> None:
    batch = world.claim("a.csv")
    world.ledger.outcomes.retry(world.due(Layer.STAGED), "worker_died", "exit code -9", NOW)
    due = world.due(Layer.STAGED)
    assert (due.deaths, due.items[0].attempt) == (1, 2)
    (failure,) = world.ledger.views.failures()
    assert (failure.batch_id, failure.kind, failure.error) == (batch, "worker_died", "exit code -9")


def test_a_batch_is_split_into_halves_that_start_again_from_landing(world: World) -> None:
    batch = world.claim("a.csv", "b.csv", "c.csv")
    world.climb(Layer.STAGED)
    due = world.due(Layer.BRONZE)
    log = transition(due.items[0].transition_id, batch, Layer.BRONZE, 0)
    world.ledger.outcomes.split(due, log, ("h1", "h2"), world.new_id)
    assert [file.name for file in world.ledger.views.files.of_batch("h1")] == ["b.csv", "a.csv"]
    assert [file.state for file in world.ledger.views.files.of_batch("h2")] == ["claimed"]
    assert world.ledger.promotions.published(KEY, Layer.STAGED) == ()
    assert any(path.name == f"{batch}.parquet" for path in world.ledger.rest.removals(NOW))
    assert world.due(Layer.STAGED).items[0].batch_id == "h1"


def test_setting_a_batch_aside_takes_back_what_it_published(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    due = world.due(Layer.BRONZE)
    log = transition(due.items[0].transition_id, batch, Layer.BRONZE, 0)
    world.ledger.outcomes.set_aside(due, log, "check_failed", "total is negative")
    (file,) = world.ledger.views.files.set_aside()
    assert (file.name, file.kind, file.reason) == ("a.csv", "check_failed", "total is negative")
    assert [totals.rows for totals in world.ledger.views.layers()] == [0]
    assert [restless.fate for restless in world.ledger.rest.restless(KEY, 10)] == ["set_aside"]


def rewrite_first_by_second(world: World) -> tuple[str, str]:
    """Two batches, the first in gold; then the second's silver hop rewrites the first's silver file."""
    first = world.claim("a.csv")
    for target in (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD):
        world.climb(target)
    second = world.claim("b.csv")
    world.climb(Layer.STAGED)
    world.climb(Layer.BRONZE)
    due = world.due(Layer.SILVER)
    rewritten = BatchOutcome(
        transition("again", first, Layer.SILVER, 4), layer_file(first, 4, f"{first}.g2.parquet")
    )
    world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    return first, second


def test_a_rewritten_batch_climbs_to_gold_together_with_the_one_that_changed_it(world: World) -> None:
    first, second = rewrite_first_by_second(world)
    due = world.due(Layer.GOLD)
    assert [item.batch_id for item in due.items] == [first, second]
    assert due.items[0].source == layer_file(first, 4, f"{first}.g2.parquet")
    assert due.items[0].replaces == layer_file(first, 5)
    assert due.items[0].supersedes is not None
    assert world.climb(Layer.GOLD) == [second]
    assert world.ledger.promotions.generation(KEY, Layer.SILVER) == 2


def test_a_second_rewrite_joins_the_group_that_still_waits_for_gold(world: World) -> None:
    first, second = rewrite_first_by_second(world)
    third = world.claim("c.csv")
    world.climb(Layer.STAGED)
    world.climb(Layer.BRONZE)
    due = world.due(Layer.SILVER)
    rewritten = BatchOutcome(
        transition("more", second, Layer.SILVER, 1), layer_file(second, 1, f"{second}.g3.parquet")
    )
    world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    assert [item.batch_id for item in world.due(Layer.GOLD).items] == [first, second, third]


def test_an_outcome_made_from_a_file_that_was_rewritten_meanwhile_is_void(world: World) -> None:
    first = world.claim("a.csv")
    for target in (Layer.STAGED, Layer.BRONZE, Layer.SILVER):
        world.climb(target)
    slow = world.due(Layer.GOLD)
    world.claim("b.csv")
    world.climb(Layer.STAGED)
    world.climb(Layer.BRONZE)
    due = world.due(Layer.SILVER)
    rewritten = BatchOutcome(
        transition("again", first, Layer.SILVER, 4), layer_file(first, 4, f"{first}.g2.parquet")
    )
    world.commit(due, world.outcome(due, due.items[0], 5), rewritten=(rewritten,))
    with pytest.raises(StaleSourceError):
        world.commit(slow, *(world.outcome(slow, item, 5) for item in slow.items))
    assert len(world.due(Layer.GOLD).items) == 2


def test_an_illegal_state_change_raises_and_changes_nothing(world: World) -> None:
    batch = world.claim("a.csv")
    for target in (Layer.STAGED, Layer.BRONZE, Layer.SILVER, Layer.GOLD):
        world.climb(target)
    with pytest.raises(IllegalChangeError, match="illegal state change in files"):
        world.ledger.intake.confirm({batch: {0: (10, 1)}}, world.new_id, NOW)
    assert {file.state for file in world.ledger.views.files.of_batch(batch)} == {"ingested"}


def test_a_damaged_ledger_stops_the_start_and_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    path.write_bytes(b"this is not a database, it is a shopping list, and a long one" * 100)
    before = path.read_bytes()
    with pytest.raises(HaltError, match=r"state\.sqlite3: the ledger is damaged .* Restore it from a backup"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_large_damaged_ledger_is_found_out_beside_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite3"
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'attempts'").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(HaltError, match="the ledger is damaged"):
        Ledger.open(path)
    monkeypatch.setattr("daemon.catalog.ledger.opening._LOOKED_AT", 0)
    ledger = Ledger.open(path)
    assert not ledger.is_checked
    with pytest.raises(HaltError, match=r"(?s)the ledger is damaged .* Restore it from a backup"):
        ledger.check()
    ledger.close()


def test_a_newer_ledger_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HaltError, match="Install the newer medalliond again"):
        Ledger.open(path)


def test_somebody_elses_database_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(HaltError, match="holds tables that are not medalliond's"):
        Ledger.open(path)


def test_views_read_beside_the_writer_and_cannot_write(world: World) -> None:
    batch = world.claim("x/a.csv")
    views = LedgerViews.open(world.path)
    assert views.batches_in_flight() == {KEY: 1}
    assert [file.batch_id for file in views.files.named("a.csv")] == [batch]
    views.close()


def test_a_missing_ledger_is_said_to_be_missing_by_the_views(tmp_path: Path) -> None:
    with pytest.raises(HaltError, match="there is no ledger here yet"):
        LedgerViews.open(tmp_path / "state.sqlite3")


def test_what_was_committed_is_there_when_the_ledger_is_opened_again(world: World) -> None:
    batch = world.claim("a.csv")
    world.climb(Layer.STAGED)
    world.ledger.close()
    again = Ledger.open(world.path)
    due = again.promotions.due(KEY, Layer.BRONZE, ())
    assert due is not None
    assert due.items[0].batch_id == batch
    again.close()


def test_what_was_put_back_into_landing_is_known_there_as_long_as_it_looks_the_same(world: World) -> None:
    intake, place = world.ledger.intake, "landing/a.csv"
    world.claim("a.csv")
    assert intake.known(place, 10, 1) is None
    world.ledger.rest.plan([(1, place)])
    assert intake.known(place, 10, 1) == "kept"
    assert intake.known(place, 11, 1) is None
    assert intake.known(place, 10, 2) is None
    assert intake.known("landing/b.csv", 10, 1) is None
    with sqlite3.connect(world.path) as connection:
        connection.execute("UPDATE files SET state = 'returned'")
    connection.close()
    assert intake.known(place, 10, 1) == "incomplete"


def test_what_was_put_back_to_be_taken_anew_is_a_new_arrival_and_the_last_of_a_name_counts(
    world: World,
) -> None:
    intake, place = world.ledger.intake, "landing/a.csv"
    world.claim("a.csv")
    world.claim("a.csv")
    world.ledger.rest.plan([(1, place), (2, place)])
    with sqlite3.connect(world.path) as connection:
        connection.execute("UPDATE files SET state = 'returned' WHERE file_id = 2")
        connection.execute("UPDATE files SET state = 'set_aside' WHERE file_id = 1")
    assert intake.known(place, 10, 1) == "incomplete"
    with connection:
        connection.execute("UPDATE files SET resting_path = NULL WHERE file_id = 2")
        connection.execute("UPDATE files SET state = 'replayed' WHERE file_id = 1")
    connection.close()
    assert intake.known(place, 10, 1) is None


def test_how_a_claimed_file_looks_may_change_and_nobody_else_s(world: World) -> None:
    batch = world.claim("a.csv", "b.csv")
    world.intend("later", "c.csv")
    for file_id in (1, 3):
        world.ledger.intake.changed(file_id, 20, 2)
    assert [(file.size, file.mtime_ns) for file in world.due(Layer.STAGED).items[0].sources] == [
        (20, 2),
        (10, 1),
    ]
    (claim,) = world.ledger.intake.open_claims()
    assert [(intent.size, intent.mtime_ns) for intent in claim.intents] == [(10, 1)]
    assert world.due(Layer.STAGED).items[0].batch_id == batch


def test_a_claim_is_told_as_it_was_intended_and_what_of_it_was_given_up(world: World) -> None:
    world.intend("first", "a.csv", "b.csv")
    world.intend("second", "c.csv")
    claims = world.ledger.intake.open_claims()
    assert [(claim.batch_id, claim.key) for claim in claims] == [("first", KEY), ("second", KEY)]
    b = ClaimIntent("b.csv", "landing/b.csv", "landing/.claimed/first/b.csv", 10, 1, 1)
    assert claims[0].intents[1] == b
    claimed: dict[str, dict[int, tuple[int, int]]] = {"first": {0: (10, 1)}, "second": {}}
    assert world.ledger.intake.confirm(claimed, world.new_id, NOW) == {"first"}
    with sqlite3.connect(world.path) as connection:
        states = dict(connection.execute("SELECT batch_id, state FROM batches"))
    connection.close()
    assert states == {"first": "open", "second": "cancelled"}
    assert world.ledger.intake.given_up("first") == [b]
    assert [intent.name for intent in world.ledger.intake.given_up("second")] == ["c.csv"]
    assert world.ledger.intake.given_up("nobody's") == []
    assert world.ledger.intake.open_claims() == []
