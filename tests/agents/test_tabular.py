"""Tests of the tabular agents, against dictionaries, exact values and published results."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from studies import exact_limits, independent_runs
from torch import Tensor

import rl_lab
from agents.configs.tabular import SarsaLambdaConfig, TabularConfig
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, Metrics, StepResult, ValueScaling
from agents.tabular import TabularAgent, TabularExpectedSarsa, TabularQLearning, TabularSarsa, TabularSarsaLambda
from envs.make import make_stream, resolve
from rl_lab import api
from rl_lab.experiment.factory import env_spaces
from rl_lab.training.overlapped_loop import OverlappedLoop

CPU = torch.device("cpu")


def train_agent(
    cls: type[TabularAgent], env: str, rows: int, num_envs: int = 1, seed: int = 1, **settings: Any
) -> tuple[TabularAgent, list[StepResult]]:
    """Train an agent for a number of rows, and return the agent and the rows.

    The last row is not observed. The transition that ends in this row has been learned.
    """
    env_spec = resolve(env)
    agent = cls(cls.config_class(**settings), env_spaces(env_spec, num_envs), seed=seed, device=CPU)
    steps: list[StepResult] = []
    observe = agent.observe

    def record_and_observe(step: StepResult) -> Metrics | None:
        steps.append(step)
        return observe(step)

    agent.observe = record_and_observe
    stream = make_stream(env_spec, num_envs)
    loop = OverlappedLoop(agent, stream, CPU, seed)
    for _ in range(rows):
        loop.step()
    stream.close()
    assert loop.pending is not None
    return agent, [*steps, loop.pending]


def learn_with_dictionary(
    steps: list[StepResult], rule: str, epsilon: float, trace_decay: float = 0.0, traces: str = "replacing"
) -> dict[tuple[int, int], float]:
    """Return Q as a dict of (state, action), learned one transition at a time with alpha 0.1 and gamma 0.9."""
    alpha, gamma = 0.1, 0.9
    q: dict[tuple[int, int], float] = defaultdict(float)
    trace_of_env: dict[int, dict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
    actions = range(4)
    for step, next_step in pairwise(steps):
        old = defaultdict(float, q)  # all environments learn from the same values
        for i in range(len(step.action)):
            if step.is_last[i]:
                continue
            s, a = int(step.obs[i].argmax()), int(step.action[i])
            next_s, next_a = int(next_step.obs[i].argmax()), int(next_step.action[i])
            greedy = max(old[next_s, b] for b in actions)
            next_value = {
                "sarsa": old[next_s, next_a],
                "expected": (1 - epsilon) * greedy + epsilon * sum(old[next_s, b] for b in actions) / 4,
                "q": greedy,
            }[rule]
            if step.terminated[i]:
                next_value = 0
            td_error = float(step.reward[i]) + gamma * next_value - old[s, a]
            trace = trace_of_env[i]
            if traces == "replacing":
                for b in actions:
                    trace[s, b] = 0.0
                trace[s, a] = 1.0
            else:
                trace[s, a] += 1.0
            for key in trace:
                q[key] += alpha * td_error * trace[key]
                trace[key] *= gamma * trace_decay
            if step.terminated[i] or step.truncated[i]:
                trace.clear()
    return q


def as_table(q: dict[tuple[int, int], float], states: int) -> np.ndarray:
    """Return a dict of (state, action) as an array [actions, states]."""
    return np.array([[q[s, a] for s in range(states)] for a in range(4)])


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(
    ("cls", "rule", "trace_settings"),
    [
        (TabularSarsa, "sarsa", {}),
        (TabularExpectedSarsa, "expected", {}),
        (TabularQLearning, "q", {}),
        (TabularSarsaLambda, "sarsa", {"trace_decay": 0.8, "traces": "replacing"}),
        (TabularSarsaLambda, "sarsa", {"trace_decay": 0.8, "traces": "accumulating"}),
    ],
)
def test_weights_equal_those_of_dictionary(cls, rule, trace_settings, num_envs):
    settings: dict[str, Any] = {"alpha": 0.1, "gamma": 0.9, "epsilon_start": 0.3, "epsilon_end": 0.3}
    # FrozenLake terminates, and truncates after 100 steps.
    agent, steps = train_agent(cls, "FrozenLake-v1", 800, num_envs, **settings, **trace_settings)
    assert any(step.terminated.any() for step in steps)
    q = learn_with_dictionary(steps, rule, 0.3, **trace_settings)
    assert agent.weights.any()
    np.testing.assert_allclose(agent.weights[0], as_table(q, 16), atol=1e-12)


@pytest.mark.parametrize("cls", [TabularExpectedSarsa, TabularSarsaLambda])
def test_independent_tables_learn_from_their_own_environment_only(cls):
    settings: dict[str, Any] = {"alpha": 0.1, "gamma": 0.9, "epsilon_start": 0.3, "epsilon_end": 0.3}
    agent, steps = train_agent(cls, "CliffWalking-v1", 400, 3, independent=True, **settings)
    for i in range(3):
        own_steps = [steps_of_env(step, i) for step in steps]
        if cls is TabularExpectedSarsa:
            q = learn_with_dictionary(own_steps, "expected", 0.3)
        else:
            q = learn_with_dictionary(own_steps, "sarsa", 0.3, trace_decay=0.9)
        table = as_table(q, 48)
        assert table.any()
        np.testing.assert_allclose(agent.weights[i], table, atol=1e-12)


def steps_of_env(step: StepResult, env: int) -> StepResult:
    """Return the row of one environment."""
    fields = {name: x[env : env + 1] for name, x in step._asdict().items() if isinstance(x, Tensor)}
    return StepResult(**fields, num_active=int(~step.is_last[env]))


def make_row(state: int, *, is_last: bool = False, terminated: bool = False, truncated: bool = False) -> StepResult:
    """Return a row with action 0 and reward 1 in one of three states."""
    return StepResult(
        obs=torch.nn.functional.one_hot(torch.tensor([state]), 3).float(),
        is_first=torch.tensor([False]),
        is_last=torch.tensor([is_last]),
        action=torch.tensor([0]),
        reward=torch.tensor([1.0]),
        terminated=torch.tensor([terminated]),
        truncated=torch.tensor([truncated]),
        num_active=int(not is_last),
    )


@pytest.mark.parametrize(
    ("first_row", "expected"),
    [(make_row(0, truncated=True), 1 + 0.5 * 7), (make_row(0, terminated=True), 1.0)],
    ids=["truncated", "terminated"],
)
def test_only_truncated_episode_bootstraps_from_its_last_observation(first_row, expected):
    spaces = EnvSpaces((3,), torch.float32, 2, 1, one_hot=True)
    agent = TabularQLearning(TabularConfig(alpha=1.0, gamma=0.5), spaces, seed=0, device=CPU)
    agent.weights[0, :, 2] = 7.0
    for step, next_step in pairwise((first_row, make_row(2, is_last=True), make_row(1))):
        agent.act(next_step.obs, next_step.is_first, (), explore=True)
        agent.observe(step)
    assert agent.weights[0, 0].tolist() == [expected, 0.0, 7.0]  # nothing is learned from the last row


def test_first_episodes_match_published_results():
    """van Seijen et al. 2009, windy gridworld: the mean return of the first 100 episodes.

    An update one row later would give -51, an update before the action is chosen -42.
    """
    returns, _ = independent_runs("tabular_expected_sarsa", "WindyGridworld-v0", runs=40, episodes=100, alpha=1.0)
    assert returns.mean() == pytest.approx(-45.0, rel=0.03)


def test_study_returns_table_after_own_episodes_of_each_run():
    """One episode of TD(0) changes only the value of its last state, however long the other runs continue."""
    settings: dict[str, Any] = {"alpha": 0.5, "gamma": 1.0, "initial": 0.5}
    returns, tables = independent_runs("tabular_sarsa", "LongRandomWalk-v0", runs=20, episodes=1, **settings)
    assert set(returns.flatten()) == {0.0, 1.0}
    for table, ret in zip(tables[:, 0], returns[:, 0], strict=True):
        expected = np.full(19, 0.5)
        expected[18 if ret else 0] += 0.5 * (ret - 0.5)
        np.testing.assert_array_equal(table, expected)


def test_exact_limits_match_known_values():
    """The known values are those of epsilon 0.1: the best epsilon-soft policy, and greedy actions on Q*."""
    assert exact_limits("CliffWalking-v1", 0.1)["expected SARSA"] == pytest.approx(-20.71, abs=0.005)
    windy = exact_limits("WindyGridworld-v0", 0.1)
    assert windy == pytest.approx({"expected SARSA": -17.05, "Q-learning": -17.05}, abs=0.005)


def test_random_walk_converges_to_values_of_textbook():
    settings: dict[str, Any] = {"gamma": 1.0, "epsilon_start": 1.0, "epsilon_end": 1.0, "initial": 0.5}
    agent, _ = train_agent(TabularExpectedSarsa, "RandomWalk-v0", 8_000, alpha=0.02, **settings)
    np.testing.assert_allclose(agent.weights[0].mean(0), np.arange(1, 6) / 6, atol=0.06)


@pytest.mark.parametrize(
    ("agent", "env", "steps", "best"),
    [
        ("tabular_q_learning", "CliffWalking-v1", 12_000, -13),
        ("tabular_expected_sarsa", "WindyGridworld-v0", 10_000, -15),
    ],
)
def test_default_settings_find_shortest_path(agent, env, steps, best, tmp_path):
    run = rl_lab.train(agent, env=env, steps=steps, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=3).returns == [best] * 3


@pytest.mark.parametrize("agent", ["tabular_sarsa", "tabular_sarsa_lambda"])
def test_resumed_run_equals_uninterrupted_run(agent, tmp_path):
    settings: dict[str, Any] = {
        "env": "CliffWalking-v1",
        "wandb": "disabled",
        "quiet": True,
        "eval_every": 0,
        "eval_episodes": 1,
    }
    uninterrupted = rl_lab.train(agent, steps=1500, runs_dir=str(tmp_path / "a"), **settings)
    resumed = rl_lab.train(agent, steps=800, runs_dir=str(tmp_path / "b"), **settings)
    api.resume(resumed, steps=1500, quiet=True)
    weights = [rl_lab.load(run, which="last").network.state_dict()["weights"] for run in (uninterrupted, resumed)]
    assert torch.equal(weights[0], weights[1])


def test_value_scaling_is_that_of_the_settings():
    spaces = EnvSpaces((3,), torch.float32, 2, 1, one_hot=True)
    agent = TabularSarsa(TabularConfig(gamma=0.5), spaces, seed=0, device=CPU)
    assert agent.value_scaling == ValueScaling(gamma=0.5, reward_clip=0.0)


@pytest.mark.parametrize(
    "spaces",
    [
        EnvSpaces((84, 84), torch.uint8, 4, 1),
        EnvSpaces((4,), torch.float32, 2, 1),
        EnvSpaces((), torch.float32, 2, 1),
    ],
    ids=["image", "unbounded", "unbounded number"],
)
def test_unsupported_observations_raise(spaces):
    message = "tabular agents need discrete states, or vectors whose entries are all bounded"
    TabularSarsa.bytes_needed(TabularConfig(), spaces)  # the memory is estimated before the agent is made
    with pytest.raises(ConfigError, match=message):
        TabularSarsa(TabularConfig(), spaces, seed=0, device=CPU)


def test_device_other_than_cpu_raises():
    spaces = env_spaces(resolve("FrozenLake-v1"), 1)
    with pytest.raises(ConfigError, match="device is cuda; tabular agents compute in numpy, so it must be cpu"):
        TabularSarsaLambda(SarsaLambdaConfig(), spaces, seed=0, device=torch.device("cuda"))


def test_bytes_needed_are_exact_for_tables_that_do_not_fit_into_memory():
    spaces = EnvSpaces((2,), torch.float32, 300, 1, False, ((-1.0, 1.0),) * 2)
    assert TabularSarsa.bytes_needed(TabularConfig(tilings=8, tiles=9999), spaces) == 8 * 300 * 8 * 10_000**2


@pytest.mark.parametrize(("entries", "magnitude"), [(10, 10), (24, 24), (10_000, 9543)])
def test_tile_coding_over_many_entries_is_refused_as_infeasible(entries, magnitude):
    """With 8 tilings of 8 tiles along each entry, there are 8 x 9^entries tiles."""
    spaces = EnvSpaces((entries,), torch.float32, 3, 1, False, ((-1.0, 1.0),) * entries)
    message = rf"tile coding over {entries} entries is not feasible: it needs about 10\^{magnitude} tiles; lower tiles"
    with pytest.raises(ConfigError, match=message):
        TabularSarsa.bytes_needed(TabularConfig(), spaces)
    with pytest.raises(ConfigError, match=message):
        TabularSarsa(TabularConfig(), spaces, seed=0, device=CPU)


def test_bytes_needed_include_traces():
    spaces = env_spaces(resolve("FrozenLake-v1"), 4)
    assert TabularSarsaLambda.bytes_needed(SarsaLambdaConfig(), spaces) == 8 * 4 * 16 * (1 + 2 * 4)
