"""A plain DQN in one file, in the style that scripts of this field share: one environment, numpy replay of stacks, float32.

Written for scripts/benchmark.py: python single_file.py WARM_UP_STEPS DEVICE
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
from serve import Shares, serve
from torch import nn

GAMMA, LR, BATCH, BUFFER, TRAIN_EVERY, TARGET_EVERY, EPSILON = 0.99, 1e-4, 32, 100_000, 4, 1_000, 0.01

warm_up, device = int(sys.argv[1]), torch.device(sys.argv[2])
gym.register_envs(ale_py)
generator = np.random.default_rng(1)
env = gym.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
env = gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
env = gym.wrappers.FrameStackObservation(env, 4)
ACTIONS = 6


class QNetwork(nn.Module):
    def __init__(self, actions: int) -> None:
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
            nn.Linear(512, actions),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x / 255.0)


class Buffer:
    def __init__(self) -> None:
        self.obs = np.zeros((BUFFER, 4, 84, 84), np.uint8)
        self.next_obs = np.zeros((BUFFER, 4, 84, 84), np.uint8)
        self.actions, self.rewards = np.zeros(BUFFER, np.int64), np.zeros(BUFFER, np.float32)
        self.terminated = np.zeros(BUFFER, np.float32)
        self.count = 0

    def add(self, obs, next_obs, action, reward, terminated) -> None:
        i = self.count % BUFFER
        self.obs[i], self.next_obs[i] = obs, next_obs
        self.actions[i], self.rewards[i], self.terminated[i] = action, reward, terminated
        self.count += 1

    def sample(self) -> tuple[torch.Tensor, ...]:
        i = generator.integers(0, min(self.count, BUFFER), BATCH)
        fields = (self.obs, self.next_obs, self.actions, self.rewards, self.terminated)
        return tuple(torch.as_tensor(field[i], device=device) for field in fields)


network = QNetwork(ACTIONS).to(device)
target = QNetwork(ACTIONS).to(device)
target.load_state_dict(network.state_dict())
optimizer = torch.optim.Adam(network.parameters(), lr=LR)
buffer = Buffer()
state: dict[str, Any] = {"steps": 0, "updates": 0}


def act(obs: np.ndarray) -> int:
    if random.random() < EPSILON:
        return int(env.action_space.sample())
    with torch.no_grad():
        return int(network(torch.as_tensor(obs[None], device=device)).argmax(1).item())


def update(batch: tuple[torch.Tensor, ...]) -> float:
    obs, next_obs, actions, rewards, terminated = batch
    with torch.no_grad():
        y = rewards + GAMMA * target(next_obs).max(1).values * (1 - terminated)
    loss = F.smooth_l1_loss(network(obs).gather(1, actions[:, None]).squeeze(1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def train(steps: int) -> tuple[int, int]:
    updates = state["updates"]
    for _ in range(steps):
        action = act(state["obs"])
        next_obs, reward, terminated, truncated, _ = env.step(action)
        buffer.add(state["obs"], next_obs, action, float(np.sign(float(reward))), terminated)
        state["obs"] = env.reset()[0] if terminated or truncated else next_obs
        state["steps"] += 1
        if state["steps"] > warm_up // 2 and state["steps"] % TRAIN_EVERY == 0:
            update(buffer.sample())
            state["updates"] += 1
            if state["updates"] % (TARGET_EVERY // TRAIN_EVERY) == 0:
                target.load_state_dict(network.state_dict())
    return steps, state["updates"] - updates


shares = Shares()
here = sys.modules[__name__]
for name, owner, method in (
    ("acting", here, "act"),
    ("emulation", env, "step"),
    ("sampling", buffer, "sample"),
    ("sampling", buffer, "add"),
    ("updating", here, "update"),
):
    shares.timed(name, owner, method)
state["obs"] = env.reset(seed=1)[0]
train(warm_up)
serve(train, shares)
