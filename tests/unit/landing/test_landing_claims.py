"""Claiming: what took a ready file's place meanwhile is not claimed unless it is a regular file."""

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.catalog.ledger.intake import ClaimIntent
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


def ready(path: Path) -> ReadyFile:
    """A file as intake would have seen it, had something else of its inode number been a regular file then."""
    found = os.lstat(path)
    return ReadyFile(str(path), f"orders/{path.name}", found.st_size, found.st_mtime_ns, found.st_ino)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_pipe_that_took_a_file_s_place_goes_back_and_is_never_opened(
    layout: Layout, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "secret").write_text("a,b\n1,2\n")
    good, taken = layout.landing / "orders/good.csv", layout.landing / "orders/taken.csv"
    good.write_text("a,b\n3,4\n")
    taken.symlink_to(tmp_path / "secret") if kind == "link" else os.mkfifo(taken)
    ledger = Ledger.open(layout.ledger)
    batch = Claims(ledger.intake, layout).claim(KEY, [ready(good), ready(taken)], NOW)
    ledger.close()
    assert batch is not None
    assert [path.name for path in layout.claimed(batch).iterdir()] == ["0-good.csv"]
    assert taken.is_symlink() if kind == "link" else taken.is_fifo()
    assert (tmp_path / "secret").read_text() == "a,b\n1,2\n"


