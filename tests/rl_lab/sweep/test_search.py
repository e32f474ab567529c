"""How a search chooses settings from its trials and its finals."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl_lab.api import resolve_env
from rl_lab.experiment import config as configuration
from rl_lab.sweep import search
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial_spec import TrialSpec


def make_result(lr: float, mean: float | None, error: str | None = None) -> Any:
    """Return a result of Tune as far as `select_finalists` reads it."""
    metrics = {"mean": mean} if mean is not None else {}
    return SimpleNamespace(config={"settings": {"lr": lr}}, metrics=metrics, error=error)


def test_select_finalists_returns_different_settings_of_the_best_trials_without_errors():
    results = [
        make_result(1, 5.0),
        make_result(2, 9.0),
        make_result(2, 8.0),
        make_result(3, 99.0, "failed"),
        make_result(4, None),
        make_result(5, 7.0),
        make_result(6, math.nan),
        make_result(7, math.inf),
    ]
    assert search.select_finalists(results, "mean", 2) == [{"lr": 2}, {"lr": 5}]
    assert search.select_finalists(results, "mean", 9) == [{"lr": 2}, {"lr": 5}, {"lr": 1}]


@pytest.mark.parametrize(("scores", "winner"), [([1, 9, 2, 4, 4, 5], 1), ([4, 4, 5, 1, 10, 1], 0)])
def test_run_finals_returns_the_settings_with_the_highest_mean_over_seeds(
    scores: Sequence[float], winner: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two finalists with three seeds each. The winner has neither the best single seed nor the best first seed."""
    env_spec = resolve_env("CartPole-v1")
    config = configuration.resolve("dqn", env_spec, {"env": "CartPole-v1", "runs_dir": str(tmp_path)})
    request = {
        "trial": TrialSpec(config, env_spec, tmp_path / "trial").to_dict(),
        "trials": 2,
        "scheduler": "none",
        "space": "",
        "objective": "mean",
        "search_seed": 0,
        "check_seeds": "1..3",
        "finalists": 2,
        "final_seeds": 3,
    }
    sweep = Sweep("search", "now", "group", str(tmp_path), 1.0, 0.0, 0, request)
    seeds: list[int] = []
    remaining_scores = iter(scores)
    monkeypatch.setattr(
        search, "run_grid", lambda grid: seeds.extend(trial["config"]["seed"] for trial in grid.request["trials"])
    )
    monkeypatch.setattr(search, "trial_result", lambda run: {"mean": next(remaining_scores)})
    finalists = [{"lr": 1e-3}, {"lr": 2e-3}]
    assert search.run_finals(sweep, finalists) == finalists[winner]
    assert seeds == 2 * [search.FIRST_FINAL_SEED, search.FIRST_FINAL_SEED + 1, search.FIRST_FINAL_SEED + 2]
