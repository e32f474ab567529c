"""The tabular agents beside dictionaries, exact values, and the tiles of the textbook."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from studies import exact_limits, independent_runs

import rl_lab
from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, StepResult
from agents.tabular import (
    SarsaLambdaConfig,
    TabularConfig,
    TabularExpectedSarsa,
    TabularQLearning,
    TabularSarsa,
    TabularSarsaLambda,
    TileCoding,
)
from envs.make import make_stream, resolve
from rl_lab import api
from rl_lab.experiment.factory import env_spaces
from rl_lab.training.loop import Loop

CPU = torch.device("cpu")


def trained(cls, env, rows, num_envs=1, seed=1, **settings):
    """An agent after so many rows, and all these rows."""
    env_spec = resolve(env)
    agent = cls(cls.config_class(**settings), env_spaces(env_spec, num_envs), seed=seed, device=CPU)
    observed, observe = [], agent.observe
    agent.observe = lambda step: (observed.append(step), observe(step))[1]
    stream = make_stream(env_spec, num_envs)
    loop = Loop(agent, stream, CPU, seed)
    for _ in range(rows):
        loop.step()
    stream.close()
    return agent, [*observed, loop.pending]  # what led to the last row has been learned already


def by_dictionary(steps, rule, alpha, gamma, epsilon, decay=0.0, traces="replacing"):
    """Q as a dict of (state, action), every transition by itself, traces as a dict for each environment."""
    q, trails = defaultdict(float), defaultdict(lambda: defaultdict(float))
    actions = range(4)
    for now, then in pairwise(steps):
        old = defaultdict(float, q)  # all environments learn at once
        for i in range(len(now.action)):
            if now.is_last[i]:
                continue
            s, a, s2, a2 = int(now.obs[i].argmax()), int(now.action[i]), int(then.obs[i].argmax()), int(then.action[i])
            greedy = max(old[s2, b] for b in actions)
            future = {
                "sarsa": old[s2, a2],
                "expected": (1 - epsilon) * greedy + epsilon * sum(old[s2, b] for b in actions) / 4,
                "q": greedy,
            }[rule]
            error = float(now.reward[i]) + (0 if now.terminated[i] else gamma * future) - old[s, a]
            trail = trails[i]
            if traces == "replacing":
                for b in actions:
                    trail[s, b] = 0.0
                trail[s, a] = 1.0
            else:
                trail[s, a] += 1.0
            for key in trail:
                q[key] += alpha * error * trail[key]
                trail[key] *= gamma * decay
            if now.terminated[i] or now.truncated[i]:
                trail.clear()
    return q


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(
    ("cls", "rule", "more"),
    [
        (TabularSarsa, "sarsa", {}),
        (TabularExpectedSarsa, "expected", {}),
        (TabularQLearning, "q", {}),
        (TabularSarsaLambda, "sarsa", {"trace_decay": 0.8, "traces": "replacing"}),
        (TabularSarsaLambda, "sarsa", {"trace_decay": 0.8, "traces": "accumulating"}),
    ],
)
def test_every_update_is_the_dictionarys(cls, rule, more, num_envs):
    settings = {"alpha": 0.1, "gamma": 0.9, "epsilon_start": 0.3, "epsilon_end": 0.3}
    agent, steps = trained(cls, "FrozenLake-v1", 800, num_envs, **settings, **more)  # terminates, and truncates at 100
    assert any(step.terminated.any() for step in steps)
    q = by_dictionary(steps, rule, 0.1, 0.9, 0.3, more.get("trace_decay", 0.0), more.get("traces", "replacing"))
    table = np.array([[q[s, a] for s in range(16)] for a in range(4)])
    assert agent.weights.any()
    np.testing.assert_allclose(agent.weights[0], table, atol=1e-12)


@pytest.mark.parametrize("cls", [TabularExpectedSarsa, TabularSarsaLambda])
def test_independent_tables_are_independent_runs(cls):
    """What each environment's table becomes is what its own transitions make of it."""
    settings = {"alpha": 0.1, "gamma": 0.9, "epsilon_start": 0.3, "epsilon_end": 0.3}
    agent, steps = trained(cls, "CliffWalking-v1", 400, 3, independent=True, **settings)
    for i in range(3):
        alone = [
            StepResult(
                **{k: x[i : i + 1] for k, x in step._asdict().items() if k != "num_active"},
                num_active=int(~step.is_last[i]),
            )
            for step in steps
        ]
        rule, decay = ("expected", 0.0) if cls is TabularExpectedSarsa else ("sarsa", 0.9)
        q = by_dictionary(alone, rule, 0.1, 0.9, 0.3, decay)
        table = np.array([[q[s, a] for s in range(48)] for a in range(4)])
        assert table.any()
        np.testing.assert_allclose(agent.weights[i], table, atol=1e-12)


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not():
    rows = EnvSpaces((3,), torch.float32, 2, 1, one_hot=True)

    def row(state, *, is_last=False, terminated=False, truncated=False):
        flag = {"is_first": False, "is_last": is_last, "terminated": terminated, "truncated": truncated}
        flags = {k: torch.tensor([v]) for k, v in flag.items()}
        obs = torch.nn.functional.one_hot(torch.tensor([state]), 3).float()
        return StepResult(
            obs=obs, action=torch.tensor([0]), reward=torch.tensor([1.0]), num_active=1 - is_last, **flags
        )

    for end, expected in (("truncated", 1 + 0.5 * 7), ("terminated", 1.0)):
        agent = TabularQLearning(TabularConfig(alpha=1.0, gamma=0.5), rows, seed=0, device=CPU)
        agent.weights[0, :, 2] = 7.0
        steps = (row(0, **{end: True}), row(2, is_last=True), row(1))
        for before, step in pairwise(steps):
            agent.act(step.obs, step.is_first, (), explore=True)
            agent.observe(before)
        assert agent.weights[0, 0].tolist() == [expected, 0.0, 7.0]  # and nothing was learned from the dead row


