"""Agents of runs become demos, and their commands lead to the same settings."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import make_demo
import pytest
import torch
import yaml

from rl_lab import api
from rl_lab.cli import main
from rl_lab.errors import LabError
from rl_lab.experiment import demo_agents
from rl_lab.experiment.run import Run

SHORT = {"quiet": True, "wandb": "disabled", "eval_episodes": 2, "eval_every": 300, "torch_threads": 1}


def printed_settings(command: str, capsys: Any) -> dict[str, Any]:
    """Return the settings that the command line resolves from a command."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "rl_lab"]
    capsys.readouterr()
    main([*words[3:], "--print-config"])
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("agent", "settings"),
    [
        ("a2c", {"env": "CartPole-v1", "lr": 3e-3, "normalize_obs": True, "seed": 4, "gamma": 0.98}),
        ("dqn", {"env": "CartPole-v1", "learning_starts": 200, "target": 30.0, "mask_velocity": True}),
        ("a2c", {"env": "LostSales-v0", "env_args": {"lead_time": 2}, "norm": "layers"}),
        ("a2c", {"env": "CliffWalking-v1", "wrappers": [{"gymnasium.wrappers:TimeLimit": {"max_episode_steps": 20}}]}),
    ],
)
def test_the_command_resolves_to_the_settings_of_the_run(
    agent: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: Any, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    run = api.train(agent, steps=600, **{**SHORT, **settings})
    command = make_demo.training_command(run)
    resolved = printed_settings(command, capsys)
    stored = yaml.safe_load((run.path / "config.yaml").read_text())
    for name, value in stored.items():
        if name not in ("device", "protocol", "wandb"):
            assert resolved[name] == value, (name, command)


def test_a_demo_is_a_run_with_a_record(tmp_path: Path, monkeypatch: Any, capsys: Any):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make_demo, "DEMOS", tmp_path / "demo")
    monkeypatch.setattr(demo_agents, "DEMOS", tmp_path / "demo")
    run = api.train("a2c", env="CartPole-v1", steps=600, name="mine", notes="private", **SHORT)
    make_demo.make_demo(run, "small-one", "abc1234", episodes=3)
    demo = Run.find("demo:small-one")
    assert demo.path == tmp_path / "demo" / "small-one"
    text = (demo.path / "config.yaml").read_text()
    assert "mine" not in text
    assert "private" not in text
    weights = [api.load_agent(each, which="best").network.state_dict() for each in (run, demo)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    record = json.loads((demo.path / "demo.json").read_text())
    scores = api.evaluate(demo, episodes=3).returns
    assert record["score"] == pytest.approx(sum(scores) / 3, abs=1e-3)
    assert (record["score_min"], record["score_max"]) == (min(scores), max(scores))
    assert (record["commit"], record["seed"], record["weights"]) == ("abc1234", 1, "float32")
    row = [line for line in make_demo.zoo_table().splitlines() if "small-one" in line]
    assert len(row) == 1


def test_large_networks_are_stored_in_half_precision(tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make_demo, "HALF_PRECISION_BYTES", 1000)
    run = api.train("a2c", env="CartPole-v1", steps=600, **SHORT)
    best = {"steps": 300, "score": 1.0}
    assert make_demo.write_run_folder(run, tmp_path / "demo", best) == "float16"
    sizes = [
        (folder / "checkpoints/best/network.safetensors").stat().st_size for folder in (run.path, tmp_path / "demo")
    ]
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("name", ["a b", "../pong", "a.b"])
def test_names_with_other_characters_are_refused(name: str, tmp_path: Path):
    with pytest.raises(LabError, match="must consist of letters, digits and hyphens"):
        make_demo.make_demo(Run(tmp_path), name, "abc1234", episodes=1)


def test_the_table_replaces_the_old_one():
    page = f"before\n{make_demo.TABLE_START}| old |\n{make_demo.TABLE_END}after\n"
    new = make_demo.with_table(page)
    assert new.startswith(f"before\n{make_demo.TABLE_START}| name |")
    assert new.endswith(f"{make_demo.TABLE_END}after\n")
    assert "old" not in new
