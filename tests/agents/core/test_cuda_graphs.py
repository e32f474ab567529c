"""Tests of CUDA graphs. On a CPU, a substitute for the capture runs the function again in place of its kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from loops import CPU, step_both, toy_loop
from oracles import RandomRows
from toy_envs import ContinuousSteps, NumberedSteps

import rl_lab
from agents.a2c import A2C
from agents.configs.a2c import A2CConfig
from agents.configs.dqn import DQNConfig, DRQNConfig, QRDQNConfig, RainbowConfig
from agents.configs.ppo import PPOConfig, RecurrentPPOConfig
from agents.configs.pqn import PQNConfig
from agents.configs.reinforce import ReinforceConfig
from agents.core.cuda_graphs import (
    MAX_GRAPHS,
    WARM_UP_CALLS,
    CudaGraphFunction,
    Graph,
    TensorTree,
    Wrapper,
    capture_methods,
    map_tensors,
    tensor_leaves,
)
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, StepResult
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.memory.replay import Replay, TransitionBatch
from agents.memory.sequences import SequenceSampler
from agents.ppo import PPO
from agents.pqn import PQN
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from agents.recurrent_ppo import RecurrentPPO
from agents.reinforce import Reinforce
from agents.sac import SAC
from agents.td3 import TD3

SMALL = DQNConfig(
    hidden=8, learning_starts=64, epsilon_steps=500, target_every=7, replay_size=4096, lr_steps=400, lr_end=1e-6
)
SMALL_FIELDS: dict[str, Any] = dataclasses.asdict(SMALL)


class CpuGraph(Graph):
    """A graph whose replay calls the function again and writes the results to the same memory, as a CUDA graph does."""

    def __init__(self, function: Callable[[], TensorTree]) -> None:
        self.function = function
        self.results: TensorTree = None

    def replay(self) -> None:
        """Call the function, and copy its results over the previous ones."""
        results = self.function()
        if self.results is None:
            self.results = map_tensors(torch.clone, results)
        map_tensors(lambda static, new: static.copy_(new), self.results, results)


def cpu_graph_function(function: Callable[..., TensorTree]) -> CudaGraphFunction:
    """Return the captured version of a function on a CPU."""
    return CudaGraphFunction(function, CpuGraph)


def strict_wrapper(agent: Any) -> Wrapper:
    """Return a wrapper whose graphs raise if the captured function reads the agent's counters.

    A CUDA graph would keep the numbers of the capture.
    """

    class StrictGraph(CpuGraph):
        def replay(self) -> None:
            counters = agent.steps, agent.updates
            agent.steps = agent.updates = None
            super().replay()
            agent.steps, agent.updates = counters

    return lambda function: CudaGraphFunction(function, StrictGraph)


def test_captured_function_returns_the_results_of_the_function():
    def function(x: torch.Tensor, pair: tuple[torch.Tensor]) -> Any:
        return {"sum": x.sum() + pair[0]}, (x * 2,)

    captured = cpu_graph_function(function)
    results = []
    expected = []
    for i in range(3 * WARM_UP_CALLS):
        for n in (2, 3):
            arguments = (torch.arange(float(n)) + i, (torch.tensor(float(i)),))
            results.append(captured(*arguments))
            expected.append(function(*arguments))
    assert len(captured.graphs) == 2
    # Compare only now, so that results which a later call has changed are noticed.
    for result, expected_result in zip(tensor_leaves(results), tensor_leaves(expected), strict=True):
        assert torch.equal(result, expected_result)


def test_number_of_graphs_is_limited():
    captured = cpu_graph_function(lambda x: x * 2)
    for _ in range(3 * WARM_UP_CALLS):
        for n in range(1, MAX_GRAPHS + 4):
            assert torch.equal(captured(torch.ones(n)), torch.full((n,), 2.0))
    assert len(captured.graphs) == MAX_GRAPHS
    assert len(captured.arguments) == MAX_GRAPHS


def test_capture_methods_replaces_methods_of_one_instance():
    class Scaler:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def scale(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor

    captured, plain = Scaler(2.0), Scaler(3.0)
    capture_methods(captured, "scale", wrapper=cpu_graph_function)
    first = captured.scale
    assert isinstance(first, CudaGraphFunction)
    assert captured.scale(torch.ones(1)) == 2.0
    assert not isinstance(plain.scale, CudaGraphFunction)
    capture_methods(captured, "scale", wrapper=cpu_graph_function)
    assert captured.scale is not first
    assert captured.scale(torch.ones(1)) == 2.0


def train_plain_and_captured(cls: Any, config: Any, rows: int) -> tuple[Any, Any]:
    """Return an agent and an agent with captured methods, trained on the same rows."""
    env = NumberedSteps if cls.abilities.discrete_actions else ContinuousSteps
    plain, loop = toy_loop(config, 4, env, cls=cls)
    captured, _ = toy_loop(config, 4, env, cls=cls)
    captured.capture_graphs(strict_wrapper(captured))
    captured.act(torch.from_numpy(loop.row.obs), torch.from_numpy(loop.row.is_first), loop.carry, explore=True)
    loop.step()
    step_both(loop, captured, rows)
    return plain, captured


def assert_equal_weights(network: torch.nn.Module, other: torch.nn.Module) -> None:
    """Check that two networks have equal parameters."""
    for parameter, other_parameter in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, other_parameter)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (DQN, SMALL),
        (DuelingDoubleDQN, DuelingDoubleDQN.config_class(**SMALL_FIELDS)),
        (Rainbow, RainbowConfig(**SMALL_FIELDS | {"priority_alpha": 0.5, "noisy": False, "distributional": False})),
        (QRDQN, QRDQNConfig(**SMALL_FIELDS, num_quantiles=5)),
        (DRQN, DRQNConfig(**SMALL_FIELDS, unroll=4)),
        (DQN, dataclasses.replace(SMALL, normalize_obs=True, normalize_reward=True)),
    ],
    ids=["dqn", "dueling_double_dqn", "rainbow", "qr_dqn", "drqn", "normalised dqn"],
)
def test_captured_value_agent_learns_the_same_weights(cls: Any, config: DQNConfig):
    plain, captured = train_plain_and_captured(cls, config, 60)
    assert captured.updates > 2 * WARM_UP_CALLS
    assert len(captured.gradient_step.graphs) == 1
    assert len(captured.acting_q_values.graphs) == 1
    if cls is not DRQN:  # DRQN samples sequences, which are not captured
        assert len(captured.replay.transitions.graphs) == 1
    assert_equal_weights(plain.online_network, captured.online_network)


@pytest.mark.parametrize("cls", [SAC, TD3])
def test_captured_actor_critic_learns_the_same_weights(cls: Any):
    """The noise of an update is not part of the graph, so it is new in every update."""
    settings = {"hidden": 8, "learning_starts": 64, "batch_size": 16, "replay_ratio": 8, "replay_size": 4096}
    plain, captured = train_plain_and_captured(cls, cls.config_class(**settings, normalize_obs=True), 60)
    assert captured.updates > 2 * WARM_UP_CALLS
    for method in (captured.acting_policy, captured.critic_step, captured.actor_step, captured.replay.transitions):
        assert len(method.graphs) == 1
    assert_equal_weights(plain.network, captured.network)
    assert_equal_weights(plain.target_critics, captured.target_critics)


@pytest.mark.parametrize("normalize", [False, True])
def test_captured_policy_gradient_learns_the_same_weights(normalize: bool):
    config = ReinforceConfig(
        hidden=8,
        batch_size=20,
        lr_steps=400,
        lr_end=1e-6,
        normalize_obs=normalize,
        normalize_reward=normalize,
    )
    plain, captured = train_plain_and_captured(Reinforce, config, 300)
    assert len(captured.acting_policy_and_value.graphs) == 1
    assert len(captured.gradient_step.graphs) > 1  # batches differ in size, because last rows are left out
    assert_equal_weights(plain.network, captured.network)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (PPO, PPOConfig(hidden=8, batch_size=64, minibatch_size=20, target_kl=0.01)),
        (RecurrentPPO, RecurrentPPOConfig(hidden=8, batch_size=64, minibatch_size=20, unroll=5)),
        (A2C, A2CConfig(hidden=8, batch_size=20, optimizer="adam")),
        (PQN, PQNConfig(hidden=8, batch_size=64, minibatch_size=20, optimizer="adam")),
    ],
)
def test_captured_agent_without_replay_learns_the_same_weights(cls: Any, config: Any):
    plain, captured = train_plain_and_captured(cls, config, 300)
    for method in cls.captured_methods:
        assert getattr(captured, method).graphs
    assert_equal_weights(plain.network, captured.network)


def test_cuda_graphs_are_ignored_on_a_cpu():
    agent, _ = toy_loop(dataclasses.replace(SMALL, cuda_graphs=True), 1)
    assert not isinstance(agent.gradient_step, CudaGraphFunction)


@pytest.mark.parametrize(
    ("cls", "config", "message"),
    [(ExpectedSarsa, SMALL, "epsilon"), (Rainbow, RainbowConfig(noisy=True), "noisy")],
)
def test_capture_raises_if_update_depends_on_numbers_of_python(cls: Any, config: DQNConfig, message: str):
    agent = cls(config, EnvSpaces((4,), torch.float32, 2, 1), seed=1, device=CPU)
    with pytest.raises(ConfigError, match=message):
        agent.capture_graphs(cpu_graph_function)


def image_batches(count: int, num_actions: int, generator: torch.Generator) -> Iterator[TransitionBatch]:
    """Yield batches of 32 transitions between images of random blocks."""
    for _ in range(count):
        blocks = torch.randint(0, 256, (64, 4, 12, 12), generator=generator, dtype=torch.uint8)
        frames = blocks.repeat_interleave(7, 2).repeat_interleave(7, 3)
        action = torch.randint(0, num_actions, (32,), generator=generator)
        ret = torch.randint(-1, 2, (32,), generator=generator).float()
        discount = torch.full((32,), 0.95)
        yield TransitionBatch(frames[:32], action, ret, discount, frames[32:], torch.ones(32), torch.arange(32))


@pytest.mark.gpu
@pytest.mark.parametrize("cls", [DQN, DuelingDoubleDQN])
@pytest.mark.parametrize("graphs", [False, True])
def test_gpu_and_cpu_learn_the_same_weights(cls: Any, graphs: bool, monkeypatch: pytest.MonkeyPatch):
    """Ten updates in float32 on the same batches, with a falling learning rate, agree up to rounding."""
    # TF32 would round the inputs of convolutions. It is off by default only for matrix products.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    spaces = EnvSpaces((84, 84), torch.uint8, 6, 8)
    config = cls.config_class(
        frame_stack=4, hidden=64, filters=8, lr_steps=100, lr_end=1e-6, target_every=4, optimizer_eps=1e-3
    )
    on_cpu = cls(config, spaces, seed=1, device=CPU)
    on_gpu = cls(dataclasses.replace(config, cuda_graphs=graphs), spaces, seed=1, device=torch.device("cuda"))
    on_gpu.start_from(on_cpu.online_network.state_dict())
    for batch in image_batches(10, spaces.num_actions, torch.Generator().manual_seed(0)):
        for agent in (on_cpu, on_gpu):
            agent.steps += 8
        cpu_metrics = on_cpu.update(batch)
        gpu_metrics = on_gpu.update(TransitionBatch(*(x.cuda() for x in batch)))
        for name, value in cpu_metrics.items():
            assert float(gpu_metrics[name]) == pytest.approx(float(value), rel=1e-2, abs=1e-4), name
    for cpu_weight, gpu_weight in zip(
        on_cpu.online_network.parameters(), on_gpu.online_network.parameters(), strict=True
    ):
        assert torch.allclose(cpu_weight, gpu_weight.cpu(), rtol=1e-2, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dqn", "drqn", "reinforce", "ppo", "recurrent_ppo"])
def test_run_with_cuda_graphs_has_the_same_losses(name: str, tmp_path: Any):
    """Runs of 1000 agent steps with and without graphs make equally many updates, and their first losses agree."""
    losses = []
    for graphs in (False, True):
        options: dict[str, Any] = {"frame_stack": 1, "eval_every": 0, "eval_episodes": 1, "log_every": 100}
        if name == "reinforce":
            options |= {"batch_size": 64}
        elif name in ("ppo", "recurrent_ppo"):
            options |= {"batch_size": 256, "minibatch_size": 64}
        else:
            options |= {"learning_starts": 200}
        run = rl_lab.train(
            name,
            env="ALE/Pong-v5",
            steps=1000,
            device="cuda",
            precision="float32",
            cuda_graphs=graphs,
            wandb="disabled",
            runs_dir=str(tmp_path / str(graphs)),
            quiet=True,
            **options,
        )
        losses.append([(line["updates"], line["loss"]) for line in run.metrics() if "loss" in line])
    plain, captured = losses
    assert [updates for updates, _ in plain] == [updates for updates, _ in captured]
    assert [loss for _, loss in plain[:2]] == pytest.approx([loss for _, loss in captured[:2]], rel=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True])
def test_gpu_and_cpu_store_and_act_the_same(graphs: bool, monkeypatch: pytest.MonkeyPatch):
    """For the same rows, transitions, priorities and greedy actions are equal up to rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    gpu = torch.device("cuda")
    data = RandomRows.make(np.random.default_rng(0), 3, 60, 0.1, 0.1, 0.1)
    spaces = EnvSpaces((3,), torch.float32, 2, 3)
    config = dataclasses.replace(SMALL, frame_stack=2, n_step=3, priority_alpha=0.6, replay_size=120, replay_ratio=0)
    on_cpu = DQN(config, spaces, seed=1, device=CPU)
    on_gpu = DQN(dataclasses.replace(config, cuda_graphs=graphs), spaces, seed=1, device=gpu)
    on_gpu.start_from(on_cpu.online_network.state_dict())
    cpu_carry = on_cpu.initial_carry(3)
    gpu_carry = on_gpu.initial_carry(3)
    for step in data.steps:
        gpu_step = move_step(step, gpu)
        cpu_q, cpu_carry = on_cpu.acting_q_values(step.obs, step.is_first, cpu_carry)
        gpu_q, gpu_carry = on_gpu.acting_q_values(gpu_step.obs, gpu_step.is_first, gpu_carry)
        assert torch.allclose(cpu_q, gpu_q.cpu(), rtol=1e-4, atol=1e-5)
        on_cpu.observe(step)
        on_gpu.observe(gpu_step)
    assert_equal_replays(on_cpu.replay, on_gpu.replay, gpu)


