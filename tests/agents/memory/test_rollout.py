"""The rows of a policy gradient: each is used once, with the advantage that its episode gives it."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import CPU, toy_loop
from oracles import RandomRows
from toy_envs import NumberedSteps

from agents.core.types import EnvSpaces
from agents.reinforce import Reinforce, ReinforceConfig

SMALL = ReinforceConfig(hidden=8, batch_size=60, minibatch_size=20, gamma=0.9, trace_decay=0.8)
VECTOR = EnvSpaces((3,), torch.float32, 4, 3)


def batches_of(config, rows, rng):
    """The batches that an agent takes from these rows, each with the number of its newest row; and pi, V of every row."""
    agent = Reinforce(config, VECTOR, seed=1, device=CPU)
    taken, said = [], {}
    agent.learn = lambda batch: taken.append((batch, agent.rollout.memory.total_rows - 1))  # type: ignore[method-assign, assignment]
    for step in rows.steps:
        log_prob, value = torch.from_numpy(rng.normal(size=(2, 3)).astype(np.float32))
        if not config.baseline:
            value = torch.zeros(3)
        for e in range(3):
            said[tuple(step.obs[e].int().tolist())] = (float(log_prob[e]), float(value[e]))
        agent.acting_records.append((log_prob, value))
        agent.observe(step)
    return taken, said


def naive_advantage(rows, said, key, config, newest, row_of):
    """r + gamma V' - V, and lambda gamma times that of the next row, until the end of the return or of the batch."""
    env, number, t = key
    episode = rows.episodes[env, number]
    decay = config.trace_decay if config.baseline else 1.0
    total, factor = 0.0, 1.0
    for i in range(t - 1, len(episode.action)):
        if row_of[env, number, i + 1] >= newest:
            break
        scored = config.points_end_returns and episode.reward[i] != 0
        over = episode.terminated[i] or scored
        after = 0.0 if over else said[env, number, i + 2][1]
        total += factor * (episode.reward[i] + config.gamma * after - said[env, number, i + 1][1])
        factor *= config.gamma * decay
        if over or episode.truncated[i]:
            break
    return total


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    baseline=st.booleans(),
    points=st.booleans(),
    games=st.sampled_from([0, 4]),
    p_end=st.sampled_from([0.0, 0.05, 0.4]),
)
def test_every_row_once_with_its_own_advantage(seed, baseline, points, games, p_end):
    rng = np.random.default_rng(seed)
    rows = RandomRows.make(rng, 3, 150, p_end, p_end, p_end)
    if points:  # most rewards are 0, as in Pong
        for step in rows.steps:
            keep = torch.from_numpy(rng.random(3) < 0.1)
            step.reward.mul_(keep)
            for e in range(3):
                env, number, t = step.obs[e].int().tolist()
                if not step.is_last[e]:
                    rows.episodes[env, number].reward[t - 1] *= float(keep[e])
    row_of = {tuple(s.obs[e].int().tolist()): t for t, s in enumerate(rows.steps) for e in range(3)}
    config = dataclasses.replace(SMALL, baseline=baseline, points_end_returns=points, batch_games=games)
    taken, said = batches_of(config, rows, rng)
    used = []
    for batch, newest in taken:
        for i, frame in enumerate(batch.obs[:, -1].int().tolist()):
            key = tuple(frame)
            env, number, t = key
            used.append(key)
            episode = rows.episodes[env, number]
            assert t <= len(episode.action)  # not the dead row
            assert int(batch.action[i]) == episode.action[t - 1]
            assert float(batch.log_prob[i]) == said[key][0]
            advantage = naive_advantage(rows, said, key, config, newest, row_of)
            assert float(batch.advantage[i]) == pytest.approx(advantage, abs=1e-4)
            assert float(batch.ret[i]) == pytest.approx(advantage + said[key][1], abs=1e-4)
    assert len(used) == len(set(used))
    if baseline:  # all rows before the last batch's newest one
        assert set(used) == {k for k, t in row_of.items() if taken and t < taken[-1][1] and k[2] <= _length(rows, k)}
    if not baseline and p_end == 0.4:  # short episodes: nothing that is over waits for longer than one batch
        over = {k for k, t in row_of.items() if len(taken) > 1 and t < taken[-2][1] - 20 and k[2] <= _length(rows, k)}
        assert over <= set(used)


def _length(rows, key):
    return len(rows.episodes[key[0], key[1]].action)


def test_returns_are_not_left_out_for_being_long():
    """Games of 2 and of 15 steps, batches of 15 rows, no baseline: both are used as a whole."""
    config = dataclasses.replace(SMALL, baseline=False)
    agent, loop = toy_loop(config, 4, lambda: NumberedSteps(lengths=(2, 15)), cls=Reinforce)
    used = []
    learn = agent.learn
    agent.learn = lambda batch: used.append(batch) or learn(batch)  # type: ignore[method-assign, func-returns-value]
    for _ in range(400):
        loop.step()
    steps = torch.cat([batch.obs[:, 0, 2] for batch in used]).int()
    counts = torch.bincount(steps, minlength=15)
    assert counts[0] == counts[1]
    assert counts[0] - counts[14] * 2 in range(9)  # of two games one is long; some are not over yet
