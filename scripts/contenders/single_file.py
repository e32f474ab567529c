"""A plain DQN in one file: one environment, a numpy replay buffer of stacked frames, float32.

It is written in the style of the single-file implementations of this field. Run as: python single_file.py WARM_UP_STEPS
DEVICE
"""

from __future__ import annotations

import random
import sys
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from serve import TimeShares, serve
from torch import nn

GAMMA = 0.99
LEARNING_RATE = 1e-4
BATCH_SIZE = 32
BUFFER_SIZE = 100_000
TRAIN_EVERY = 4  # agent steps
TARGET_EVERY = 1_000  # agent steps
EPSILON = 0.01


class NatureNetwork(nn.Module):
    """The network of Mnih et al. 2015."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Linear(512, num_actions),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return Q(s, .) [B, A] of stacked frames u8[B, 4, 84, 84]."""
        return self.layers(x / 255.0)


class ReplayBuffer:
    """A ring of transitions. Observation and next observation are stored as complete stacks."""

    def __init__(self, device: torch.device, seed: int = 1) -> None:
        self.device = device
        self.generator = np.random.default_rng(seed)
        self.obs = np.zeros((BUFFER_SIZE, 4, 84, 84), np.uint8)
        self.next_obs = np.zeros((BUFFER_SIZE, 4, 84, 84), np.uint8)
        self.actions = np.zeros(BUFFER_SIZE, np.int64)
        self.rewards = np.zeros(BUFFER_SIZE, np.float32)
        self.terminated = np.zeros(BUFFER_SIZE, np.float32)
        self.count = 0

    def add(
        self, obs: NDArray[np.uint8], next_obs: NDArray[np.uint8], action: int, reward: float, terminated: bool
    ) -> None:
        """Store a transition over the oldest one."""
        i = self.count % BUFFER_SIZE
        self.obs[i] = obs
        self.next_obs[i] = next_obs
        self.actions[i] = action
        self.rewards[i] = reward
        self.terminated[i] = terminated
        self.count += 1

    def sample(self) -> tuple[torch.Tensor, ...]:
        """Return a uniform batch: obs, next_obs, actions, rewards, terminated."""
        i = self.generator.integers(0, min(self.count, BUFFER_SIZE), BATCH_SIZE)
        fields = (self.obs, self.next_obs, self.actions, self.rewards, self.terminated)
        return tuple(torch.as_tensor(field[i], device=self.device) for field in fields)


class PlainDQN:
    """DQN of Mnih et al. 2015 with Adam, and its environment."""

    def __init__(
        self,
        device: torch.device,
        learning_starts: int,
        *,
        game: str = "Pong",
        seed: int = 1,
        exploration_steps: int = 0,
    ) -> None:
        """Make the environment and the networks.

        Args:
            device: Device of the networks.
            learning_starts: Agent steps before the first update.
            game: Name of the Atari game.
            seed: Seed of the environment and of the replay buffer.
            exploration_steps: Agent steps in which epsilon falls linearly from 1 to EPSILON; 0: epsilon is EPSILON.
        """
        self.device = device
        self.learning_starts = learning_starts
        self.exploration_steps = exploration_steps
        self.env = make_env(game)
        assert isinstance(self.env.action_space, gym.spaces.Discrete)
        num_actions = int(self.env.action_space.n)
        self.network = NatureNetwork(num_actions).to(device)
        self.target = NatureNetwork(num_actions).to(device)
        self.target.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.buffer = ReplayBuffer(device, seed)
        self.obs: Any = self.env.reset(seed=seed)[0]
        self.steps = 0
        self.updates = 0

    def act(self, obs: NDArray[np.uint8]) -> int:
        """Return an epsilon-greedy action for stacked frames u8[4, 84, 84]."""
        if random.random() < self.epsilon():
            return int(self.env.action_space.sample())
        with torch.no_grad():
            return int(self.network(torch.as_tensor(obs[None], device=self.device)).argmax(1).item())

    def epsilon(self) -> float:
        """Return the probability of a random action."""
        if self.steps >= self.exploration_steps:
            return EPSILON
        return 1 + (EPSILON - 1) * self.steps / self.exploration_steps

    def update(self, batch: tuple[torch.Tensor, ...]) -> float:
        """Make one gradient step and return the loss."""
        obs, next_obs, actions, rewards, terminated = batch
        with torch.no_grad():
            target = rewards + GAMMA * self.target(next_obs).max(1).values * (1 - terminated)
        q = self.network(obs).gather(1, actions[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(q, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def train(self, steps: int) -> tuple[int, int]:
        """Make `steps` agent steps. Return the agent steps and the updates made."""
        updates_before = self.updates
        for _ in range(steps):
            action = self.act(self.obs)
            next_obs, reward, terminated, truncated, _ = self.env.step(action)
            self.buffer.add(self.obs, next_obs, action, float(np.sign(float(reward))), terminated)
            self.obs = self.env.reset()[0] if terminated or truncated else next_obs
            self.steps += 1
            if self.steps > self.learning_starts and self.steps % TRAIN_EVERY == 0:
                self.update(self.buffer.sample())
                self.updates += 1
                if self.updates % (TARGET_EVERY // TRAIN_EVERY) == 0:
                    self.target.load_state_dict(self.network.state_dict())
        return steps, self.updates - updates_before


def make_env(game: str = "Pong") -> gym.Env:
    """Return an Atari game with the usual preprocessing."""
    gym.register_envs(ale_py)
    env = gym.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=0.0)
    env = gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    return gym.wrappers.FrameStackObservation(env, 4)


def main() -> None:
    """Warm up, then serve the benchmark."""
    warm_up_steps = int(sys.argv[1])
    agent = PlainDQN(torch.device(sys.argv[2]), learning_starts=warm_up_steps // 2)
    shares = TimeShares()
    shares.measure("acting", agent, "act")
    shares.measure("emulation", agent.env, "step")
    shares.measure("sampling", agent.buffer, "sample")
    shares.measure("sampling", agent.buffer, "add")
    shares.measure("updating", agent, "update")
    agent.train(warm_up_steps)
    serve(agent.train, shares)


if __name__ == "__main__":
    main()