def move_step(step: StepResult, device: torch.device) -> StepResult:
    """Return the row on another device."""
    fields = {name: x.to(device) for name, x in step._asdict().items() if isinstance(x, torch.Tensor)}
    return StepResult(**fields, num_active=step.num_active)


def assert_equal_replays(on_cpu: Replay, on_gpu: Replay, gpu: torch.device) -> None:
    """Check that two prioritised replay memories, one on each device, hold the same rows and priorities."""
    assert on_cpu.priorities is not None
    assert on_gpu.priorities is not None
    cell = on_cpu.priorities.values.nonzero().flatten()
    assert torch.equal(cell, on_gpu.priorities.values.nonzero().flatten().cpu())
    cpu_batch = tensor_leaves(on_cpu.transitions(cell))
    gpu_batch = tensor_leaves(on_gpu.transitions(cell.to(gpu)))
    for cpu_field, gpu_field in zip(cpu_batch, gpu_batch, strict=True):
        assert torch.allclose(cpu_field, gpu_field.cpu())
    sampled = on_gpu.sample(4096, beta=0.5)
    assert set(sampled.cell.tolist()) <= set(cell.tolist())
    cpu_sequence = tensor_leaves(SequenceSampler(on_cpu, 5).latest())
    gpu_sequence = tensor_leaves(SequenceSampler(on_gpu, 5).latest())
    for cpu_field, gpu_field in zip(cpu_sequence, gpu_sequence, strict=True):
        assert torch.equal(cpu_field, gpu_field.cpu())
