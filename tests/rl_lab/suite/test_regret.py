"""The regret of a suite's agents, against numbers computed by hand."""

import numpy as np
import pytest

from rl_lab.suite.regret import regret_rows, suite_optima
from rl_lab.suite.score_set import ScoreSet
from rl_lab.suite.suite import read_suite


def test_optima_are_those_of_the_arguments_and_unknown_ones_are_left_out(tmp_path):
    path = tmp_path / "shops.yaml"
    path.write_text(
        "title: Shops\nenvs: [quick, CartPole-v1, Missing-v0, MeanReversion-v0]\nagents:\n  dqn: {}\n"
        "seeds: 1..2\nevaluation: {games: 2}\n"
        "env_settings: {quick: {env: LostSales-v0, env_args: {lead_time: 2}}}\n"
    )
    suite = read_suite(str(path))
    optima = suite_optima(suite, suite.envs)
    assert list(optima) == ["quick", "MeanReversion-v0"]
    assert optima["quick"] == pytest.approx(-878.0, abs=0.1)
    assert optima["MeanReversion-v0"] == pytest.approx(22.94, abs=0.05)


def test_the_optima_of_the_suite_worlds_are_those_of_docs_worlds():
    expected = {
        "LostSales-L2": -878.00,
        "SerialSupply-v0": -4768.3,
        "MeanReversion-v0": 22.94,
        "BatteryRadio-v0": 52.10,
        "Regulator-v0": -0.3335,
    }
    assert suite_optima(read_suite("worlds"), list(expected)) == pytest.approx(expected, rel=3e-4)


def test_a_regret_is_the_distance_from_the_optimum_in_percent_of_its_size():
    one = ScoreSet("one", {"shop": np.array([-110.0]), "trade": np.array([20.0])})
    three = ScoreSet("three", {"shop": np.array([-104.0, -104.0, -104.0])})
    rows = regret_rows([one, three], {"shop": -100.0, "trade": 25.0, "radio": 50.0})
    assert rows == [
        ["shop", "-100.00", "10.0%", "4.0% (4.0 to 4.0)"],
        ["trade", "25.00", "20.0%", ""],
    ]


def test_the_interval_of_a_regret_is_that_of_the_scores_turned_round():
    scores = np.array([-100.0, -110.0, -120.0, -130.0])
    ((_, _, cell),) = regret_rows([ScoreSet("agent", {"shop": scores})], {"shop": -100.0})
    value, low, high = (float(word.strip("(%)")) for word in cell.replace(" to ", " ").split())
    assert value == 15.0
    assert 0 <= low < 15 < high <= 30
