"""A search chooses by more than one seed."""

from types import SimpleNamespace

import pytest

from rl_lab.api import resolve_env
from rl_lab.experiment import config as configuration
from rl_lab.sweep import search
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial import plain


def result(lr, mean, error=None):
    return SimpleNamespace(config={"settings": {"lr": lr}}, metrics={"mean": mean} if mean else {}, error=error)


def test_the_finalists_are_the_best_trials_that_ended_each_settings_once():
    results = [
        result(1, 5.0),
        result(2, 9.0),
        result(2, 8.0),
        result(3, 99.0, "broke"),
        result(4, None),
        result(5, 7.0),
    ]
    assert search.finalists(results, "mean", 2) == [{"lr": 2}, {"lr": 5}]
    assert search.finalists(results, "mean", 9) == [{"lr": 2}, {"lr": 5}, {"lr": 1}]


@pytest.mark.parametrize(("scores", "winner"), [([1, 9, 2, 4, 4, 5], 1), ([4, 4, 5, 1, 10, 1], 0)])
def test_the_winner_is_best_over_all_its_seeds(scores, winner, monkeypatch, tmp_path):
    """Two finalists with three seeds each, whose runs are not carried out: neither the best nor the first seed decides."""
    env_spec = resolve_env("CartPole-v1")
    resolved = configuration.resolve("dqn", env_spec, {"env": "CartPole-v1", "runs_dir": str(tmp_path)})
    asked = {"objective": "mean", "final_seeds": 3, "trial": plain(resolved, env_spec, tmp_path / "trial")}
    sweep = Sweep("search", "now", "group", str(tmp_path), 1.0, 0.0, 0, asked)
    trained = []

    def carry_out(grid, made):
        trained.extend(trial["config"]["seed"] for trial in made)

    given = iter(scores)
    monkeypatch.setattr(search, "grid", carry_out)
    monkeypatch.setattr(search, "result_of", lambda run: {"mean": next(given)})
    best = [{"lr": 1e-3}, {"lr": 2e-3}]
    assert search._winner(sweep, best) == best[winner]
    assert trained == 2 * [search.FINAL_SEEDS, search.FINAL_SEEDS + 1, search.FINAL_SEEDS + 2]
