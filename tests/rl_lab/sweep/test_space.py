"""The spaces of searches, and what trials make of them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.core.settings import ConfigError
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment import config, launch
from rl_lab.experiment.config import read_yaml
from rl_lab.experiment.registry import OWN_AGENTS
from rl_lab.experiment.run import Run
from rl_lab.sweep import trial as trial_of
from rl_lab.sweep.search import inside
from rl_lab.sweep.space import DEFAULT, read_space
from rl_lab.sweep.trial import SEARCH_SEEDS, branch, described, plain


def resolved(agent, env="CartPole-v1"):
    env_spec = api.resolve_env(env)
    return config.resolve(agent, env_spec, {}), env_spec


@pytest.mark.parametrize("entry", OWN_AGENTS, ids=lambda entry: entry.name)
def test_every_agent_has_a_space_that_its_settings_allow(entry):
    env = "FrozenLake-v1" if entry.name.startswith("tabular") else "CartPole-v1"
    own, _ = resolved(entry.name, env)
    space = read_space(own, "", on_the_way=False)
    assert space.keys() == read_yaml(DEFAULT)[entry.name].keys()
    for _ in range(20):
        config.replaced(own, {key: domain.sample() for key, domain in space.items()}, "a sample")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr: 3", "lr is 3"),
        ("lr: []", "lr is []"),
        ("lr: {low: 1, high: 1}", "lr is"),
        ("lr: {low: 0, high: 1, log: true}", "lr is"),
        ("lr: {low: 1e-4, high: 1e-3, step: 2}", "lr is"),
        ("lr: {low: -1, high: 1}", "lr is -1"),
        ("lrr: [1]", "nearest is 'lr'"),
        ("n_step: [1, 0]", "n_step is 0"),
        ("", "must hold a mapping"),
        ("{}", "has no space"),
    ],
)
def test_a_space_that_cannot_be_is_refused(text, says, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises((ConfigError, LabError), match=says.replace("[", r"\[")):
        read_space(resolved("dqn")[0], str(path), on_the_way=False)


def test_a_population_changes_only_what_can_change_on_the_way(tmp_path):
    own, _ = resolved("dqn")
    assert set(read_space(own, "", on_the_way=True)) == {"lr", "target_every", "epsilon_end"}
    (tmp_path / "space.yaml").write_text("hidden: [64, 128]")
    with pytest.raises(LabError, match="hidden; pbt changes"):
        read_space(own, str(tmp_path / "space.yaml"), on_the_way=True)


def test_a_changed_setting_stays_inside_the_space(tmp_path):
    (tmp_path / "space.yaml").write_text(
        "lr: {low: 1e-4, high: 1e-3}\ntarget_every: {low: 10, high: 20}\ngamma: [0.9, 0.99]"
    )
    space = read_space(resolved("dqn")[0], str(tmp_path / "space.yaml"), on_the_way=True)
    moved = {"trial": "x", "settings": {"lr": 1.2e-3, "target_every": 23.7, "gamma": 0.99}}
    assert inside(space, moved) == {"trial": "x", "settings": {"lr": 1e-3, "target_every": 20, "gamma": 0.99}}
    moved["settings"] |= {"lr": 5e-5, "target_every": 12.4}
    assert inside(space, moved)["settings"] == {"lr": 1e-4, "target_every": 12, "gamma": 0.99}


def test_a_trial_of_a_search_has_its_own_settings_seed_and_folder(tmp_path):
    own, env_spec = resolved("dqn")
    trial = plain(own, env_spec, tmp_path / "20261121-120000")
    one, its_env_spec, path = described({"trial": trial, "settings": {"lr": 2e-3, "n_step": 7}}, "ab12")
    other, _, elsewhere = described({"trial": trial, "settings": {"lr": 2e-3, "n_step": 7}}, "cd34")
    assert (one.settings.lr, one.settings.n_step, its_env_spec) == (2e-3, 7, env_spec)
    assert path == tmp_path / "20261121-120000-ab12"
    assert path != elsewhere
    assert one.run.seed != other.run.seed
    assert min(one.run.seed, other.run.seed) >= SEARCH_SEEDS
    plainly = described({"trial": trial}, "ab12")[0]
    assert plainly.settings == own.settings
    assert plainly.run.runs_dir == str(Path("runs").resolve()), "a worker is elsewhere"


def test_a_member_that_was_killed_in_its_first_part_goes_on_from_its_own_checkpoint(tmp_path, monkeypatch):
    """Tune knows of no part yet; what the run has saved by itself is not lost, and each part is told once."""
    told, runs = [], tmp_path / "runs"
    monkeypatch.setattr(trial_of.tune, "get_context", lambda: SimpleNamespace(get_trial_id=lambda: "ab12"))
    monkeypatch.setattr(trial_of.tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(trial_of.tune, "report", lambda result, checkpoint: told.append(result["steps"]))
    env_spec = api.resolve_env("CartPole-v1")
    short = {"steps": 900, "learning_starts": 100, "eval_every": 300, "eval_episodes": 1, "wandb": "disabled"}
    own = config.resolve("dqn", env_spec, {"env": env_spec.name, "runs_dir": str(runs), **short})
    params = {"trial": {**plain(own, env_spec, runs / "member"), "part": 450}, "settings": {}}
    first, _, path = described(params, "ab12")
    cut = dataclasses.replace(first, run=dataclasses.replace(first.run, steps=300))
    killed = launch.train(cut, env_spec, quiet=True, path=path)
    before = killed.metrics()
    trial_of.train_member(params)
    assert [steps // 100 for steps in told] == [4, 9]
    assert killed.metrics()[: len(before) - 1] == before[:-1], "what it had was not made anew"


def test_a_branch_is_the_donors_run_under_another_name(train):
    donor = train(steps=600)
    copy = branch(donor, donor.path.with_name("mine"))
    again = branch(donor, donor.path.with_name("mine"))
    assert (copy.path.name, again.path.name) == ("mine+1", "mine+2")
    longer = api.resume(Run(copy.path), steps=900, quiet=True)
    assert longer.metrics()[-1]["global_step"] >= 900
    assert donor.metrics()[-1]["global_step"] < 900