def test_the_first_episodes_are_those_of_the_paper():
    """van Seijen et al. 2009, windy gridworld: the mean return of the first 100 episodes.

    An update that comes a row later has -51, one before the action is chosen -42.
    """
    returns, _ = independent_runs("tabular_expected_sarsa", "WindyGridworld-v0", runs=40, episodes=100, alpha=1.0)
    assert returns.mean() == pytest.approx(-45.0, rel=0.03)


def test_a_study_sees_each_run_after_its_own_episodes():
    """One episode of TD(0) changes the value of the state it ends in alone, however long the others go on."""
    settings = {"alpha": 0.5, "gamma": 1.0, "initial": 0.5}
    returns, tables = independent_runs("tabular_sarsa", "LongRandomWalk-v0", runs=20, episodes=1, **settings)
    assert set(returns.flatten()) == {0.0, 1.0}
    for table, ret in zip(tables[:, 0], returns[:, 0], strict=True):
        by_hand = np.full(19, 0.5)
        by_hand[18 if ret else 0] += 0.5 * (ret - 0.5)
        np.testing.assert_array_equal(table, by_hand)


def test_the_exact_limits_are_the_known_ones():
    """At epsilon .1: the best epsilon-soft policy of the cliff and of the wind, and greedy play on Q* in the wind."""
    assert exact_limits("CliffWalking-v1", 0.1)["expected SARSA"] == pytest.approx(-20.71, abs=0.005)
    windy = exact_limits("WindyGridworld-v0", 0.1)
    assert windy == pytest.approx({"expected SARSA": -17.05, "Q-learning": -17.05}, abs=0.005)


def test_a_random_walk_gets_the_values_of_the_textbook():
    settings = {"gamma": 1.0, "epsilon_start": 1.0, "epsilon_end": 1.0, "initial": 0.5}
    agent, _ = trained(TabularExpectedSarsa, "RandomWalk-v0", 8_000, alpha=0.02, **settings)
    np.testing.assert_allclose(agent.weights[0].mean(0), np.arange(1, 6) / 6, atol=0.06)


