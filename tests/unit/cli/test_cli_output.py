"""How a table looks to people."""

import pytest

from daemon.cli import output


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    return monkeypatch


def test_a_table_that_fits_the_terminal_is_one(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("COLUMNS", "30")
    output.print_table("tables", ("table", "rows set aside"), [("sales.orders", 1234)])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        ["tables"],
        ["rows"],
        ["set"],
        ["table", "aside"],
        ["─" * 19],
        ["sales.orders", "1,234"],
    ]


def test_a_table_that_is_wider_is_a_block_a_row(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("COLUMNS", "18")
    output.print_table("tables", ("table", "rows set aside"), [("sales.orders", 1234), ("b\n", None)])
    assert capsys.readouterr().out == (
        "tables\n\ntable           sales.orders\nrows set aside  1,234\n\ntable           b\\n\nrows set aside\n"
    )
