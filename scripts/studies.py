"""What the studies of tabular agents share: many independent runs at once, and exact values to hold them against."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from agents.tabular import Tabular
from envs.textbook import WindyGridworld
from rl_lab import api
from rl_lab.experiment import config, factory

CPU = torch.device("cpu")


def independent_runs(
    agent: str, env: str, *, runs: int, episodes: int, seed: int = 1, **settings: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The returns [runs, episodes] of the first episodes of so many runs, and the table [runs, actions, features] of each after them.

    Runs whose episodes are short go on until the last one is through, which neither returns nor tables show.
    """
    env_spec = api.resolve_env(env)
    given = {"num_envs": runs, "seed": seed, "steps": 10**9, "independent": True, **settings}
    resolved = config.resolve(agent, env_spec, given)
    learner = factory.make_agent(resolved, env_spec, CPU)
    assert isinstance(learner, Tabular)
    loop = factory.make_loop(resolved, env_spec, learner, CPU)
    found: list[list[float]] = [[] for _ in range(runs)]
    tables = np.zeros_like(learner.weights)
    through: list[int] = []  # runs whose last transition the next step learns, and nothing after it
    while through or min(map(len, found)) < episodes:
        games = loop.step().episodes
        tables[through] = learner.weights[through]
        for game in games:
            found[game.env].append(game.score)
        through = [game.env for game in games if len(found[game.env]) == episodes]
    loop.close()
    return np.array([scores[:episodes] for scores in found]), tables


def exact_limits(env: str, epsilon: float) -> dict[str, float]:
    """What the agents come to in a world, undiscounted, by dynamic programming: the value of its first state under two policies.

    "expected SARSA": the best policy of those that are random with probability epsilon. "Q-learning": the one that is greedy on
    Q* but with probability epsilon random, and draws evenly among actions that tie.
    """
    where, reward, start = model(env)
    q = np.zeros_like(reward)
    best = np.zeros_like(reward)
    for _ in range(3000):
        q = reward + where @ ((1 - epsilon) * q.max(1) + epsilon * q.mean(1))
        best = reward + where @ best.max(1)
    greedy = np.isclose(best, best.max(1, keepdims=True)).astype(float)
    policy = (1 - epsilon) * greedy / greedy.sum(1, keepdims=True) + epsilon / reward.shape[1]
    on_q_star = np.linalg.solve(np.eye(len(q)) - np.einsum("sa,sat->st", policy, where), (policy * reward).sum(1))
    return {
        "expected SARSA": float((1 - epsilon) * q[start].max() + epsilon * q[start].mean()),
        "Q-learning": float(on_q_star[start]),
    }


def model(env: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """P(s' | s, a) [S, A, S], without what ends the episode, the mean reward [S, A] and the first state of a world."""
    world = gymnasium.make(env).unwrapped
    states, actions = world.observation_space.n, world.action_space.n  # type: ignore[attr-defined]
    where, reward = np.zeros((states, actions, states)), np.zeros((states, actions))
    if isinstance(world, WindyGridworld):
        for s, a, b in np.ndindex(states, actions, actions):  # it goes in direction b where a is chosen
            place = world.move(divmod(s, 10), b)
            share = world.slip / actions + (1 - world.slip) * (a == b)
            where[s, a, 10 * place[0] + place[1]] += share * (place != world.GOAL)
            reward[s, a] -= share
        return where, reward, world.reset()[0]
    for s, a in np.ndindex(states, actions):
        for share, to, gain, ends in world.P[s][a]:  # type: ignore[attr-defined]
            where[s, a, to] += share * (not ends)
            reward[s, a] += share * gain
    return where, reward, int(world.reset()[0])
