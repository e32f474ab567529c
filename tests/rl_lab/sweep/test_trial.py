"""Trials: their run, and members of a population."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

from rl_lab import api
from rl_lab.experiment import config, launch
from rl_lab.experiment.run import Run
from rl_lab.sweep import population
from rl_lab.sweep.population import copy_run, train_member
from rl_lab.sweep.trial_spec import SEARCH_SEEDS, TrialSpec


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
    trial = TrialSpec.from_params(params, "ab12")
    interrupted_config = dataclasses.replace(trial.config, run=dataclasses.replace(trial.config.run, steps=300))
    run = launch.train(interrupted_config, env_spec, quiet=True, path=trial.path)
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
