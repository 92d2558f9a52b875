"""The short form of the campaigns: what one of them does keeps no other from being run and told."""

import pytest
from torture import cli
from torture.campaign import Campaign, Plan, Report
from typer.testing import CliRunner


def _holds(plan: Plan) -> Report:
    return Report(planned=plan.n, fired=plan.n, lost=plan.breakage is not None)


def _fails(_: Plan) -> Report:
    raise RuntimeError("no loop device is left")


def _short(monkeypatch: pytest.MonkeyPatch, *campaigns: Campaign) -> tuple[int, str]:
    monkeypatch.setattr(cli, "campaigns", lambda: {campaign.name: campaign for campaign in campaigns})
    found = CliRunner().invoke(cli.app, ["short", "--seed", "1"])
    return found.exit_code, found.output


def test_a_campaign_that_fails_itself_is_told_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, told = _short(
        monkeypatch,
        Campaign("first", "it fails", _fails, short=1, long=1, teeth={"blunt": 1}),
        Campaign("second", "it holds", _holds, short=3, long=3, teeth={"sharp": 1}),
    )
    assert status == 1
    assert "first : does not hold" in told
    assert "first blunt: does not hold" in told, "that it fails is not that it has caught anything"
    assert "RuntimeError: no loop device is left" in told
    assert "in _fails" in told
    assert "second" in told
    assert "second : does not hold" not in told


def test_campaigns_that_hold_and_catch_their_broken_builds_end_well(monkeypatch: pytest.MonkeyPatch) -> None:
    status, told = _short(
        monkeypatch, Campaign("second", "it holds", _holds, short=3, long=3, teeth={"sharp": 1})
    )
    assert status == 0
    assert "does not hold" not in told


def test_a_broken_build_that_is_not_caught_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def calm(plan: Plan) -> Report:
        return Report(planned=plan.n, fired=plan.n)

    status, told = _short(monkeypatch, Campaign("blind", "it sees nothing", calm, 1, 1, {"blunt": 1}))
    assert status == 1
    assert "blind blunt: does not hold" in told
