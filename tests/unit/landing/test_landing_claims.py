"""Claiming: what took a ready file's place meanwhile is not claimed unless it is a regular file."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import open_ledger
from structlog.testing import capture_logs

from daemon.catalog.identity import new_id
from daemon.catalog.ledger.intake import ClaimIntent, OpenClaim
from daemon.catalog.ledger.ledger import Ledger
from daemon.catalog.promotion import TableKey
from daemon.catalog.transition import Layer
from daemon.events import Event
from daemon.lake.durable import StrPath
from daemon.lake.layout import Layout
from daemon.landing import claims as module
from daemon.landing.claims import Claims, ReadyFile

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = TableKey("main", "orders")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    (layout.landing / "orders").mkdir(parents=True)
    (layout.landing / ".claimed").mkdir()
    layout.catalog.mkdir()
    return layout


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    ledger = open_ledger(layout.ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def claims(ledger: Ledger, layout: Layout) -> Claims:
    return Claims(ledger.intake, layout)


@pytest.fixture
def file(layout: Layout) -> Path:
    """A finished file in landing."""
    path = layout.landing / "orders/a.csv"
    path.write_text("a,b\n1,2\n")
    return path


def cut_short(ledger: Ledger, layout: Layout, batch: str) -> Path:
    """A claim of that file that a kill cut short before the file was touched; returns its claimed path."""
    claimed = f"landing/.claimed/{batch}/0-a.csv"
    intent = ClaimIntent("orders/a.csv", "landing/orders/a.csv", claimed, 8, 1, 1)
    ledger.intake.intend([OpenClaim(batch, KEY, (intent,))], NOW)
    layout.claimed(batch).mkdir()
    return layout.root / claimed


def ready(path: Path) -> ReadyFile:
    """A file as intake would have seen it, had something else of its inode number been a regular file then."""
    found = os.lstat(path)
    return ReadyFile(str(path), f"orders/{path.name}", found.st_size, found.st_mtime_ns, found.st_ino)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_pipe_that_took_a_file_s_place_goes_back_and_is_never_opened(
    layout: Layout, tmp_path: Path, kind: str, claims: Claims
) -> None:
    (tmp_path / "secret").write_text("a,b\n1,2\n")
    good, taken = layout.landing / "orders/good.csv", layout.landing / "orders/taken.csv"
    good.write_text("a,b\n3,4\n")
    taken.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(taken)
    batch = claims.claim({KEY: [ready(good), ready(taken)]}, NOW).get(KEY)
    assert batch is not None
    assert [path.name for path in layout.claimed(batch).iterdir()] == ["0-good.csv"]
    assert taken.is_symlink() if kind == "link" else taken.is_fifo()
    assert (tmp_path / "secret").read_text() == "a,b\n1,2\n"


def test_what_goes_back_has_its_name_in_landing_durably_before_it_loses_the_other(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, claims: Claims
) -> None:
    taken = layout.landing / "orders/taken.csv"
    os.mkfifo(taken)
    names = []

    def noted(folder: StrPath) -> None:
        if folder == str(taken.parent) and os.path.lexists(taken):
            names.append([path.name for path in layout.claimed("").glob("*/*")])

    monkeypatch.setattr(module, "sync_directory", noted)
    claims.claim({KEY: [ready(taken)]}, NOW)
    assert names == [["0-taken.csv"]]
    assert taken.is_fifo()


def test_batches_of_several_tables_are_claimed_together_and_one_without_a_file_left_is_none(
    layout: Layout, ledger: Ledger, claims: Claims
) -> None:
    tables = [TableKey("main", name) for name in ("orders", "customers", "gone")]
    files = {table: layout.landing / f"{table.table}/a.csv" for table in tables}
    for path in files.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text("a,b\n1,2\n")
    found = {table: [ready(path)] for table, path in files.items()}
    files[tables[-1]].unlink()
    batches = claims.claim(found, NOW)
    assert list(batches) == tables[:2]
    for batch in batches.values():
        assert (layout.claimed(batch) / "0-a.csv").read_text() == "a,b\n1,2\n"
    assert [ledger.promotions.unstaged(table) for table in tables] == [1, 1, 0]
    assert len(list(layout.claimed("").iterdir())) == 2


def test_when_nothing_but_a_link_is_left_there_is_no_batch(
    layout: Layout, tmp_path: Path, claims: Claims
) -> None:
    taken = layout.landing / "orders/taken.csv"
    taken.symlink_to(tmp_path)
    assert not claims.claim({KEY: [ready(taken)]}, NOW)
    assert taken.is_symlink()


def test_a_landing_that_was_moved_away_is_not_made_anew_by_a_claim(
    layout: Layout, file: Path, claims: Claims
) -> None:
    found = ready(file)
    layout.landing.rename(layout.root / "away")
    with pytest.raises(FileNotFoundError):
        claims.claim({KEY: [found]}, NOW)
    assert not layout.landing.exists()
    (layout.root / "away").rename(layout.landing)
    assert claims.recover(NOW) == [KEY]
    assert file.exists()


def test_a_claim_is_not_given_up_while_landing_is_away_and_its_files_with_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, file: Path, ledger: Ledger, claims: Claims
) -> None:
    with monkeypatch.context() as moment:
        moment.setattr(module, "sync_directory", lambda _: layout.landing.rename(layout.root / "away"))
        with pytest.raises(FileNotFoundError):
            claims.claim({KEY: [ready(file)]}, NOW)
    with pytest.raises(FileNotFoundError, match="landing is gone"):
        claims.recover(NOW)
    (layout.root / "away").rename(layout.landing)
    assert claims.recover(NOW) == [KEY]
    assert ledger.promotions.unstaged(KEY) == 1


def test_what_was_claimed_when_landing_was_unmounted_is_given_back_once_it_is_there_again(
    layout: Layout, file: Path, ledger: Ledger, claims: Claims
) -> None:
    claimed = cut_short(ledger, layout, "x")
    file.rename(claimed)  # here the power fails
    layout.landing.rename(layout.root / "not mounted")
    (layout.landing / ".claimed").mkdir(parents=True)  # as a start makes it, in the folder below the mount

    claims.recover(NOW)
    assert not claims.give_back_forgotten()
    (layout.landing / ".claimed").rmdir()
    layout.landing.rmdir()
    (layout.root / "not mounted").rename(layout.landing)
    assert claims.give_back_forgotten()
    assert file.read_text() == "a,b\n1,2\n"
    assert not claims.give_back_forgotten()


def test_a_folder_that_was_emptied_as_landing_went_away_is_removed_once_it_is_back(
    layout: Layout, claims: Claims, file: Path
) -> None:
    (batch_id,) = claims.claim({KEY: [ready(file)]}, NOW).values()
    (layout.landing / ".claimed/stray").touch()  # of somebody else, and no reason to claim nothing more
    layout.claimed("emptied").mkdir()  # its files came to rest, and then it could not be removed
    assert not claims.give_back_forgotten()
    assert {path.name for path in (layout.landing / ".claimed").iterdir()} == {batch_id, "stray"}


def test_a_claimed_folder_whose_sync_failed_is_made_anew_before_a_sync_is_trusted(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, file: Path, ledger: Ledger, claims: Claims
) -> None:
    doubtful: list[Path] = []

    def refuse(folder: StrPath) -> None:
        if Path(folder).parent.name == ".claimed":
            doubtful.append(Path(folder))
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as moment:
        moment.setattr(module, "sync_directory", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            claims.claim({KEY: [ready(file)]}, NOW)
        with pytest.raises(OSError, match="Input/output error"):
            claims.recover(NOW)
    synced: list[Path] = []
    monkeypatch.setattr(module, "sync_directory", synced.append)
    claims.recover(NOW)
    (batch,) = (layout.landing / ".claimed").iterdir()
    assert (batch / "0-a.csv").read_text() == "a,b\n1,2\n"
    assert synced == [batch, batch.parent]
    assert batch not in doubtful
    assert len(doubtful) == len(set(doubtful)) == 2
    assert ledger.promotions.unstaged(KEY) == 1
    assert ledger.intake.open_claims() == []


def test_a_file_whose_writer_opened_it_as_it_was_claimed_stays_claimed_when_its_name_is_taken_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, file: Path, claims: Claims
) -> None:
    with file.open("a"):
        monkeypatch.setattr(module, "sync_directory", lambda _: file.write_text("a,b\n3,4\n"))
        batch = claims.claim({KEY: [ready(file)]}, NOW).get(KEY)
    assert batch is not None
    assert [path.read_text() for path in layout.claimed(batch).iterdir()] == ["a,b\n1,2\n"]
    assert file.read_text() == "a,b\n3,4\n"


def test_a_claim_that_a_kill_cut_short_is_not_finished_over_an_open_writer(
    layout: Layout, file: Path, ledger: Ledger, claims: Claims
) -> None:
    claimed = cut_short(ledger, layout, "b")
    with file.open("a"):
        file.rename(claimed)
        claims.recover(NOW)
        assert file.exists()
    assert not layout.claimed("b").exists()


def test_a_file_that_a_kill_left_half_given_back_is_claimed_once(
    layout: Layout, file: Path, ledger: Ledger, claims: Claims
) -> None:
    claimed = cut_short(ledger, layout, "b")
    claimed.hardlink_to(file)
    with capture_logs() as logs:
        claims.recover(NOW)
    assert [(line["event"], line["domain"], line["table"], line["batch_id"]) for line in logs] == [
        (Event.CLAIM_RECOVERED, *KEY, "b")
    ]
    assert not layout.claimed("b").exists()
    assert file.exists()
    assert ledger.promotions.unstaged(KEY) == 0


def test_a_done_marker_goes_with_its_file_and_stays_while_the_file_does(
    layout: Layout, claims: Claims
) -> None:
    file, marker = layout.landing / "orders/a.csv", layout.landing / "orders/a.csv.done"
    file.write_text("a,b\n1,2\n")
    marker.touch()
    with file.open("a"):
        assert not claims.claim({KEY: [replace(ready(file), marker=str(marker))]}, NOW)
        assert marker.exists()
    assert claims.claim({KEY: [replace(ready(file), marker=str(marker))]}, NOW)
    assert not marker.exists()


def test_everything_that_was_given_up_goes_back_into_folders_that_are_made_anew(
    layout: Layout, ledger: Ledger, claims: Claims
) -> None:
    names = {"b": ["x/y/1.csv", "x/y/2.csv"], "c": ["orders/3.csv"]}
    for batch, files in names.items():
        intents = [
            ClaimIntent(name, f"landing/{name}", f"landing/.claimed/{batch}/{Path(name).name}", 8, 1, 1)
            for name in files
        ]
        ledger.intake.intend([OpenClaim(batch, KEY, tuple(intents))], NOW)
        ledger.intake.confirm({batch: {}}, new_id, NOW)
        layout.claimed(batch).mkdir()
        for name in files:
            (layout.claimed(batch) / Path(name).name).write_text(name)
    (layout.landing / "orders/3.csv").write_text("its name is taken")
    assert claims.give_back_forgotten()
    for name in names["b"]:
        assert (layout.landing / name).read_text() == name
    assert [path.name for path in (layout.landing / ".claimed").rglob("*.csv")] == ["3.csv"]
    assert {path.name for path in (layout.landing / ".claimed").iterdir()} == {"c"}
    assert not claims.give_back_forgotten()
    (layout.landing / "orders/3.csv").unlink()
    assert claims.give_back_forgotten()


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("a.csv", "0-a.csv"),
        (os.fsdecode(b"\xfcber.csv"), "0-_ber.csv"),
        ("\u00fc.csv", "0-\u00fc.csv"),
        ("n" * 250 + ".csv", "0-" + "n" * 249 + ".csv"),
        ("n" * 251 + ".csv", "0-" + "n" * 249 + ".csv"),
        ("\u00fc" * 125 + ".csv", "0-" + "\u00fc" * 124 + ".csv"),
    ],
)
def test_a_claimed_name_is_utf_8_fits_a_directory_and_keeps_its_ending(
    layout: Layout, name: str, claimed: str, claims: Claims
) -> None:
    file = layout.landing / "orders" / name
    file.write_text("a,b\n1,2\n")
    batch = claims.claim({KEY: [replace(ready(file), name="orders/odd.csv")]}, NOW).get(KEY)
    assert batch is not None
    assert [path.name for path in layout.claimed(batch).iterdir()] == [claimed]


def test_the_first_claim_makes_its_place_and_needs_no_marker_to_be_there_still(
    layout: Layout, file: Path, claims: Claims
) -> None:
    (layout.landing / ".claimed").rmdir()
    assert claims.claim({KEY: [replace(ready(file), marker=str(file.with_suffix(".done")))]}, NOW)


def test_a_claim_tells_how_much_it_took(layout: Layout, ledger: Ledger, claims: Claims) -> None:
    for name in ("a.csv", "b.csv"):
        (layout.landing / "orders" / name).write_text("a,b\n1,2\n")
    files = [ready(path) for path in sorted((layout.landing / "orders").iterdir())]
    with capture_logs() as logs:
        batch = claims.claim({KEY: files}, NOW).get(KEY)
    assert logs == [
        {
            "event": Event.BATCH_CLAIMED,
            "log_level": "info",
            "domain": KEY.domain,
            "table": KEY.table,
            "batch_id": batch,
            "files": 2,
            "bytes": 16,
        }
    ]
    (due,) = ledger.promotions.due_hops()
    assert due == (KEY, Layer.STAGED)


def test_a_link_that_took_a_file_s_place_is_removed_when_that_is_taken_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, claims: Claims
) -> None:
    taken = layout.landing / "orders/taken.csv"
    taken.symlink_to("elsewhere")
    found = ready(taken)
    monkeypatch.setattr(module, "sync_directory", lambda _: taken.write_text("a,b\n1,2\n"))
    assert not claims.claim({KEY: [found]}, NOW)
    assert taken.read_text() == "a,b\n1,2\n"
    assert not list((layout.landing / ".claimed").iterdir())
