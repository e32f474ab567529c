"""Tests of `Stream` against environments that are stepped one by one, for each kind of vector environment."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from toy_envs import NumberedSteps

from envs.action_log import RESET_STEPS
from envs.atari import make_vector_env
from envs.make import make_stream, resolve
from envs.stream import Episode, Stream, spread_seeds

N = 3
VECTOR_ENVS = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}


class ExpectedRow(NamedTuple):
    """A row of one environment, with the fields of `envs.stream.Row`."""

    obs: Any
    is_first: bool
    is_last: bool
    reward: float
    terminated: bool
    truncated: bool


def naive_rows(
    env: NumberedSteps, seed: int, actions: NDArray[np.int64], *, life_loss: bool, max_steps: int = 1000
) -> Iterator[ExpectedRow]:
    """Yield the first row and the row after each action, computed with `reset` and `step` of one environment."""
    obs, info = env.reset(seed=seed)
    length = 0
    row = ExpectedRow(obs, True, False, 0.0, False, False)
    yield row
    for action in actions:
        if row.is_last:
            obs, info = env.reset()
            length = 0
            row = ExpectedRow(obs, True, False, 0.0, False, False)
        else:
            length += 1
            lives = info["lives"]
            obs, reward, terminated, truncated, info = env.step(int(action))
            truncated = truncated or (length == max_steps and not terminated)
            is_last = terminated or truncated
            loses_life = life_loss and not is_last and info["lives"] < lives
            row = ExpectedRow(obs, False, is_last, reward, terminated or loses_life, truncated)
        yield row


def naive_episodes(rows: list[ExpectedRow], env: int) -> list[Episode]:
    """Return the episodes that end within the rows."""
    episodes = []
    score = 0.0
    for row in rows[1:]:
        if row.is_first:
            score = 0.0
        else:
            score += row.reward
        if row.is_last:
            episodes.append(Episode(env, score, int(row.obs[2])))
    return episodes


@pytest.mark.parametrize("max_steps", [1000, 4, 1])
@pytest.mark.parametrize("life_loss", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("lengths", [(3, 1, 8), (-3, -1, -8), (3, -5, 1, -1, 8)])
def test_rows_equal_those_of_single_environments(kind, lengths, life_loss, max_steps):
    vector_env = VECTOR_ENVS[kind]([lambda: NumberedSteps(lengths)] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
    stream = Stream(vector_env, life_loss=life_loss, max_steps=max_steps)
    actions = np.random.default_rng(0).integers(2, size=(60, N))
    try:
        rows = [stream.reset(7)]
        for action in actions:
            stream.send(action)
            rows.append(stream.recv())
        episodes = stream.pop_episodes()
    finally:
        stream.close()
    for e, seed in enumerate(spread_seeds(7, N)):
        env = NumberedSteps(lengths)
        expected_rows = list(naive_rows(env, int(seed), actions[:, e], life_loss=life_loss, max_steps=max_steps))
        for t, (row, expected) in enumerate(zip(rows, expected_rows, strict=True)):
            for field in ExpectedRow._fields:
                value = getattr(row, field)[e]
                assert np.array_equal(value, value.dtype.type(getattr(expected, field))), (t, e, field)
        expected_episodes = naive_episodes(expected_rows, e)
        mine = [episode for episode in episodes if episode.env == e]
        assert [episode.length for episode in mine] == [episode.length for episode in expected_episodes]
        at_limit = [
            row.is_last and row.obs[2] == max_steps < abs(lengths[int(row.obs[1]) % len(lengths)])
            for row in expected_rows
        ]
        assert sum(episode.is_cut for episode in mine) == sum(at_limit)
        scores = [episode.score for episode in mine]
        assert np.allclose(scores, [episode.score for episode in expected_episodes], atol=1e-4)


class WithoutLives(NumberedSteps):
    """`NumberedSteps` that does not report lives."""

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, {}

    def reset(self, **options: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        obs, _ = super().reset(**options)
        return obs, {}


def test_episodes_of_environments_without_lives_are_cut():
    stream = Stream(SyncVectorEnv([WithoutLives] * N, autoreset_mode=AutoresetMode.NEXT_STEP), max_steps=2)
    stream.reset(7)
    for _ in range(8):
        stream.send(np.zeros(N, np.int64))
        stream.recv()
    episodes = [episode for episode in stream.pop_episodes() if episode.env == 0]
    assert [(episode.length, episode.is_cut) for episode in episodes] == [(2, True), (2, True), (1, False)]


@pytest.mark.parametrize(("game", "max_frames"), [("Breakout", 100_000), ("Breakout", 600), ("Pong", 400)])
def test_atari_rows_equal_those_of_ales_vector_environment(game, max_frames):
    """A second vector environment with the same seeds and actions is read by the rules of `naive_rows`."""
    env_spec = replace(resolve(game), max_frames=max_frames)
    stream = make_stream(env_spec, N, threads=2)
    ale_env = make_vector_env(env_spec, N, 2)
    row = stream.reset(3)
    obs, info = ale_env.reset(seed=spread_seeds(3, N))
    assert row.is_first.all()
    assert not row.is_last.any()
    rng = np.random.default_rng(0)
    num_episodes = 0
    num_lost_lives = 0
    was_last = np.zeros(N, bool)
    lives = info["lives"]
    for _ in range(1200):
        assert row.obs.dtype == np.uint8
        assert np.array_equal(row.obs, obs[:, 0])
        action = rng.integers(env_spec.num_actions, size=N)
        stream.send(action)
        row = stream.recv()
        obs, reward, terminated, truncated, info = ale_env.step(action)
        for e in range(N):
            is_last = terminated[e] or truncated[e]
            loses_life = not was_last[e] and not is_last and info["lives"][e] < lives[e]
            assert row.is_first[e] == was_last[e]
            assert row.is_last[e] == is_last
            assert row.reward[e] == reward[e]
            assert row.terminated[e] == (terminated[e] or loses_life)
            assert row.truncated[e] == truncated[e]
            if was_last[e]:
                assert row.reward[e] == 0
                assert not is_last
            num_episodes += is_last
            num_lost_lives += loses_life
        was_last = terminated | truncated
        lives = info["lives"]
    episodes = stream.pop_episodes()
    assert len(episodes) == num_episodes > 0
    assert max(episode.length for episode in episodes) <= max_frames / 4
    assert num_lost_lives > 0 or game == "Pong"
    stream.close()
    ale_env.close()


@pytest.mark.parametrize("actions", [[0, 6], [-1, 0], [0], [0, 0, 0]])
def test_send_raises_if_actions_are_out_of_range(actions):
    stream = make_stream(resolve("Pong"), 2)
    stream.reset(1)
    with pytest.raises(ValueError, match="expected 2 numbers from 0 to 5"):
        stream.send(np.array(actions))
    stream.send(np.array([0, 5]))  # the stream is still usable
    assert stream.recv().obs.shape == (2, 84, 84)
    stream.close()


@pytest.mark.parametrize("actions", [[[0.0], [np.nan]], [0.0, 0.0], [[0.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_send_raises_if_continuous_actions_have_another_shape_or_are_not_finite(actions):
    stream = make_stream(resolve("Pendulum-v1"), 2)
    stream.reset(1)
    with pytest.raises(ValueError, match=r"expected finite numbers of shape \[2, 1\]"):
        stream.send(np.array(actions, np.float32))
    stream.close()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_stream_with_continuous_actions_is_restored_exactly(vectorization):
    def make() -> Stream:
        return make_stream(resolve("Pendulum-v1"), 2, vectorization=vectorization)

    rng = np.random.default_rng(1)
    saved = make()
    row = saved.reset(3)
    for _ in range(230):  # an episode has 200 steps
        saved.send(rng.normal(0, 1, (2, 1)).astype(np.float32))
        row = saved.recv()
    state = saved.state()
    assert state["log"].dtype == np.float32
    restored = make()
    assert np.array_equal(restored.restore(3, state).obs, row.obs)
    for _ in range(50):
        actions = rng.normal(0, 1, (2, 1)).astype(np.float32)
        saved.send(actions)
        restored.send(actions)
        for mine, theirs in zip(saved.recv(), restored.recv(), strict=True):
            assert np.array_equal(mine, theirs)
    saved.close()
    restored.close()


def test_recv_raises_if_send_was_not_called():
    stream = make_stream(resolve("CartPole-v1"), 2)
    stream.reset(1)
    with pytest.raises(RuntimeError, match="without a send"):
        stream.recv()


def test_streams_do_not_share_metadata():
    first = make_stream(resolve("Pong"), 1)
    second = make_stream(resolve("Breakout"), 1)
    assert first.env.metadata is not second.env.metadata
    first.close()
    second.close()


def test_stream_raises_for_other_autoreset_modes():
    vector_env = SyncVectorEnv([NumberedSteps], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        Stream(vector_env)


def test_spread_seeds_of_neighbouring_seeds_are_disjoint():
    assert not set(spread_seeds(1, 64)) & set(spread_seeds(2, 64))
    assert (spread_seeds(1, 64) == spread_seeds(1, 64)).all()
    assert spread_seeds(2**31 - 1, 4).max() < 2**31


def breakout_stream(independent: bool) -> Stream:
    """Return a stream of Breakout, whose games are short. Its episodes are not independent with sticky actions."""
    stream = make_stream(resolve("Breakout" if independent else "ALE/Breakout-v5"), N, threads=2)
    assert stream.independent_episodes == independent
    stream.reseed_after = 4 * RESET_STEPS if independent else 150
    return stream


def numbered_stream(kind: str, independent: bool) -> Stream:
    """Return a stream of `NumberedSteps`."""
    vector_env = VECTOR_ENVS[kind]([NumberedSteps] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
    reseed_after = 5 * RESET_STEPS if independent else 20
    return Stream(vector_env, independent_episodes=independent, reseed_after=reseed_after)


def max_log_length(kind: str, independent: bool) -> int:
    """Return a bound of the actions in a log of the streams above."""
    if not independent:
        return 800
    return 300 if kind == "ale" else 8


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async", "ale"])
def test_restored_stream_equals_the_saved_one(kind, independent):
    """The state is saved at several rows, also after seeded resets. Rows after the last one are compared as well."""

    def make() -> Stream:
        return breakout_stream(independent) if kind == "ale" else numbered_stream(kind, independent)

    saved = make()
    restored = make()
    rng = np.random.default_rng(1)
    num_skipped = []
    row = saved.reset(5)
    num_rows = 0
    for stop in (0, 1, 130, 577, 900):
        for _ in range(stop - num_rows):
            saved.send(rng.integers(saved.num_actions, size=N))
            row = saved.recv()
        num_rows = stop
        restored.close()
        restored = make()
        restored_row = restored.restore(5, saved.state())
        for name in ("obs", "is_first", "is_last"):
            assert np.array_equal(getattr(row, name), getattr(restored_row, name)), (stop, name)
        assert len(saved.state()["log"]) <= max_log_length(kind, independent)
        num_skipped.append(saved.state()["skipped"].max())
    assert (0 < max(num_skipped) <= 4) if independent else max(num_skipped) == 0
    saved.pop_episodes()
    for _ in range(400):
        actions = rng.integers(saved.num_actions, size=N)
        saved.send(actions)
        restored.send(actions)
        for mine, theirs in zip(saved.recv(), restored.recv(), strict=True):
            assert np.array_equal(mine, theirs)
    assert saved.pop_episodes() == restored.pop_episodes()
    saved.close()
    restored.close()


def test_stream_can_be_restored_at_every_row():
    """Where some episodes begin, others end and others go on."""

    def make() -> Stream:
        makers = [lambda lengths=lengths: NumberedSteps(lengths) for lengths in ((3,), (-4,), (5,))]
        return Stream(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP), independent_episodes=True)

    saved = make()
    saved.reset(5)
    actions = np.zeros(N, np.int64)
    for _ in range(40):
        restored = make()
        restored.restore(5, saved.state())
        saved.send(actions)
        restored.send(actions)
        for field, restored_field in zip(saved.recv(), restored.recv(), strict=True):
            assert np.array_equal(field, restored_field)


def test_restore_repeats_only_the_saved_resets():
    """The restored stream would reset its environments with new seeds after 20 steps, the saved one never."""
    saved = numbered_stream("sync", independent=False)
    restored = numbered_stream("sync", independent=False)
    saved.reseed_after = 10**9
    row = saved.reset(5)
    for _ in range(100):
        saved.send(np.zeros(N, np.int64))
        row = saved.recv()
    assert np.array_equal(restored.restore(5, saved.state()).obs, row.obs)


def test_restore_accepts_states_without_skipped_resets():
    """Old checkpoints hold the actions of all episodes since the seeded reset, also if episodes are independent."""

    def make(independent: bool) -> Stream:
        env = SyncVectorEnv([NumberedSteps] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
        return Stream(env, independent_episodes=independent)

    old = make(False)
    new = make(True)
    newer = make(True)
    row = old.reset(5)
    for _ in range(40):
        old.send(np.zeros(N, np.int64))
        row = old.recv()
    state = {name: array for name, array in old.state().items() if name != "skipped"}
    assert np.array_equal(new.restore(5, state).obs, row.obs)
    assert new.state()["skipped"].min() > 1
    assert np.array_equal(newer.restore(5, new.state()).obs, row.obs)


def record_observations(flicker: float = 0.0, masked: tuple[int, ...] = ()) -> NDArray[np.float32]:
    """Return 500 observations of four environments, [500, 4, 3], beginning with `reset(5)`."""
    env = SyncVectorEnv([NumberedSteps] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
    stream = Stream(env, flicker=flicker, masked=masked)
    observations = [stream.reset(5).obs]
    for _ in range(499):
        stream.send(np.zeros(4, np.int64))
        observations.append(stream.recv().obs)
    return np.stack(observations)


def test_flicker_blanks_the_given_share_of_observations_and_is_reproducible():
    flickering = record_observations(flicker=0.3)
    original = record_observations()
    assert np.array_equal(flickering, record_observations(flicker=0.3))
    is_blank = (flickering == 0).all(2)
    assert is_blank.mean() == pytest.approx(0.3, abs=0.03)
    assert len(np.unique(is_blank, axis=0)) == 16  # environments are blanked independently of each other
    assert np.array_equal(flickering[~is_blank], original[~is_blank])


def test_masked_entries_are_zero_and_other_entries_are_unchanged():
    masked = record_observations(masked=(1,))
    original = record_observations()
    assert not masked[..., 1].any()
    assert np.array_equal(masked[..., [0, 2]], original[..., [0, 2]])
    assert original[..., 1].any()
