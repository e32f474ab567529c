"""DQN (Mnih et al. 2015) in one file, with nothing but Gymnasium, NumPy and PyTorch.

    python examples/single_file_dqn.py --env CartPole-v1 --steps 40000

The file shows the whole algorithm in the order in which it runs. `agents/dqn.py` is the same algorithm with many
environments, images, n-step returns, priorities and exact resume.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Settings:
    """Settings of the training; an agent step is one decision."""

    env: str = "CartPole-v1"
    steps: int = 40_000
    seed: int = 1
    lr: float = 2.5e-4
    gamma: float = 0.99
    batch_size: int = 64
    replay_size: int = 40_000
    learning_starts: int = 1_000
    update_every: int = 1
    target_every: int = 250
    epsilon_end: float = 0.05
    epsilon_steps: int = 10_000
    hidden: int = 128


class Replay:
    """A ring of transitions (s, a, r, s', terminated), sampled uniformly."""

    def __init__(self, capacity: int, obs_size: int, rng: np.random.Generator) -> None:
        self.obs = np.zeros((capacity, obs_size), np.float32)
        self.next_obs = np.zeros((capacity, obs_size), np.float32)
        self.action = np.zeros(capacity, np.int64)
        self.reward = np.zeros(capacity, np.float32)
        self.terminated = np.zeros(capacity, np.float32)
        self.capacity = capacity
        self.count = 0
        self.rng = rng

    def add(self, obs: np.ndarray, action: int, reward: float, next_obs: np.ndarray, terminated: bool) -> None:
        """Write one transition over the oldest one."""
        index = self.count % self.capacity
        self.obs[index] = obs
        self.action[index] = action
        self.reward[index] = reward
        self.next_obs[index] = next_obs
        self.terminated[index] = terminated
        self.count += 1

    def sample(self, batch_size: int) -> list[Tensor]:
        """Return obs [B, D], action [B], reward [B], next_obs [B, D] and terminated [B]."""
        index = self.rng.integers(min(self.count, self.capacity), size=batch_size)
        fields = (self.obs, self.action, self.reward, self.next_obs, self.terminated)
        return [torch.from_numpy(field[index]) for field in fields]


def build_network(obs_size: int, num_actions: int, hidden: int) -> nn.Sequential:
    """Return a network that maps observations [B, D] to Q(s, .) [B, A]."""
    return nn.Sequential(
        nn.Linear(obs_size, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_actions),
    )


def epsilon_at(step: int, settings: Settings) -> float:
    """Return the probability of a random action: it falls linearly from 1 to `epsilon_end`."""
    share = min(step / settings.epsilon_steps, 1.0)
    return 1.0 + share * (settings.epsilon_end - 1.0)


def td_loss(online: nn.Module, target: nn.Module, batch: list[Tensor], gamma: float) -> Tensor:
    """Return the mean Huber loss of y - Q(s, a) with y = r + gamma max_a' Q_target(s', a').

    Only a termination ends the return. After a truncation s' is the last observation of the episode, and y bootstraps
    from it.
    """
    obs, action, reward, next_obs, terminated = batch
    with torch.no_grad():
        y = reward + gamma * (1 - terminated) * target(next_obs).amax(1)
    q = online(obs).gather(1, action[:, None]).squeeze(1)
    return F.smooth_l1_loss(q, y)


def train(settings: Settings) -> list[float]:
    """Train on one environment and return the score of every finished episode."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    env = gym.make(settings.env)
    assert isinstance(env.action_space, gym.spaces.Discrete)
    assert env.observation_space.shape is not None
    obs_size = int(np.prod(env.observation_space.shape))
    num_actions = int(env.action_space.n)

    online = build_network(obs_size, num_actions, settings.hidden)
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=settings.lr)
    replay = Replay(settings.replay_size, obs_size, rng)
    scores: list[float] = []
    score = 0.0
    obs, _ = env.reset(seed=settings.seed)

    for step in range(settings.steps):
        # 1. Act epsilon-greedily.
        if rng.random() < epsilon_at(step, settings):
            action = int(rng.integers(num_actions))
        else:
            with torch.no_grad():
                action = int(online(torch.from_numpy(np.float32(obs))[None]).argmax())
        # 2. Store the transition.
        next_obs, reward, terminated, truncated, _ = env.step(action)
        replay.add(obs, action, float(reward), next_obs, terminated)
        score += float(reward)
        obs = next_obs
        if terminated or truncated:
            scores.append(score)
            score = 0.0
            obs, _ = env.reset()
        # 3. Take a gradient step on a random batch.
        if step >= settings.learning_starts and step % settings.update_every == 0:
            loss = td_loss(online, target, replay.sample(settings.batch_size), settings.gamma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        # 4. Copy the online network into the target network.
        if step % settings.target_every == 0:
            target.load_state_dict(online.state_dict())
        if (step + 1) % 5_000 == 0:
            print(f"step {step + 1:,}: {describe_scores(scores)}")
    env.close()
    return scores


def describe_scores(scores: list[float]) -> str:
    """Return the mean score of the last 20 episodes as text."""
    if not scores:
        return "no episode has ended yet"
    return f"mean score of the last 20 episodes {np.mean(scores[-20:]):.1f}"


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default=Settings.env, help="Gymnasium id with vector observations")
    parser.add_argument("--steps", type=int, default=Settings.steps, help="agent steps")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    options = parser.parse_args()
    scores = train(Settings(env=options.env, steps=options.steps, seed=options.seed))
    print(f"{len(scores)} episodes; {describe_scores(scores)}")


if __name__ == "__main__":
    main()
