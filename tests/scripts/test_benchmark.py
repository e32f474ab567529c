"""Tests of the benchmark's arithmetic: shares of time, ratios and bounds."""

import itertools
import time
from collections.abc import Iterator

import pytest
from benchmark import Contender, report
from contenders.serve import TimeShares


class TimedAgent:
    """An agent whose work advances a clock by one second."""

    def __init__(self, clock: Iterator[int]) -> None:
        self.clock = clock

    def act(self) -> None:
        next(self.clock)

    def sample(self) -> None:
        next(self.clock)

    def update(self) -> None:
        self.act()
        self.sample()
        next(self.clock)


def test_acting_within_an_update_counts_as_updating_and_sampling_does_not(monkeypatch):
    """Reading the clock advances it by one second, too."""
    clock = itertools.count()
    agent = TimedAgent(clock)
    shares = TimeShares()
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    shares.measure("acting", agent, "act")
    shares.measure("sampling", agent, "sample")
    shares.measure("updating", agent, "update")
    agent.act()
    assert shares == {"acting": 2}
    before = dict(shares)
    agent.update()
    assert shares["acting"] == before["acting"]
    assert shares["sampling"] == 2
    assert shares["updating"] == 4


def test_report_shows_medians_of_the_ratios_at_equal_numbers_of_environments():
    def answer(rate):
        return {"steps": rate, "seconds": 1.0, "updates": rate / 4, "bytes": 5e8, "shares": {"acting": 0.25}}

    contenders = {
        "rl_lab float32, 8 envs": Contender("lab.py", 8),
        "rl_lab bfloat16, 8 envs": Contender("lab.py", 8),
        "rl_lab float32, 1 env": Contender("lab.py", 1),
        "peer, 8 envs": Contender("peer.py", 8),
        "peer, 1 env": Contender("peer.py", 1),
    }
    all_rates = [(200, 300, 50, 100, 10), (300, 400, 60, 200, 20), (200, 500, 70, 100, 10)]
    rounds = [dict(zip(contenders, map(answer, rates), strict=True)) for rates in all_rates]
    limits = [{"matrix float32 FLOP/s": 1e12, "emulators steps/s": 1000.0, "stream steps/s": 900.0}] * 3
    lines = report(rounds, limits, contenders).splitlines()
    rows = {}
    for line in lines[2:7]:
        cells = [cell.strip() for cell in line.split("|")]
        rows[cells[1]] = cells[2:6]
    assert rows["peer, 8 envs"] == ["100 (100 to 200)", "33.3", "2.00 (1.50 to 2.00)", "3.00 (2.00 to 5.00)"]
    assert rows["peer, 1 env"][2:] == ["5.00 (3.00 to 7.00)", ""], "there is no bfloat16 contender with 1 environment"
    assert len({line.count("|") for line in lines[:7]}) == 1
    flops = 2 * 32 * (4 * 9.35e6 - 3.28e6)
    bound = 1 / (1 / 1000 + flops / 4 / 1e12)
    reached = float(lines[-1].split("reached: ")[1].split()[0])
    assert reached == pytest.approx(200 / bound, rel=0.02)
