"""The replay memory against a naive list of episodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import RandomRows

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import Replay

CPU = torch.device("cpu")
VECTOR = torch.float32


def make_replay(
    num_envs: int,
    num_rows: int,
    stack: int,
    n_step: int,
    gamma: float = 0.9,
    seed: int = 0,
    priority_alpha: float = 0.0,
) -> Replay:
    return Replay(
        EnvSpaces((3,), VECTOR, 4, num_envs),
        num_rows * num_envs,
        stack=stack,
        n_step=n_step,
        gamma=gamma,
        device=CPU,
        generator=torch.Generator().manual_seed(seed),
        priority_alpha=priority_alpha,
    )


def valid_starts(data: RandomRows, total: int, num_rows: int, stack: int, n_step: int) -> set[tuple[int, int, int]]:
    """Every (env, episode, step + 1) that may be sampled: not dead, its stack and its n steps still in the ring."""
    oldest = max(0, total - num_rows)
    first = oldest + stack - 1 if oldest else 0
    return {
        tuple(int(x) for x in step.obs[e])
        for step in data.steps[first : max(first, total - n_step)]
        for e in range(len(step.is_last))
        if not step.is_last[e]
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 5),
    stack=st.integers(1, 5),
    n_step=st.integers(1, 6),
    spare_rows=st.integers(0, 40),
    rows=st.integers(1, 130),
    ends=st.sampled_from(
        [(0.0, 0.0, 0.0), (0.1, 0.0, 0.1), (0.0, 0.15, 0.1), (0.1, 0.1, 0.0), (0.5, 0.3, 0.2), (1.0, 0.0, 0.0)]
    ),
)
def test_every_sample_is_the_naive_transition(seed, num_envs, stack, n_step, spare_rows, rows, ends):
    data = RandomRows.make(np.random.default_rng(seed), num_envs, rows, *ends)
    num_rows = stack + n_step + spare_rows
    replay = make_replay(num_envs, num_rows, stack, n_step)
    for step in data.steps:
        replay.add(step)
    expected = valid_starts(data, rows, num_rows, stack, n_step)
    assert replay.num_starts == len(expected)
    if not expected:
        with pytest.raises(ValueError, match="nothing to sample"):
            replay.sample(1)
        return
    seen = set()
    batch = replay.sample(max(2000, 40 * len(expected)))
    for i in range(len(batch.action)):
        env, number, position = (int(x) for x in batch.obs[i, -1])
        seen.add((env, number, position))
        if i >= 2000:
            continue
        episode, t = data.episodes[env, number], position - 1
        ret, discount, end = episode.n_step(t, n_step, 0.9)
        assert np.array_equal(batch.obs[i], episode.stack(t, stack))
        assert np.array_equal(batch.next_obs[i], episode.stack(end, stack))
        assert batch.action[i] == episode.action[t]
        assert float(batch.ret[i]) == pytest.approx(ret, abs=1e-5)
        assert float(batch.discount[i]) == pytest.approx(discount, abs=1e-6)
    assert seen == expected  # nothing else, and (but for a chance of e^-40) nothing missing


def test_sampling_is_uniform():
    data = RandomRows.make(np.random.default_rng(0), 3, 40, 0.2, 0.1, 0.1)
    replay = make_replay(3, 20, 2, 2)
    for step in data.steps:
        replay.add(step)
    counts = np.unique(replay.sample(200_000).cell.numpy(), return_counts=True)[1]
    expected = 200_000 / replay.num_starts
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 2 * replay.num_starts  # its mean is num_starts - 1, its deviation about sqrt(2 num_starts)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 4),
    stack=st.integers(1, 4),
    n_step=st.integers(1, 4),
    spare_rows=st.integers(0, 10),
    rows=st.integers(1, 60),
)
def test_priorities_are_those_of_a_naive_table(seed, num_envs, stack, n_step, spare_rows, rows):
    """A dict from transition to priority: new ones get the largest so far, sampled ones what their error says."""
    rng = np.random.default_rng(seed)
    data = RandomRows.make(rng, num_envs, rows, 0.1, 0.1, 0.1)
    num_rows, alpha, beta = stack + n_step + spare_rows, 0.7, 0.5
    replay = make_replay(num_envs, num_rows, stack, n_step, priority_alpha=alpha)
    table, largest = {}, 1.0
    for t, step in enumerate(data.steps):
        replay.add(step)
        valid = valid_starts(data, t + 1, num_rows, stack, n_step)
        table = {key: table.get(key, largest) for key in valid}
        if not table or rng.random() < 0.5:
            continue
        batch = replay.sample(16, beta=beta)
        keys = [tuple(int(x) for x in obs[-1]) for obs in batch.obs]
        weights = np.array([(len(table) * table[key] / sum(table.values())) ** -beta for key in keys])
        np.testing.assert_allclose(batch.weight, weights / weights.max(), rtol=1e-5)
        errors = {key: float(rng.normal()) for key in keys}
        replay.set_priorities(batch.cell, torch.tensor([errors[key] for key in keys], dtype=torch.float64))
        table |= {key: (abs(e) + 1e-6) ** alpha for key, e in errors.items()}
        largest = max(largest, *table.values())
    found = np.sort(replay.priorities.values.numpy())
    np.testing.assert_allclose(found[found > 0], np.sort(list(table.values())))


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_state_dict_restores_every_sample(alpha):
    data = RandomRows.make(np.random.default_rng(1), 2, 90, 0.1, 0.1, 0.1)
    for rows in (0, 1, 7, 30, 60):
        one, other = (make_replay(2, 25, 3, 3, seed=5, priority_alpha=alpha) for _ in range(2))
        for step in data.steps[:rows]:
            one.add(step)
        if one.num_starts:
            batch = one.sample(8)
            one.set_priorities(batch.cell, batch.ret)
            other.generator.set_state(one.generator.get_state())
        other.load_state_dict(one.state_dict())
        for step in data.steps[rows:]:
            one.add(step)
            other.add(step)
        for mine, theirs in zip(one.sample(500), other.sample(500), strict=True):
            assert torch.equal(mine, theirs)


def test_a_replay_of_another_shape_is_refused():
    data = RandomRows.make(np.random.default_rng(1), 2, 30, 0.1, 0.1, 0.1)
    one = make_replay(2, 25, 3, 3)
    for step in data.steps:
        one.add(step)
    with pytest.raises(ValueError, match="a memory with a capacity of 25"):
        make_replay(2, 12, 3, 3).load_state_dict(one.state_dict())


def test_a_capacity_too_small_for_one_transition_is_refused():
    with pytest.raises(ConfigError, match="replay_size is 12; with 4 environments it must be at least 24"):
        make_replay(4, 3, 4, 2)


def test_priorities_need_float64_which_mps_has_not():
    options = {"stack": 1, "n_step": 1, "gamma": 0.9, "device": torch.device("mps"), "generator": torch.Generator()}
    rows = EnvSpaces((3,), VECTOR, 4, 2)
    assert Replay(rows, 20, **options).priorities is None
    with pytest.raises(ConfigError, match=r"priority_alpha is 0.5; mps has no float64, so it must be 0, or device cpu"):
        Replay(rows, 20, **options, priority_alpha=0.5)


def test_a_million_atari_frames_fit_in_seven_gigabytes():
    rows = EnvSpaces((84, 84), torch.uint8, 6, 8)
    replay = Replay(rows, 1_000_000, stack=4, n_step=3, gamma=0.99, device=CPU, generator=torch.Generator())
    n = torch.zeros(8, dtype=torch.bool)
    obs = torch.zeros(8, 84, 84, dtype=torch.uint8)
    replay.add(StepResult(obs, ~n, n, n.long(), n.float(), n, n, 8))
    assert replay.nbytes == Replay.bytes_needed(rows, 1_000_000)
    assert 7.0e9 < replay.nbytes <= 7.3e9