@pytest.mark.parametrize(
    ("agent", "env", "steps", "best"),
    [
        ("tabular_q_learning", "CliffWalking-v1", 12_000, -13),
        ("tabular_expected_sarsa", "WindyGridworld-v0", 10_000, -15),
    ],
)
def test_the_shortest_way_is_found_by_the_ordinary_command(agent, env, steps, best, tmp_path):
    run = rl_lab.train(agent, env=env, steps=steps, wandb="disabled", runs_dir=str(tmp_path), quiet=True)
    assert rl_lab.evaluate(run, episodes=3).returns == [best] * 3


@pytest.mark.parametrize("agent", ["tabular_sarsa", "tabular_sarsa_lambda"])
def test_a_longer_run_is_a_run_made_longer(agent, tmp_path):
    settings = {"env": "CliffWalking-v1", "wandb": "disabled", "quiet": True, "eval_every": 0, "eval_episodes": 1}
    whole = rl_lab.train(agent, steps=1500, runs_dir=str(tmp_path / "a"), **settings)
    parts = rl_lab.train(agent, steps=800, runs_dir=str(tmp_path / "b"), **settings)
    api.resume(parts, steps=1500, quiet=True)
    one, other = (rl_lab.load(run, which="last").network.weights for run in (whole, parts))
    assert torch.equal(one, other)


def test_tiles_are_shifted_and_cover_the_bounds():
    coding = TileCoding(((0.0, 1.0), (-2.0, 2.0)), tilings=4, tiles=3)
    rng = np.random.default_rng(0)
    points = rng.random((500, 2)) * [1, 4] - [0, 2]
    found = coding(points)
    assert found.shape == (500, 4)
    assert (found // (coding.count // 4) == np.arange(4)).all()  # one tile of each tiling
    for point, tiles in zip(points, found, strict=True):
        for k, tile in enumerate(tiles):
            place = [
                (point[d] - low) / width + k * (2 * d + 1) % 4 / 4
                for d, (low, width) in enumerate(((0, 1 / 3), (-2, 4 / 3)))
            ]
            assert tile == k * 16 + int(place[0]) + 4 * int(place[1])
    edge = coding(np.array([[1.0, 2.0], [0.0, -2.0]]))
    assert edge.max() < coding.count
    near, far = coding(np.array([[0.5, 0.0], [0.51, 0.01]])), coding(np.array([[0.5, 0.0], [0.9, 1.9]]))
    assert (near[0] == near[1]).sum() >= 3
    assert (far[0] == far[1]).sum() == 0


def test_what_is_no_table_is_refused():
    for rows in (EnvSpaces((84, 84), torch.uint8, 4, 1), EnvSpaces((4,), torch.float32, 2, 1)):
        with pytest.raises(ConfigError, match="tabular agents need states that are numbers, or vectors whose entries"):
            TabularSarsa(TabularConfig(), rows, seed=0, device=CPU)
    lake = env_spaces(resolve("FrozenLake-v1"), 1)
    with pytest.raises(ConfigError, match="device is cuda; tabular agents work in numpy, so it must be cpu"):
        TabularSarsaLambda(SarsaLambdaConfig(), lake, seed=0, device=torch.device("cuda"))


def test_more_tiles_than_numbers_are_counted_before_they_are_refused():
    rows = EnvSpaces((6,), torch.float32, 3, 1, False, ((-1.0, 1.0),) * 6)
    assert TabularSarsa.bytes_needed(TabularConfig(tilings=8, tiles=2000), rows) == 8 * 3 * 8 * 2001**6


def test_traces_are_counted_with_the_tables():
    lake = env_spaces(resolve("FrozenLake-v1"), 4)
    assert TabularSarsaLambda.bytes_needed(SarsaLambdaConfig(), lake) == 8 * 4 * 16 * (1 + 2 * 4)
