"""Functions for studies of tabular agents: many independent runs at once, and exact values for comparison."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from agents.tabular import TabularAgent
from envs.textbook import WindyGridworld
from rl_lab import api
from rl_lab.experiment import config as configuration
from rl_lab.experiment import factory
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")
SWEEPS = 3000  # sweeps of value iteration
GRID_COLUMNS = 10  # of WindyGridworld

Floats = NDArray[np.float64]


def independent_runs(
    agent: str, env: str, *, runs: int, episodes: int, seed: int = 1, **settings: Any
) -> tuple[Floats, Floats]:
    """Train independent runs of a tabular agent at the same time, one environment and one table per run.

    Runs with short episodes continue until the slowest run has made its episodes. What they learn after their own last
    episode is not part of the result.

    Args:
        agent: Name of the agent.
        env: Name of the environment.
        runs: Number of runs.
        episodes: Episodes of each run.
        seed: Seed of all runs together.
        **settings: Further settings of the agent.

    Returns:
        The returns of the episodes [runs, episodes], and the tables after the last episode [runs, actions, features].
    """
    env_spec = api.resolve_env(env)
    overrides = {"num_envs": runs, "seed": seed, "steps": 10**9, "independent": True, **settings}
    config = configuration.resolve(agent, env_spec, overrides)
    learner = factory.make_agent(config, env_spec, CPU)
    assert isinstance(learner, TabularAgent)
    loop = OverlappedLoop(learner, factory.make_envs(config, env_spec, runs), CPU, seed)
    returns: list[list[float]] = [[] for _ in range(runs)]
    tables = np.zeros_like(learner.weights)
    # Runs whose last episode has just ended. The agent learns from the last transition of an episode one row later.
    just_finished: list[int] = []
    while just_finished or min(map(len, returns)) < episodes:
        ended = loop.step().episodes
        tables[just_finished] = learner.weights[just_finished]
        for episode in ended:
            returns[episode.env].append(episode.score)
        just_finished = [episode.env for episode in ended if len(returns[episode.env]) == episodes]
    loop.close()
    return np.array([scores[:episodes] for scores in returns]), tables


def exact_limits(env: str, epsilon: float) -> dict[str, float]:
    """Return the exact undiscounted values of the start state that two agents converge to, by dynamic programming.

    Returns:
        "expected SARSA": the value of the best epsilon-greedy policy, from
            Q(s, a) = r(s, a) + sum_s' P(s' | s, a) [(1 - epsilon) max_a' Q(s', a') + epsilon mean_a' Q(s', a')].
        "Q-learning": the value of the policy that is epsilon-greedy with respect to Q*, with ties broken evenly.
    """
    mdp = make_mdp(env)
    q = np.zeros_like(mdp.reward)
    q_star = np.zeros_like(mdp.reward)
    for _ in range(SWEEPS):
        q = mdp.reward + mdp.transition @ ((1 - epsilon) * q.max(1) + epsilon * q.mean(1))
        q_star = mdp.reward + mdp.transition @ q_star.max(1)
    is_greedy = np.isclose(q_star, q_star.max(1, keepdims=True)).astype(float)
    num_actions = mdp.reward.shape[1]
    policy = (1 - epsilon) * is_greedy / is_greedy.sum(1, keepdims=True) + epsilon / num_actions
    # V = r_pi + P_pi V is a linear system.
    policy_transition = np.einsum("sa,sat->st", policy, mdp.transition)
    policy_reward = (policy * mdp.reward).sum(1)
    value = np.linalg.solve(np.eye(len(q)) - policy_transition, policy_reward)
    return {
        "expected SARSA": float((1 - epsilon) * q[mdp.start].max() + epsilon * q[mdp.start].mean()),
        "Q-learning": float(value[mdp.start]),
    }


class MDP(NamedTuple):
    """The model of an environment with S states and A actions."""

    transition: Floats  # [S, A, S]: P(s' | s, a). Transitions that end the episode are left out: their value is 0
    reward: Floats  # [S, A]: mean reward
    start: int  # the first state of an episode


def make_mdp(env: str) -> MDP:
    """Return the model of WindyGridworld, or of an environment from Gymnasium's toy_text with its attribute `P`."""
    world: Any = gymnasium.make(env).unwrapped
    if isinstance(world, WindyGridworld):
        return _windy_gridworld_mdp(world)
    states = world.observation_space.n
    actions = world.action_space.n
    transition = np.zeros((states, actions, states))
    reward = np.zeros((states, actions))
    for state, action in np.ndindex(states, actions):
        for probability, next_state, step_reward, terminated in world.P[state][action]:
            transition[state, action, next_state] += probability * (not terminated)
            reward[state, action] += probability * step_reward
    return MDP(transition, reward, int(world.reset()[0]))


def _windy_gridworld_mdp(world: Any) -> MDP:
    """Return the model of WindyGridworld. With probability `slip`, the direction of a move is drawn uniformly."""
    states = world.observation_space.n
    actions = world.action_space.n
    transition = np.zeros((states, actions, states))
    reward = np.zeros((states, actions))
    for state, action, direction in np.ndindex(states, actions, actions):
        row, column = world.move(divmod(state, GRID_COLUMNS), direction)
        probability = world.slip / actions + (1 - world.slip) * (action == direction)
        transition[state, action, GRID_COLUMNS * row + column] += probability * ((row, column) != world.GOAL)
        reward[state, action] -= probability
    return MDP(transition, reward, world.reset()[0])
