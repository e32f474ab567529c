"""Tests that no agent waits for its device.

An agent waits for a GPU when it reads a number from the GPU, or when the shape of a result depends on numbers there. On
PyTorch's meta device, which has shapes but no numbers, both raise an error. So the tests need no GPU.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agents.a2c import A2C
from agents.core.types import EnvSpaces, Metrics, StepResult
from agents.double_dqn import DoubleDQN
from agents.dqn import DQN
from agents.drqn import DRQN
from agents.dueling_double_dqn import DuelingDoubleDQN
from agents.dueling_dqn import DuelingDQN
from agents.expected_sarsa import ExpectedSarsa
from agents.ppo import PPO
from agents.pqn import PQN
from agents.qr_dqn import QRDQN
from agents.rainbow import Rainbow
from agents.recurrent_ppo import RecurrentPPO
from agents.reinforce import Reinforce
from agents.sac import SAC
from agents.td3 import TD3

NUM_ENVS = 8
IMAGES = EnvSpaces((84, 84), torch.uint8, 6, NUM_ENVS)
VECTORS = EnvSpaces((5,), torch.float32, 6, NUM_ENVS)
CONTINUOUS = {"num_actions": 0, "action_dim": 2}
REPLAY = {"learning_starts": 32, "replay_size": 240, "replay_ratio": 1.0, "frame_stack": 4, "priority_alpha": 0.5}
SEQUENCES = REPLAY | {"frame_stack": 1, "unroll": 4, "replay_ratio": 4.0}
AUGMENTED = {"augment_shift": 4, "augment_intensity": 0.05}
NORMALIZED = {"normalize_obs": True, "normalize_reward": True, "reward_scale": 2.0}


class CpuGenerator(torch.Generator):
    """A generator on the CPU in place of one on the meta device, which does not exist."""

    def __new__(cls, device: Any = None) -> CpuGenerator:
        return super().__new__(cls)


class ForbidTransfers(TorchDispatchMode):
    """Raise at every operation that copies numbers from one device to another."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        devices = {x.device.type for x in tensors if x.dim()}
        assert len(devices) < 2, f"{func} copies numbers between {devices}"
        return result


class ConstantEnvironment:
    """An agent's loop over observations, rewards and flags that are all zero, on the agent's device."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.carry = agent.initial_carry(NUM_ENVS)
        spaces: EnvSpaces = agent.spaces
        self.obs = torch.zeros((NUM_ENVS, *spaces.obs_shape), dtype=spaces.dtype, device=agent.device)
        self.reward = torch.zeros(NUM_ENVS, device=agent.device)
        self.no = torch.zeros(NUM_ENVS, dtype=torch.bool, device=agent.device)
        self.metrics: Metrics = {}

    def run(self, rows: int) -> None:
        """Let the agent act and learn for a number of rows."""
        no = self.no
        for _ in range(rows):
            action, self.carry = self.agent.act(self.obs, no, self.carry, explore=True)
            step = StepResult(self.obs, no, no, action, self.reward, no, no, num_active=NUM_ENVS)
            self.metrics.update(self.agent.observe(step) or {})


@pytest.mark.parametrize("device_type", ["meta", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (DQN, REPLAY | {"n_step": 3}),
        (DQN, REPLAY | {"priority_alpha": 0.0, "target_tau": 0.01}),
        (DQN, REPLAY | {"optimizer": "centered_rmsprop", "norm": "batch", "pixels": "frames"}),
        (DoubleDQN, REPLAY),
        (DuelingDQN, REPLAY),
        (DuelingDoubleDQN, REPLAY),
        (ExpectedSarsa, REPLAY),
        (Rainbow, REPLAY),
        (QRDQN, REPLAY | {"num_quantiles": 9, "double": True, "dueling": True}),
        (DRQN, SEQUENCES),
        (DRQN, SEQUENCES | {"priority_alpha": 0.0, "core": "gru", "start_state": "stored"}),
        (Reinforce, {"batch_size": 64, "frame_stack": 4}),
        (Reinforce, {"batch_size": 64, "frame_stack": 2, "convolutions": False}),
        (DQN, REPLAY | NORMALIZED),
        (DQN, REPLAY | NORMALIZED | {"target_tau": 0.01}),
        (DRQN, SEQUENCES | NORMALIZED),
        (Reinforce, {"batch_size": 64} | NORMALIZED),
        (PPO, {"batch_size": 64, "minibatch_size": 32, "value_clip": 0.2, "standardize": "minibatch"}),
        (RecurrentPPO, {"batch_size": 64, "minibatch_size": 32, "unroll": 3, "value_clip": 0.2}),
        (RecurrentPPO, {"batch_size": 64, "unroll": 4, "core": "gru", "standardize": "minibatch"}),
        (RecurrentPPO, {"batch_size": 64, "minibatch_size": 32} | NORMALIZED),
        (A2C, {"batch_size": 40}),
        (PQN, {"batch_size": 64, "minibatch_size": 32, "frame_stack": 4}),
        (DQN, REPLAY | {"advantage_alpha": 0.9, "advantage_persistent": True}),
        (DQN, REPLAY | {"munchausen_alpha": 0.9}),
        (SAC, REPLAY | {"batch_size": 16, "n_step": 3}),
        (SAC, REPLAY | NORMALIZED | {"batch_size": 16, "learn_temperature": False}),
        (TD3, REPLAY | {"batch_size": 16, "grad_clip": 1.0}),
        (Rainbow, REPLAY | AUGMENTED | {"n_step_start": 5, "gamma_start": 0.9, "anneal_updates": 4}),
        (DRQN, SEQUENCES | AUGMENTED),
    ],
)
def test_agent_does_not_wait_for_its_device(cls, settings, dtype, device_type, monkeypatch):
    settings = {"hidden": 16, "filters": 8} | settings
    if device_type == "meta":
        monkeypatch.setattr(torch, "Generator", CpuGenerator)
        settings = {"optimizer": "rmsprop"} | settings  # adam's fused kernel does not exist on the meta device
    spaces = VECTORS if "normalize_obs" in settings else IMAGES
    if not cls.abilities.discrete_actions:
        spaces = dataclasses.replace(spaces, **CONTINUOUS)
    agent = cls(cls.config_class(**settings), spaces, seed=1, device=torch.device(device_type), dtype=dtype)
    environment = ConstantEnvironment(agent)
    environment.run(15)  # allocates all memory
    if device_type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        with ForbidTransfers():
            environment.run(40)
    finally:
        if device_type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert agent.updates > 3
    assert {x.device.type for x in environment.metrics.values()} == {device_type}
