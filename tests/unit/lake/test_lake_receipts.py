"""The receipt beside where a file was dropped."""

import json
import os

from daemon.lake.layout import Layout
from daemon.lake.receipts import RECEIPTS, write_receipts


def test_the_receipt_of_a_name_that_is_not_utf8_is_written_and_tells_it_byte_for_byte(layout: Layout) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    layout.landing.mkdir()
    write_receipts([(str(layout.landing / name), {"file": name, "why": "der Kopf ist beschädigt"})])
    (receipt,) = (layout.landing / RECEIPTS).iterdir()
    assert os.fsencode(receipt.name) == b"caf\xe9.csv.json"
    written = json.loads(receipt.read_bytes())
    assert os.fsencode(written["file"]) == b"caf\xe9.csv"
    assert "beschädigt" in receipt.read_text("utf-8")


def test_a_later_receipt_of_a_name_takes_the_earlier_ones_place(layout: Layout) -> None:
    layout.landing.mkdir()
    write_receipts([(str(layout.landing / "a.csv"), {"status": "rejected"})])
    write_receipts([(str(layout.landing / "a.csv"), {"status": "accepted"})])
    (receipt,) = (layout.landing / RECEIPTS).iterdir()
    assert json.loads(receipt.read_bytes()) == {"status": "accepted"}


def test_no_folder_is_made_for_the_receipt_of_a_file_whose_folder_is_gone(layout: Layout) -> None:
    write_receipts([(str(layout.landing / "gone/a.csv"), {"status": "accepted"})])
    assert not layout.landing.exists()
