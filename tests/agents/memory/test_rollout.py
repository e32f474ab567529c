"""Tests of the rollout: every row is used once, and its advantage equals the one computed from its naive episode."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import CPU, toy_loop
from oracles import RandomRows
from toy_envs import NumberedSteps

from agents.configs.reinforce import ReinforceConfig
from agents.core.types import EnvSpaces, Metrics
from agents.memory.rollout import Rollout, RolloutBatch
from agents.reinforce import Reinforce

SMALL = ReinforceConfig(hidden=8, batch_size=60, gamma=0.9, trace_decay=0.8)
SPACES = EnvSpaces((3,), torch.float32, 4, 3)

ObsKey = tuple[int, int, int]
"""The numbers in an observation of `RandomRows`: environment, episode and step + 1."""


class Acted(NamedTuple):
    """The acting record of one environment in one row."""

    log_prob: float
    value: float


class TakenBatch(NamedTuple):
    """A batch, and the number of the newest row when the agent took it."""

    batch: RolloutBatch
    newest_row: int


def obs_keys(obs: torch.Tensor) -> list[ObsKey]:
    """Return the numbers in observations [B, 3]."""
    keys = []
    for numbers in obs.int().tolist():
        env, episode, position = numbers
        keys.append((env, episode, position))
    return keys


def take_batches(
    config: ReinforceConfig, rows: RandomRows, rng: np.random.Generator
) -> tuple[list[TakenBatch], dict[ObsKey, Acted]]:
    """Let an agent observe rows with random log-probabilities and values; return its batches and these numbers."""
    agent = Reinforce(config, SPACES, seed=1, device=CPU)
    taken: list[TakenBatch] = []

    def record_batch(batch: RolloutBatch) -> Metrics | None:
        taken.append(TakenBatch(batch, agent.rollout.memory.total_rows - 1))
        return None

    agent.learn = record_batch
    acted: dict[ObsKey, Acted] = {}
    for step in rows.steps:
        log_prob, value = torch.from_numpy(rng.normal(size=(2, 3)).astype(np.float32))
        if not config.baseline:
            value = torch.zeros(3)
        for key, env_log_prob, env_value in zip(obs_keys(step.obs), log_prob, value, strict=True):
            acted[key] = Acted(float(env_log_prob), float(env_value))
        agent.acting_records.append((log_prob, value))
        agent.observe(step)
    return taken, acted


def naive_advantage(
    rows: RandomRows,
    acted: dict[ObsKey, Acted],
    key: ObsKey,
    config: ReinforceConfig,
    newest_row: int,
    row_of: dict[ObsKey, int],
) -> float:
    """Return sum_k (gamma lambda)^k (r + gamma V' - V), until the return ends or the next row is not in the batch."""
    env, number, position = key
    episode = rows.episodes[env, number]
    decay = config.trace_decay if config.baseline else 1.0
    total = 0.0
    factor = 1.0
    for i in range(position - 1, len(episode.action)):
        if row_of[env, number, i + 1] >= newest_row:
            break
        is_point = config.points_end_returns and episode.reward[i] != 0
        terminated = episode.terminated[i] or is_point
        next_value = 0.0 if terminated else acted[env, number, i + 2].value
        delta = episode.reward[i] + config.gamma * next_value - acted[env, number, i + 1].value
        total += factor * delta
        factor *= config.gamma * decay
        if terminated or episode.truncated[i]:
            break
    return total


def is_complete(
    rows: RandomRows, key: ObsKey, config: ReinforceConfig, newest_row: int, row_of: dict[ObsKey, int]
) -> bool:
    """Return True if the return from a row ends before the newest row."""
    env, number, position = key
    episode = rows.episodes[env, number]
    for i in range(position - 1, len(episode.action)):
        is_point = config.points_end_returns and episode.reward[i] != 0
        if episode.terminated[i] or episode.truncated[i] or is_point:
            return row_of[env, number, i + 1] < newest_row
    return False


def drop_most_rewards(rows: RandomRows, rng: np.random.Generator) -> None:
    """Set nine of ten rewards to 0, as in Pong."""
    for step in rows.steps:
        keep = torch.from_numpy(rng.random(3) < 0.1)
        step.reward.mul_(keep)
        for e, (env, number, position) in enumerate(obs_keys(step.obs)):
            if not step.is_last[e]:
                rows.episodes[env, number].reward[position - 1] *= float(keep[e])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    baseline=st.booleans(),
    points=st.booleans(),
    games=st.sampled_from([0, 4]),
    p_end=st.sampled_from([0.0, 0.05, 0.4]),
)
def test_every_row_is_used_once_with_naive_advantage(seed, baseline, points, games, p_end):
    rng = np.random.default_rng(seed)
    rows = RandomRows.make(rng, 3, 150, p_end, p_end, p_end)
    if points:
        drop_most_rewards(rows, rng)
    row_of: dict[ObsKey, int] = {}
    active: set[ObsKey] = set()
    for t, step in enumerate(rows.steps):
        for key, is_last in zip(obs_keys(step.obs), step.is_last, strict=True):
            row_of[key] = t
            if not is_last:
                active.add(key)
    config = dataclasses.replace(SMALL, baseline=baseline, points_end_returns=points, batch_games=games)
    taken, acted = take_batches(config, rows, rng)
    used: list[ObsKey] = []
    for batch, newest_row in taken:
        for i, key in enumerate(obs_keys(batch.obs[:, -1])):
            env, number, position = key
            used.append(key)
            assert key in active
            assert baseline or is_complete(rows, key, config, newest_row, row_of)
            assert int(batch.action[i]) == rows.episodes[env, number].action[position - 1]
            assert float(batch.log_prob[i]) == acted[key].log_prob
            advantage = naive_advantage(rows, acted, key, config, newest_row, row_of)
            assert float(batch.advantage[i]) == pytest.approx(advantage, abs=1e-4)
            assert float(batch.ret[i]) == pytest.approx(advantage + acted[key].value, abs=1e-4)
    assert len(used) == len(set(used))
    if baseline and not games:  # 60 agent steps in 3 environments are 20 rows
        assert [newest_row for _, newest_row in taken] == list(range(20, 150, 20))
    if baseline:  # the batches contain all rows before the newest row of the last batch
        last_newest_row = taken[-1].newest_row if taken else 0
        assert set(used) == {key for key in active if row_of[key] < last_newest_row}
    if not baseline and p_end == 0.4 and len(taken) > 1:  # short episodes: no finished row waits longer than one batch
        finished = {key for key in active if row_of[key] < taken[-2].newest_row - 20}
        assert finished <= set(used)


