"""The benchmark's arithmetic: whose time is whose, and the table of ratios."""

import itertools
import time

import pytest
from benchmark import report
from contenders.serve import Shares


class Agent:
    def act(self):
        next(self.clock)

    def sample(self):
        next(self.clock)

    def update(self):
        self.act()
        self.sample()
        next(self.clock)


def test_what_an_update_asks_of_a_policy_is_updating(monkeypatch):
    """A clock that goes on by one second whenever it is read, or whenever something is done."""
    agent, shares = Agent(), Shares()
    agent.clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(agent.clock))
    for name, method in (("acting", "act"), ("sampling", "sample"), ("updating", "update")):
        shares.timed(name, agent, method)
    agent.act()
    assert shares == {"acting": 2}
    before = dict(shares)
    agent.update()
    assert shares["acting"] == before["acting"]
    assert shares["sampling"] == 2
    assert shares["updating"] == 4


def test_the_table_has_the_medians_of_ratios_within_rounds():
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
