"""Random kill -9 under load, also during recovery."""

import random
import signal
import subprocess

from torture.campaign import Campaign, Plan, Report
from torture.world import World

_FILES = 4


def run(plan: Plan) -> Report:
    """Kill a daemon `n` times, each at a random moment after its start; then drain and account."""
    chance = random.Random(plan.seed)
    report = Report(planned=plan.n)
    world = World(plan.work, plan.breakage)
    for kill in range(plan.n):
        for number in range(kill * _FILES, (kill + 1) * _FILES):
            world.drop(number)
        daemon = subprocess.Popen(
            world.command("run"),
            env=world.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            daemon.wait(chance.uniform(0.05, 1.8))
        except subprocess.TimeoutExpired:
            daemon.kill()
            report.fired += daemon.wait() == -signal.SIGKILL
    drained = world.run("drain")
    if drained.returncode != 0:
        report.hands += 1
        report.findings.append(
            f"drain after the kills ended with {drained.returncode}: {drained.stdout[-500:]}"
        )
    account = world.account()
    report.records_in = account.records_in
    report.lost = len(account.lost)
    report.doubled = len(account.doubled)
    report.findings += account.findings
    return report


CAMPAIGN = Campaign(
    "crashes",
    "SIGKILL at random moments under load, recovery included",
    run,
    short=25,
    long=5000,
)
