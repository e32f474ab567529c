"""Exported agents compute the actions of the agents themselves; data sets and tables hold the runs."""

import csv
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rl_lab import api
from rl_lab.cli.export import export_command
from rl_lab.errors import LabError
from rl_lab.experiment.factory import make_cpu_agent
from rl_lab.experiment.run import Run
from rl_lab.export.onnx_file import write_onnx
from rl_lab.export.policy_module import PolicyModule, describe
from rl_lab.export.torchscript_file import write_torchscript

NUM_STATES = 1000
AGENTS = [
    ("dqn", "CartPole-v1", {"frame_stack": 3}),
    ("drqn", "CartPole-v1", {"hidden": 16}),
    ("recurrent_ppo", "Pendulum-v1", {"hidden": 16, "core": "gru", "frame_stack": 2}),
]


def make_module(agent: str, env: str, settings: dict[str, Any]) -> PolicyModule:
    """Return an agent with random weights as a module."""
    config, env_spec = api.resolve_run(agent, env, settings)
    return PolicyModule(make_cpu_agent(config, env_spec), env_spec)


def random_inputs(module: PolicyModule) -> dict[str, Any]:
    """Return random observations and states; a third of the rows begins an episode."""
    zeros = module.inputs(NUM_STATES)
    rng = np.random.default_rng(0)
    inputs = {"obs": rng.normal(size=zeros.obs.shape), "is_first": np.arange(NUM_STATES) % 3 == 0}
    for name, part in zip(module.state_names, zeros.state, strict=True):
        inputs[name] = rng.normal(size=part.shape)
    return {name: array if array.dtype == bool else array.astype(np.float32) for name, array in inputs.items()}


def expected_outputs(module: PolicyModule, inputs: dict[str, Any]) -> list[Any]:
    """Return what the agent itself computes, with the whole carry, one row after the other."""
    obs, is_first = torch.as_tensor(inputs["obs"]), torch.as_tensor(inputs["is_first"])
    parts = [torch.as_tensor(inputs[name]) for name in module.state_names]
    carry = tuple(parts.pop(0) if part.numel() else part for part in module.agent.initial_carry(NUM_STATES))
    with torch.no_grad():
        action, _ = module.agent.act(obs, is_first, carry, explore=False)
        output, carry = module.agent.policy_output(obs, is_first, carry)
    if action.is_floating_point():
        action = action.clamp(-1, 1)
    return [part.numpy() for part in (action, output.scores, output.value, *carry) if part.numel()]


def check_equal(found: list[Any], expected: list[Any]) -> None:
    """Check that outputs are equal up to rounding, and discrete actions exactly."""
    assert len(found) == len(expected)
    if expected[0].dtype == np.int64:
        np.testing.assert_array_equal(found[0], expected[0])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(("agent", "env", "settings"), AGENTS)
def test_onnx_computes_the_actions_of_the_agent(agent: str, env: str, settings: dict[str, Any], tmp_path: Path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    module = make_module(agent, env, settings)
    path = tmp_path / "agent.onnx"
    write_onnx(module, path, describe(agent, module.env_spec))
    session = runtime.InferenceSession(str(path))
    assert [part.name for part in session.get_inputs()] == ["obs", "is_first", *module.state_names]
    inputs = random_inputs(module)
    check_equal(session.run(None, inputs), expected_outputs(module, inputs))
    single = session.run(None, {name: array[:1] for name, array in inputs.items()})
    np.testing.assert_allclose(single[1], expected_outputs(module, inputs)[1][:1], atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["env"] == env


@pytest.mark.parametrize(("agent", "env", "settings"), AGENTS)
def test_torchscript_computes_the_actions_of_the_agent(agent: str, env: str, settings: dict[str, Any], tmp_path: Path):
    module = make_module(agent, env, settings)
    path = tmp_path / "agent.pt"
    write_torchscript(module, path, describe(agent, module.env_spec))
    inputs = random_inputs(module)
    loaded = torch.jit.load(str(path))
    found = loaded(*(torch.as_tensor(array) for array in inputs.values()))
    check_equal([part.numpy() for part in found], expected_outputs(module, inputs))


def test_csv_holds_the_metrics(train: Any, tmp_path: Path):
    run = train(steps=600)
    export_command([str(run), "--csv", "--out", str(tmp_path / "out")])
    with (tmp_path / "out/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = {(line["global_step"], name): value for line in run.metrics() for name, value in line.items()}
    written = {(int(row["global_step"]), name): float(cell) for row in rows for name, cell in row.items() if cell}
    assert written == cells


def test_minari_holds_the_episodes(train: Any, monkeypatch: Any):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    run: Run = train(steps=600)
    export_command([str(run), "--minari", "3", "--seed", "5"])
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(run.path / "export/minari"))
    dataset = minari.load_dataset("rl-lab/CartPole-v1-dqn-s1-v0")
    assert dataset.total_episodes == 3
    env = gymnasium.make("CartPole-v1")
    for episode in dataset.iterate_episodes():
        assert len(episode.observations) == len(episode.actions) + 1
        assert episode.terminations[-1] or episode.truncations[-1]
        env.reset(seed=1)
        env.unwrapped.state = np.array(episode.observations[0], np.float64)  # type: ignore[attr-defined]
        for action, following in zip(episode.actions, episode.observations[1:], strict=True):
            np.testing.assert_allclose(env.step(action)[0], following, atol=1e-5)  # the recorded actions lead there


def test_bad_requests_are_refused(train: Any, tmp_path: Path):
    run = train(steps=600)
    with pytest.raises(LabError, match="nothing to export; add --onnx"):
        export_command([str(run)])
    with pytest.raises(LabError, match="name a folder with --out"):
        export_command(["demo", "--onnx"])
    with pytest.raises(LabError, match="Pong runs in the emulator|needs the package minari"):
        export_command(["demo", "--minari", "1", "--out", str(tmp_path)])
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written"):
        export_command([str(run), "--csv", "--out", str(tmp_path / "file")])
