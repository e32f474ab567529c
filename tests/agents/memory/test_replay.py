"""Tests of the replay memory: every sample is compared with a naive list of episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import RandomRows
from torch import Tensor

from agents.core.settings import ConfigError
from agents.core.types import EnvSpaces, StepResult
from agents.memory.replay import Replay, TransitionBatch
from agents.memory.sequences import SequenceSampler

CPU = torch.device("cpu")
GAMMA = 0.9

ObsKey = tuple[int, int, int]
"""The numbers in an observation of `RandomRows`: environment, episode and step + 1."""


def make_replay(
    num_envs: int,
    num_rows: int,
    stack: int,
    n_step: int,
    seed: int = 0,
    priority_alpha: float = 0.0,
    device: torch.device = CPU,
) -> Replay:
    """Return an empty replay memory for the observations of `RandomRows`."""
    return Replay(
        EnvSpaces((3,), torch.float32, 4, num_envs),
        num_rows * num_envs,
        stack=stack,
        n_step=n_step,
        gamma=GAMMA,
        device=device,
        generator=torch.Generator().manual_seed(seed),
        priority_alpha=priority_alpha,
    )


def obs_key(obs: Tensor) -> ObsKey:
    """Return the numbers in an observation, [3]."""
    env, episode, position = (int(x) for x in obs)
    return env, episode, position


def valid_starts(data: RandomRows, total: int, num_rows: int, stack: int, n_step: int) -> set[ObsKey]:
    """Return the observations that can be sampled after `total` rows.

    A valid start is not the last of its episode, and the ring holds its stack and the `n_step` rows after it.
    """
    oldest = max(0, total - num_rows)
    first = oldest + stack - 1 if oldest else 0
    starts = set()
    for step in data.steps[first : max(first, total - n_step)]:
        for obs in step.obs[~step.is_last]:
            starts.add(obs_key(obs))
    return starts


def assert_equals_naive_transition(
    batch: TransitionBatch, i: int, data: RandomRows, stack: int, n_step: int, gamma: float = GAMMA
) -> None:
    """Assert that transition i of a batch equals the one computed from the naive episodes."""
    env, number, position = obs_key(batch.obs[i, -1])
    episode = data.episodes[env, number]
    t = position - 1
    ret, discount, bootstrap_step = episode.n_step(t, n_step, gamma)
    assert np.array_equal(batch.obs[i], episode.stack(t, stack))
    assert np.array_equal(batch.next_obs[i], episode.stack(bootstrap_step, stack))
    assert batch.action[i] == episode.action[t]
    assert float(batch.ret[i]) == pytest.approx(ret, abs=1e-5)
    assert float(batch.discount[i]) == pytest.approx(discount, abs=1e-6)


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
def test_samples_equal_naive_transitions(seed, num_envs, stack, n_step, spare_rows, rows, ends):
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
    batch = replay.sample(max(2000, 40 * len(expected)))
    sampled = {obs_key(obs) for obs in batch.obs[:, -1]}
    assert sampled == expected  # each start is missing with probability e^-40 only
    for i in range(2000):
        assert_equals_naive_transition(batch, i, data, stack, n_step)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 4),
    largest=st.integers(1, 8),
    changes=st.lists(st.tuples(st.integers(1, 8), st.floats(0.5, 1.0)), min_size=1, max_size=6),
    priority_alpha=st.sampled_from([0.0, 0.6]),
    ends=st.sampled_from([(0.0, 0.0, 0.0), (0.1, 0.1, 0.1), (0.5, 0.3, 0.2)]),
)
def test_samples_equal_naive_transitions_while_n_and_gamma_change(
    seed, num_envs, largest, changes, priority_alpha, ends
):
    """Rows are added between the changes, and the cells that can be sampled stay those of the largest n."""
    data = RandomRows.make(np.random.default_rng(seed), num_envs, 20 * len(changes), *ends)
    num_rows = 2 + largest + 25
    replay = make_replay(num_envs, num_rows, 2, largest, priority_alpha=priority_alpha)
    for number, (n, gamma) in enumerate(changes):
        n = min(n, largest)
        replay.set_return(n, gamma)
        for step in data.steps[20 * number : 20 * number + 20]:
            replay.add(step)
        expected = valid_starts(data, 20 * number + 20, num_rows, 2, largest)
        assert replay.num_starts == len(expected)
        if not expected:
            continue
        batch = replay.sample(300, beta=0.5)
        assert {obs_key(obs) for obs in batch.obs[:, -1]} <= expected
        for i in range(300):
            assert_equals_naive_transition(batch, i, data, 2, n, gamma)
        replay.set_priorities(batch.cell, torch.from_numpy(np.random.default_rng(number).normal(size=300)))


def test_a_longer_return_than_that_of_the_constructor_is_refused():
    with pytest.raises(ValueError, match="n_step is 4; the memory was made for at most 3"):
        make_replay(1, 20, 1, 3).set_return(4, 0.9)


def test_continuous_actions_are_stored_exactly():
    """Each action is replaced by a vector that names its number."""
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32))
    data = RandomRows.make(np.random.default_rng(1), 3, 40, 0.1, 0.1, 0.1)
    replay = Replay(
        EnvSpaces((3,), torch.float32, 0, 3, action_dim=2),
        3 * 25,
        stack=1,
        n_step=2,
        gamma=GAMMA,
        device=CPU,
        generator=torch.Generator().manual_seed(0),
    )
    for step in data.steps:
        replay.add(step._replace(action=vectors[step.action]))
    batch = replay.sample(200)
    sequences = SequenceSampler(replay, 5).sample(50)
    for obs, action in [
        *zip(batch.obs[:, -1], batch.action, strict=True),
        *zip(sequences.obs[:, :, -1].flatten(0, 1), sequences.action.flatten(0, 1), strict=True),
    ]:
        env, number, position = obs_key(obs)
        actions = data.episodes[env, number].action
        if position - 1 < len(actions):  # the action of a last row has no effect
            assert torch.equal(action, vectors[actions[position - 1]])


def test_uniform_sampling_draws_all_starts_equally_often():
    data = RandomRows.make(np.random.default_rng(0), 3, 40, 0.2, 0.1, 0.1)
    replay = make_replay(3, 20, 2, 2)
    for step in data.steps:
        replay.add(step)
    counts = np.unique(replay.sample(200_000).cell.numpy(), return_counts=True)[1]
    expected = 200_000 / replay.num_starts
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 2 * replay.num_starts  # mean: num_starts - 1; standard deviation: about sqrt(2 num_starts)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_envs=st.integers(1, 4),
    stack=st.integers(1, 4),
    n_step=st.integers(1, 4),
    spare_rows=st.integers(0, 10),
    rows=st.integers(1, 60),
)
def test_priorities_and_weights_equal_naive_table(seed, num_envs, stack, n_step, spare_rows, rows):
    """The naive table maps each valid start to p^alpha. New starts get the largest value so far."""
    rng = np.random.default_rng(seed)
    data = RandomRows.make(rng, num_envs, rows, 0.1, 0.1, 0.1)
    num_rows = stack + n_step + spare_rows
    alpha = 0.7
    beta = 0.5
    replay = make_replay(num_envs, num_rows, stack, n_step, priority_alpha=alpha)
    table: dict[ObsKey, float] = {}
    largest = 1.0
    for t, step in enumerate(data.steps):
        replay.add(step)
        valid = valid_starts(data, t + 1, num_rows, stack, n_step)
        table = {key: table.get(key, largest) for key in valid}
        if not table or rng.random() < 0.5:
            continue
        batch = replay.sample(16, beta=beta)
        keys = [obs_key(obs) for obs in batch.obs[:, -1]]
        total = sum(table.values())
        weights = np.array([(len(table) * table[key] / total) ** -beta for key in keys])
        np.testing.assert_allclose(batch.weight, weights / weights.max(), rtol=1e-5)
        errors = {key: float(rng.normal()) for key in keys}
        replay.set_priorities(batch.cell, torch.tensor([errors[key] for key in keys], dtype=torch.float64))
        for key, error in errors.items():
            table[key] = (abs(error) + 1e-6) ** alpha
        largest = max(largest, *table.values())
    assert replay.priorities is not None
    priorities = np.sort(replay.priorities.values.numpy())
    np.testing.assert_allclose(priorities[priorities > 0], np.sort(list(table.values())))


def assert_equal_samples(replay: Replay, other: Replay) -> None:
    """Assert that two replay memories draw the same transitions."""
    for field, other_field in zip(replay.sample(500), other.sample(500), strict=True):
        assert torch.equal(field, other_field)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("rows_before", [0, 1, 7, 30, 60])
def test_restored_replay_draws_same_samples(rows_before, alpha):
    data = RandomRows.make(np.random.default_rng(1), 2, 90, 0.1, 0.1, 0.1)
    replay = make_replay(2, 25, 3, 3, seed=5, priority_alpha=alpha)
    restored = make_replay(2, 25, 3, 3, seed=5, priority_alpha=alpha)
    for step in data.steps[:rows_before]:
        replay.add(step)
    if replay.num_starts:
        batch = replay.sample(8)
        replay.set_priorities(batch.cell, batch.ret)
        restored.generator.set_state(replay.generator.get_state())
    restored.load_state_dict(replay.state_dict())
    if replay.num_starts:
        assert_equal_samples(replay, restored)
    for step in data.steps[rows_before:]:
        replay.add(step)
        restored.add(step)
    assert_equal_samples(replay, restored)


def test_load_state_dict_raises_if_capacity_differs():
    data = RandomRows.make(np.random.default_rng(1), 2, 30, 0.1, 0.1, 0.1)
    replay = make_replay(2, 25, 3, 3)
    for step in data.steps:
        replay.add(step)
    with pytest.raises(ValueError, match="a memory with a capacity of 25 rows"):
        make_replay(2, 12, 3, 3).load_state_dict(replay.state_dict())


def test_replay_raises_if_capacity_is_too_small_for_one_transition():
    with pytest.raises(ConfigError, match="replay_size is 12; with 4 environments it must be at least 24"):
        make_replay(4, 3, 4, 2)


def test_prioritised_replay_raises_on_mps_which_has_no_float64():
    mps = torch.device("mps")
    assert make_replay(2, 10, 1, 1, device=mps).priorities is None
    with pytest.raises(ConfigError, match=r"priority_alpha is 0.5; mps has no float64, so it must be 0, or device cpu"):
        make_replay(2, 10, 1, 1, device=mps, priority_alpha=0.5)


@pytest.mark.parametrize(("num_actions", "action_bytes"), [(256, 1), (257, 4), (2**31, 4), (2**31 + 1, 8)])
def test_actions_are_stored_in_the_smallest_type(num_actions: int, action_bytes: int):
    one = Replay.bytes_needed(EnvSpaces((3,), torch.float32, 2, 1), 1000)
    assert Replay.bytes_needed(EnvSpaces((3,), torch.float32, num_actions, 1), 1000) == one + 1000 * (action_bytes - 1)


def test_million_atari_frames_fit_in_seven_gigabytes():
    spaces = EnvSpaces((84, 84), torch.uint8, 6, 8)
    replay = Replay(spaces, 1_000_000, stack=4, n_step=3, gamma=0.99, device=CPU, generator=torch.Generator())
    false = torch.zeros(8, dtype=torch.bool)
    step = StepResult(
        obs=torch.zeros(8, 84, 84, dtype=torch.uint8),
        is_first=~false,
        is_last=false,
        action=torch.zeros(8, dtype=torch.int64),
        reward=torch.zeros(8),
        terminated=false,
        truncated=false,
        num_active=8,
    )
    replay.add(step)
    assert replay.nbytes == Replay.bytes_needed(spaces, 1_000_000)
    assert 7.0e9 < replay.nbytes <= 7.3e9
