"""Trials: their run, and members of a population."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl_lab import api
from rl_lab.errors import Fault
from rl_lab.experiment import config, launch
from rl_lab.experiment.run import Run
from rl_lab.sweep import population, trial
from rl_lab.sweep.population import copy_run, train_member
from rl_lab.sweep.trial import train_trial
from rl_lab.sweep.trial_result import trial_result
from rl_lab.sweep.trial_spec import SEARCH_SEEDS, TrialSpec
from rl_lab.tracking.metric_names import SCORE_METRIC, STEP_METRIC


def make_spec(path: Path) -> TrialSpec:
    env_spec = api.resolve_env("CartPole-v1")
    return TrialSpec(config.resolve("dqn", env_spec, {}), env_spec, path)


def test_trials_of_a_search_have_their_own_settings_seed_and_folder(tmp_path):
    spec = make_spec(tmp_path / "20261121-120000")
    params = {"trial": spec.to_dict(), "settings": {"lr": 2e-3, "n_step": 7}}
    first = TrialSpec.from_params(params, "ab12")
    second = TrialSpec.from_params(params, "cd34")
    assert (first.config.settings.lr, first.config.settings.n_step) == (2e-3, 7)
    assert first.env_spec == spec.env_spec
    assert first.path == tmp_path / "20261121-120000-ab12"
    assert first.path != second.path
    assert first.config.run.seed != second.config.run.seed
    assert min(first.config.run.seed, second.config.run.seed) >= SEARCH_SEEDS


def test_trials_of_a_grid_have_the_settings_of_the_spec_and_absolute_paths(tmp_path):
    spec = make_spec(tmp_path / "20261121-120000")
    trial = TrialSpec.from_params({"trial": spec.to_dict()}, "ab12")
    assert trial.config.settings == spec.config.settings
    assert trial.config.run.runs_dir == str(Path("runs").resolve())


def test_train_member_resumes_a_run_that_was_interrupted_in_its_first_part(tmp_path, monkeypatch):
    """Tune has no checkpoint yet. The member continues from the run's own checkpoint and reports each part once."""
    reported_steps: list[int] = []
    monkeypatch.setattr(population.tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "ab12"))
    monkeypatch.setattr(population.tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(population.tune, "report", lambda result, checkpoint: reported_steps.append(result["steps"]))
    env_spec = api.resolve_env("CartPole-v1")
    runs_dir = tmp_path / "runs"
    settings = {
        "env": env_spec.name,
        "runs_dir": str(runs_dir),
        "steps": 900,
        "learning_starts": 100,
        "eval_every": 300,
        "eval_episodes": 1,
        "wandb": "disabled",
    }
    spec = TrialSpec(config.resolve("dqn", env_spec, settings), env_spec, runs_dir / "member")
    params = {"trial": {**spec.to_dict(), "part": 450}, "settings": {}}
    trial_spec = TrialSpec.from_params(params, "ab12")
    interrupted_run = dataclasses.replace(trial_spec.config.run, steps=300)
    interrupted_config = dataclasses.replace(trial_spec.config, run=interrupted_run)
    run = launch.train(interrupted_config, env_spec, quiet=True, path=trial_spec.path)
    lines_before = run.metrics()
    train_member(params)
    assert [steps // 100 for steps in reported_steps] == [4, 9]
    assert run.metrics()[: len(lines_before) - 1] == lines_before[:-1], "the interrupted part was trained again"


def test_copy_run_copies_to_a_new_folder_and_leaves_the_original_unchanged(train):
    original = train(steps=600)
    path = original.path.with_name("mine")
    first = copy_run(original, path)
    second = copy_run(original, path)
    assert (first.path.name, second.path.name) == ("mine+1", "mine+2")
    extended = api.resume(Run(first.path), steps=900, quiet=True)
    assert extended.metrics()[-1]["global_step"] >= 900
    assert original.metrics()[-1]["global_step"] < 900


@pytest.mark.parametrize("train", [train_trial, train_member])
def test_exit_of_foreign_code_fails_the_trial(train: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch):
    """Tune would count a trial that ends by SystemExit as done."""
    for module in (trial, population):
        monkeypatch.setattr(module, "load_env_plugins", lambda: sys.exit(0))
    with pytest.raises(Fault, match=r"test_trial.py:\d+ called sys.exit\(0\)"):
        train({})


def test_trial_whose_run_has_not_all_steps_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reports: list[Any] = []
    monkeypatch.setattr(trial.tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "ab12"))
    monkeypatch.setattr(trial.tune, "report", reports.append)
    monkeypatch.setattr(trial.launch, "train", lambda *_, **__: None)
    with pytest.raises(Fault, match="ended before it had all its steps"):
        train_trial({"trial": make_spec(tmp_path / "run").to_dict()})
    assert reports == []


def test_scores_that_are_not_finite_do_not_count(tmp_path: Path):
    run = Run(tmp_path)
    scores = [math.nan, 2.0, math.inf, 4.0, math.nan]
    lines = [{STEP_METRIC: i, SCORE_METRIC: score} for i, score in enumerate(scores)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = trial_result(run)
    assert (result["best"], result["final"], result["mean"]) == (4.0, 4.0, 3.0)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({STEP_METRIC: 5, SCORE_METRIC: math.nan}) + "\n")
    result = trial_result(run)
    assert (result["best"], result["final"], result["mean"]) == (-math.inf, -math.inf, -math.inf)
