"""Tests of the benchmark's arithmetic: shares of time, ratios and bounds."""

import itertools
import time
from collections.abc import Iterator

import pytest
from benchmark import report
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


def test_report_shows_medians_of_the_ratios_within_rounds():
    def answer(rate):
        return {"steps": rate, "seconds": 1.0, "updates": rate / 4, "bytes": 5e8, "shares": {"acting": 0.25}}

    rounds = [
        {"rl_lab": answer(300), "peer": answer(100), "rl_lab, float32": answer(200)},
        {"rl_lab": answer(400), "peer": answer(200), "rl_lab, float32": answer(300)},
        {"rl_lab": answer(500), "peer": answer(100), "rl_lab, float32": answer(200)},
    ]
    limits = [{"matrix float32 FLOP/s": 1e12, "emulators steps/s": 1000.0, "stream steps/s": 900.0}] * 3
    lines = report(rounds, limits).splitlines()
    cells = [cell.strip() for cell in lines[3].split("|")]
    assert cells[1:6] == ["peer", "100 (100 to 200)", "33.3", "3.00 (2.00 to 5.00)", "2.00 (1.50 to 2.00)"]
    assert len({line.count("|") for line in lines[:5]}) == 1
    flops = 2 * 32 * (4 * 9.35e6 - 3.28e6)
    bound = 1 / (1 / 1000 + flops / 4 / 1e12)
    reached = float(lines[-1].split("reached: ")[1].split()[0])
    assert reached == pytest.approx(400 / bound, rel=0.02)