@pytest.mark.parametrize("batch_size", [3, 5, 6, 61])
def test_rollout_is_complete_one_row_after_the_rows_of_a_batch(batch_size: int):
    """The row after a batch gives the values to bootstrap from."""
    rollout = Rollout(
        SPACES,
        batch_size=batch_size,
        stack=1,
        gamma=0.9,
        trace_decay=0.8,
        generator=torch.Generator(),
        device=CPU,
    )
    rows = RandomRows.make(np.random.default_rng(0), 3, 30, 0.0, 0.0, 0.0)
    completed = []
    for step in rows.steps:
        rollout.add(step, torch.zeros(3), torch.zeros(3))
        completed.append(rollout.complete)
    assert completed.index(True) == batch_size // 3
    assert len(rollout.take().action) > 0
    assert not rollout.complete


def test_long_and_short_episodes_are_used_completely():
    """Without a baseline, with episodes of 2 and 15 steps and batches of 15 rows."""
    config = dataclasses.replace(SMALL, baseline=False)
    agent, loop = toy_loop(config, 4, lambda: NumberedSteps(lengths=(2, 15)), cls=Reinforce)
    used: list[RolloutBatch] = []
    learn = agent.learn

    def record_and_learn(batch: RolloutBatch) -> Metrics | None:
        used.append(batch)
        return learn(batch)

    agent.learn = record_and_learn
    for _ in range(400):
        loop.step()
    step_numbers = torch.cat([batch.obs[:, 0, 2] for batch in used]).int()
    counts = torch.bincount(step_numbers, minlength=15)
    assert counts[0] == counts[1]
    assert counts[0] - counts[14] * 2 in range(9)  # every second episode is long; some are not finished yet