def test_what_goes_back_has_its_name_in_landing_durably_before_it_loses_the_other(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = layout.landing / "orders/taken.csv"
    os.mkfifo(taken)
    names = []

    def noted(folder: StrPath) -> None:
        if folder == str(taken.parent) and os.path.lexists(taken):
            names.append([path.name for path in layout.claimed("").glob("*/*")])

    monkeypatch.setattr(module, "sync_directory", noted)
    ledger = Ledger.open(layout.ledger)
    Claims(ledger.intake, layout).claim(KEY, [ready(taken)], NOW)
    ledger.close()
    assert names == [["0-taken.csv"]]
    assert taken.is_fifo()


def test_when_nothing_but_a_link_is_left_there_is_no_batch(layout: Layout, tmp_path: Path) -> None:
    taken = layout.landing / "orders/taken.csv"
    taken.symlink_to(tmp_path)
    ledger = Ledger.open(layout.ledger)
    assert Claims(ledger.intake, layout).claim(KEY, [ready(taken)], NOW) is None
    ledger.close()
    assert taken.is_symlink()


def test_a_landing_that_was_moved_away_is_not_made_anew_by_a_claim(layout: Layout) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    found = ready(file)
    ledger = Ledger.open(layout.ledger)
    layout.landing.rename(layout.root / "away")
    with pytest.raises(FileNotFoundError):
        Claims(ledger.intake, layout).claim(KEY, [found], NOW)
    assert not layout.landing.exists()
    (layout.root / "away").rename(layout.landing)
    assert Claims(ledger.intake, layout).recover(NOW) == [KEY]
    ledger.close()
    assert file.exists()


def test_a_claim_is_not_given_up_while_landing_is_away_and_its_files_with_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    claims = Claims(ledger.intake, layout)
    with monkeypatch.context() as moment:
        moment.setattr(module, "sync_directory", lambda _: layout.landing.rename(layout.root / "away"))
        with pytest.raises(FileNotFoundError):
            claims.claim(KEY, [ready(file)], NOW)
    with pytest.raises(FileNotFoundError, match="landing is gone"):
        claims.recover(NOW)
    (layout.root / "away").rename(layout.landing)
    assert claims.recover(NOW) == [KEY]
    assert ledger.promotions.unstaged(KEY) == 1
    ledger.close()


def test_what_was_claimed_when_landing_was_unmounted_is_given_back_once_it_is_there_again(
    layout: Layout,
) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    intent = ClaimIntent("orders/a.csv", "landing/orders/a.csv", "landing/.claimed/x/0-a.csv", 8, 0, 0)
    ledger.intake.intend("x", KEY, [intent], NOW)
    layout.claimed("x").mkdir()
    file.rename(layout.claimed("x") / "0-a.csv")  # here the power fails
    layout.landing.rename(layout.root / "not mounted")
    (layout.landing / ".claimed").mkdir(parents=True)  # as a start makes it, in the folder below the mount

    claims = Claims(ledger.intake, layout)
    claims.recover(NOW)
    assert not claims.give_back_forgotten()
    (layout.landing / ".claimed").rmdir()
    layout.landing.rmdir()
    (layout.root / "not mounted").rename(layout.landing)
    assert claims.give_back_forgotten()
    assert file.read_text() == "a,b\n1,2\n"
    assert not claims.give_back_forgotten()
    ledger.close()


def test_a_claimed_folder_whose_sync_failed_is_made_anew_before_a_sync_is_trusted(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    claims = Claims(ledger.intake, layout)
    doubtful: list[Path] = []

    def refuse(folder: StrPath) -> None:
        if Path(folder).parent.name == ".claimed":
            doubtful.append(Path(folder))
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as moment:
        moment.setattr(module, "sync_directory", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            claims.claim(KEY, [ready(file)], NOW)
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
    ledger.close()


def test_a_file_whose_writer_opened_it_as_it_was_claimed_stays_claimed_when_its_name_is_taken_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    with file.open("a"):
        monkeypatch.setattr(module, "sync_directory", lambda _: file.write_text("a,b\n3,4\n"))
        batch = Claims(ledger.intake, layout).claim(KEY, [ready(file)], NOW)
    assert batch is not None
    assert [path.read_text() for path in layout.claimed(batch).iterdir()] == ["a,b\n1,2\n"]
    assert file.read_text() == "a,b\n3,4\n"
    ledger.close()


def test_a_claim_that_a_kill_cut_short_is_not_finished_over_an_open_writer(layout: Layout) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    intent = ClaimIntent("orders/a.csv", "landing/orders/a.csv", "landing/.claimed/b/0-a.csv", 8, 1, 1)
    ledger.intake.intend("b", KEY, [intent], NOW)
    layout.claimed("b").mkdir()
    with file.open("a"):
        file.rename(layout.root / intent.claimed_path)
        Claims(ledger.intake, layout).recover(NOW)
        assert file.exists()
    assert not layout.claimed("b").exists()
    ledger.close()


def test_a_file_that_a_kill_left_half_given_back_is_claimed_once(layout: Layout) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    intent = ClaimIntent("orders/a.csv", "landing/orders/a.csv", "landing/.claimed/b/0-a.csv", 8, 1, 1)
    ledger.intake.intend("b", KEY, [intent], NOW)
    layout.claimed("b").mkdir()
    (layout.root / intent.claimed_path).hardlink_to(file)
    with capture_logs() as logs:
        Claims(ledger.intake, layout).recover(NOW)
    assert [(line["event"], line["domain"], line["table"], line["batch_id"]) for line in logs] == [
        (Event.CLAIM_RECOVERED, *KEY, "b")
    ]
    assert not layout.claimed("b").exists()
    assert file.exists()
    assert ledger.promotions.unstaged(KEY) == 0
    ledger.close()


def test_a_done_marker_goes_with_its_file_and_stays_while_the_file_does(layout: Layout) -> None:
    file, marker = layout.landing / "orders/a.csv", layout.landing / "orders/a.csv.done"
    file.write_text("a,b\n1,2\n")
    marker.touch()
    ledger = Ledger.open(layout.ledger)
    claims = Claims(ledger.intake, layout)
    with file.open("a"):
        assert claims.claim(KEY, [replace(ready(file), marker=str(marker))], NOW) is None
        assert marker.exists()
    assert claims.claim(KEY, [replace(ready(file), marker=str(marker))], NOW) is not None
    assert not marker.exists()
    ledger.close()


def test_everything_that_was_given_up_goes_back_into_folders_that_are_made_anew(layout: Layout) -> None:
    ledger = Ledger.open(layout.ledger)
    claims = Claims(ledger.intake, layout)
    names = {"b": ["x/y/1.csv", "x/y/2.csv"], "c": ["orders/3.csv"]}
    for batch, files in names.items():
        intents = [
            ClaimIntent(name, f"landing/{name}", f"landing/.claimed/{batch}/{Path(name).name}", 8, 1, 1)
            for name in files
        ]
        ledger.intake.intend(batch, KEY, intents, NOW)
        ledger.intake.confirm(batch, {}, "t", NOW)
        layout.claimed(batch).mkdir()
        for name in files:
            (layout.claimed(batch) / Path(name).name).write_text(name)
    layout.claimed("nobody's").mkdir()
    (layout.landing / "orders/3.csv").write_text("its name is taken")
    assert claims.give_back_forgotten()
    for name in names["b"]:
        assert (layout.landing / name).read_text() == name
    assert [path.name for path in (layout.landing / ".claimed").rglob("*.csv")] == ["3.csv"]
    assert {path.name for path in (layout.landing / ".claimed").iterdir()} == {"c", "nobody's"}
    assert not claims.give_back_forgotten()
    (layout.landing / "orders/3.csv").unlink()
    assert claims.give_back_forgotten()
    ledger.close()


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
    layout: Layout, name: str, claimed: str
) -> None:
    file = layout.landing / "orders" / name
    file.write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    batch = Claims(ledger.intake, layout).claim(KEY, [replace(ready(file), name="orders/odd.csv")], NOW)
    assert batch is not None
    assert [path.name for path in layout.claimed(batch).iterdir()] == [claimed]
    ledger.close()


def test_the_first_claim_makes_its_place_and_needs_no_marker_to_be_there_still(layout: Layout) -> None:
    file = layout.landing / "orders/a.csv"
    file.write_text("a,b\n1,2\n")
    (layout.landing / ".claimed").rmdir()
    ledger = Ledger.open(layout.ledger)
    assert Claims(ledger.intake, layout).claim(
        KEY, [replace(ready(file), marker=str(file.with_suffix(".done")))], NOW
    )
    ledger.close()


def test_a_claim_tells_how_much_it_took(layout: Layout) -> None:
    for name in ("a.csv", "b.csv"):
        (layout.landing / "orders" / name).write_text("a,b\n1,2\n")
    ledger = Ledger.open(layout.ledger)
    files = [ready(path) for path in sorted((layout.landing / "orders").iterdir())]
    with capture_logs() as logs:
        batch = Claims(ledger.intake, layout).claim(KEY, files, NOW)
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
    ledger.close()


def test_a_link_that_took_a_file_s_place_is_removed_when_that_is_taken_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = layout.landing / "orders/taken.csv"
    taken.symlink_to("elsewhere")
    found = ready(taken)
    monkeypatch.setattr(module, "sync_directory", lambda _: taken.write_text("a,b\n1,2\n"))
    ledger = Ledger.open(layout.ledger)
    assert Claims(ledger.intake, layout).claim(KEY, [found], NOW) is None
    ledger.close()
    assert taken.read_text() == "a,b\n1,2\n"
    assert not list((layout.landing / ".claimed").iterdir())
