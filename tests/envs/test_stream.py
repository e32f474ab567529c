"""The stream of rows against environments stepped one by one, over every kind of vector env and every kind of end."""

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from toy_envs import NumberedSteps

from envs.action_log import RESET_STEPS
from envs.atari import make_vector_env
from envs.make import make_stream, resolve
from envs.stream import Stream, spread_seeds

N = 3


def naive_rows(env, seed, actions, *, life_loss):
    """The rows of one environment by hand: (obs, first, dead, reward, terminated, truncated) for each action and a last."""
    obs, info = env.reset(seed=seed)
    rows, first, is_last, earned = [], True, False, (0.0, False, False)
    for action in [*actions, None]:
        rows.append((obs, first, is_last, *earned))
        if action is None:
            return rows
        if is_last:
            obs, info = env.reset()
            first, is_last, earned = True, False, (0.0, False, False)
            continue
        lives = info["lives"]
        obs, reward, terminated, truncated, info = env.step(action)
        first, is_last = False, terminated or truncated
        lost = life_loss and not is_last and info["lives"] < lives
        earned = (reward, terminated or lost, truncated)
    raise AssertionError


@pytest.mark.parametrize("life_loss", [False, True])
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("lengths", [(3, 1, 8), (-3, -1, -8), (3, -5, 1, -1, 8)])
def test_rows_equal_environments_stepped_by_hand(kind, lengths, life_loss):
    vector = kind([lambda: NumberedSteps(lengths)] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
    stream = Stream(vector, life_loss=life_loss)
    actions = np.random.default_rng(0).integers(2, size=(60, N))
    try:
        rows = [stream.reset(7)]
        for action in actions:
            stream.send(action)
            rows.append(stream.recv())
        games = stream.pop_episodes()
    finally:
        stream.close()
    for e, seed in enumerate(spread_seeds(7, N)):
        expected = naive_rows(NumberedSteps(lengths), int(seed), actions[:, e], life_loss=life_loss)
        for t, (row, want) in enumerate(zip(rows, expected, strict=True)):
            for mine, theirs in zip(row, want, strict=True):
                assert np.array_equal(mine[e], np.float32(theirs) if mine.dtype == np.float32 else theirs), (t, e)
        scores, score = [], 0.0
        for row in expected[1:]:
            score = 0.0 if row[1] else score + row[3]
            if row[2]:
                scores.append((score, int(row[0][2])))
        mine = [(g.score, g.length) for g in games if g.env == e]
        assert [length for _, length in mine] == [length for _, length in scores]
        assert np.allclose([s for s, _ in mine], [s for s, _ in scores], atol=1e-4)


@pytest.mark.parametrize(("game", "max_frames"), [("Breakout", 100_000), ("Breakout", 600), ("Pong", 400)])
def test_atari_rows_equal_what_ale_says(game, max_frames):
    """Two ALE vector envs, same seeds and actions; the second one's answers are read by the naive rules above."""
    from dataclasses import replace

    env_spec = replace(resolve(game), max_frames=max_frames)
    stream = make_stream(env_spec, N, threads=2)
    raw = make_vector_env(env_spec, N, 2)
    row = stream.reset(3)
    obs, info = raw.reset(seed=spread_seeds(3, N))
    assert row.is_first.all()
    assert not row.is_last.any()
    rng = np.random.default_rng(0)
    ends = lost = 0
    over, lives = np.zeros(N, bool), info["lives"]
    for _ in range(1200):
        assert row.obs.dtype == np.uint8
        assert np.array_equal(row.obs, obs[:, 0])
        action = rng.integers(env_spec.num_actions, size=N)
        stream.send(action)
        row = stream.recv()
        obs, reward, terminated, truncated, info = raw.step(action)
        for e in range(N):
            done = terminated[e] or truncated[e]
            life = not over[e] and not done and info["lives"][e] < lives[e]
            assert row.is_first[e] == over[e]
            assert row.is_last[e] == done
            assert row.reward[e] == reward[e]
            assert row.terminated[e] == (terminated[e] or life)
            assert row.truncated[e] == truncated[e]
            if over[e]:
                assert row.reward[e] == 0
                assert not done
            ends, lost = ends + done, lost + life
        over, lives = terminated | truncated, info["lives"]
    games = stream.pop_episodes()
    assert len(games) == ends > 0
    assert max(g.length for g in games) <= max_frames / 4
    assert lost > 0 or game == "Pong"
    stream.close()
    raw.close()


def test_actions_out_of_range_are_refused_before_they_reach_the_emulator():
    stream = make_stream(resolve("Pong"), 2)
    stream.reset(1)
    for bad in ([0, 6], [-1, 0], [0], [0, 0, 0]):
        with pytest.raises(ValueError, match="expected 2 numbers from 0 to 5"):
            stream.send(np.array(bad))
    stream.send(np.array([0, 5]))
    assert stream.recv().obs.shape == (2, 84, 84)
    stream.close()


def test_recv_without_send_is_an_error():
    stream = make_stream(resolve("CartPole-v1"), 2)
    stream.reset(1)
    with pytest.raises(RuntimeError, match="without a send"):
        stream.recv()


def test_a_second_atari_stream_does_not_change_the_first():
    first = make_stream(resolve("Pong"), 1)
    second = make_stream(resolve("Breakout"), 1)
    assert first.env.metadata is not second.env.metadata
    first.close()
    second.close()


def test_other_autoreset_modes_are_refused():
    vector = SyncVectorEnv([NumberedSteps], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        Stream(vector)


def test_seeds_of_two_runs_have_nothing_in_common():
    assert not set(spread_seeds(1, 64)) & set(spread_seeds(2, 64))
    assert (spread_seeds(1, 64) == spread_seeds(1, 64)).all()
    assert spread_seeds(2**31 - 1, 4).max() < 2**31


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async", "ale"])
def test_the_way_to_a_row_leads_back_to_it(kind, independent):
    """After several seeded resets: a fresh stream that goes the way again is at the same row and stays there."""

    def make():
        if kind == "ale":
            stream = make_stream(resolve("Breakout" if independent else "ALE/Breakout-v5"), N, threads=2)  # short games
            assert stream.independent_episodes == independent  # with sticky actions they are not
            stream.reseed_after = 4 * RESET_STEPS if independent else 150
            return stream
        vector = {"sync": SyncVectorEnv, "async": AsyncVectorEnv}[kind]
        env = vector([NumberedSteps] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
        return Stream(env, independent_episodes=independent, reseed_after=5 * RESET_STEPS if independent else 20)

    one, rng = make(), np.random.default_rng(1)
    skipped = []
    row, rows = one.reset(5), 0
    for stop in (0, 1, 130, 577, 900):
        for _ in range(stop - rows):
            one.send(rng.integers(one.num_actions, size=N))
            row = one.recv()
        rows = stop
        other = make()
        again = other.restore(5, one.state())
        for name in ("obs", "is_first", "is_last"):
            assert np.array_equal(getattr(row, name), getattr(again, name)), (stop, name)
        assert len(one.state()["log"]) <= (800 if not independent else 300 if kind == "ale" else 8)
        skipped.append(one.state()["skipped"].max())
    assert (0 < max(skipped) <= 4) if independent else max(skipped) == 0
    one.pop_episodes()
    for _ in range(400):
        actions = rng.integers(one.num_actions, size=N)
        one.send(actions)
        other.send(actions)
        for mine, theirs in zip(one.recv(), other.recv(), strict=True):
            assert np.array_equal(mine, theirs)
    assert one.pop_episodes() == other.pop_episodes()
    one.close()
    other.close()


def test_a_way_that_skips_nothing_is_known_too():
    """The states of before episodes were skipped: the next one made after them skips, and leads to the same rows."""

    def make(independent):
        env = SyncVectorEnv([NumberedSteps] * N, autoreset_mode=AutoresetMode.NEXT_STEP)
        return Stream(env, independent_episodes=independent)

    old, new, newer = make(False), make(True), make(True)
    row = old.reset(5)
    for _ in range(40):
        old.send(np.zeros(N, np.int64))
        row = old.recv()
    state = {name: array for name, array in old.state().items() if name != "skipped"}
    assert np.array_equal(new.restore(5, state).obs, row.obs)
    assert new.state()["skipped"].min() > 1
    assert np.array_equal(newer.restore(5, new.state()).obs, row.obs)


def walk(flicker=0.0, masked=()):
    """500 rows of four environments, the first one after `reset(5)`."""
    env = SyncVectorEnv([NumberedSteps] * 4, autoreset_mode=AutoresetMode.NEXT_STEP)
    stream = Stream(env, flicker=flicker, masked=masked)
    frames = [stream.reset(5).obs]
    for _ in range(499):
        stream.send(np.zeros(4, np.int64))
        frames.append(stream.recv().obs)
    return np.stack(frames)


def test_observations_flicker_as_often_as_they_should_and_the_same_again():
    seen, again, clear = walk(flicker=0.3), walk(flicker=0.3), walk()
    assert np.array_equal(seen, again)
    blank = (seen == 0).all(2)
    assert blank.mean() == pytest.approx(0.3, abs=0.03)
    assert len(np.unique(blank, axis=0)) == 16  # each environment by itself
    assert np.array_equal(seen[~blank], clear[~blank])


def test_masked_entries_are_never_seen():
    seen, clear = walk(masked=(1,)), walk()
    assert not seen[..., 1].any()
    assert np.array_equal(seen[..., [0, 2]], clear[..., [0, 2]])
    assert clear[..., 1].any()
