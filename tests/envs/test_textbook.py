"""Tests of the textbook environments against the values in the textbooks."""

from collections import deque

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from envs.errors import EnvError
from envs.make import make_stream, resolve
from envs.textbook import RandomWalk, Recall, WindyGridworld


def test_shortest_path_of_windy_gridworld_has_15_steps():
    """A breadth-first search over `step` computes the distances of all cells from the start."""
    env = WindyGridworld()
    distances: dict[tuple[int, int], int] = {WindyGridworld.START: 0}
    queue = deque(distances)
    while queue:
        position = queue.popleft()
        for action in range(4):
            env.position = position
            _, reward, terminated, _, _ = env.step(action)
            assert (reward, terminated) == (-1.0, env.position == (3, 7))
            if env.position not in distances:
                distances[env.position] = distances[position] + 1
                queue.append(env.position)
    assert distances[3, 7] == 15


@pytest.mark.parametrize(
    ("world", "args", "message"),
    [
        (WindyGridworld, {"slip": 2}, "slip is 2; it must be a number from 0 to 1"),
        (RandomWalk, {"length": 0}, "length is 0; it must be a whole number from 1 to 10000"),
        (RandomWalk, {"choice": "no"}, "choice is 'no'; it must be true or false"),
        (Recall, {"length": 0}, "length is 0; it must be a whole number from 1 to 10000"),
        (Recall, {"render_mode": "human"}, "render_mode is 'human'; it must be rgb_array or None"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(world, args, message):
    with pytest.raises(EnvError) as refused:
        world(**args)
    assert str(refused.value) == message


def test_slip_replaces_the_action_by_a_uniformly_random_one():
    env = WindyGridworld(slip=0.2)
    env.reset(seed=0)
    ends = []
    for _ in range(8000):
        env.position = (3, 1)
        env.step(1)
        ends.append(env.position)
    share = {position: ends.count(position) / 8000 for position in set(ends)}
    assert share == pytest.approx({(3, 2): 0.85, (2, 1): 0.05, (4, 1): 0.05, (3, 0): 0.05}, abs=0.015)


@pytest.mark.parametrize(("action", "last_reward"), [(1, 1.0), (0, 0.0)])
def test_random_walk_ends_at_both_ends_and_rewards_the_right_one(action, last_reward):
    env = RandomWalk()
    assert env.reset()[0] == 2
    for reward, terminated in [(0.0, False), (0.0, False), (last_reward, True)]:
        assert env.step(action)[1:3] == (reward, terminated)


def test_random_walk_without_choice_moves_in_random_directions():
    env = RandomWalk(length=19, choice=False)
    env.reset(seed=0)
    assert isinstance(env.action_space, Discrete)
    assert env.action_space.n == 1
    ends = []
    for _ in range(4000):
        env.position = 9
        state, *_ = env.step(0)
        ends.append(state)
    assert sorted(set(ends)) == [8, 10]
    assert ends.count(10) / 4000 == pytest.approx(0.5, abs=0.03)


def test_discrete_states_become_one_hot_vectors_and_episodes_are_limited():
    env_spec = resolve("CliffWalking-v1")
    assert (env_spec.frame, env_spec.dtype, env_spec.one_hot, env_spec.family) == ((48,), "float32", True, "vector")
    stream = make_stream(env_spec, 2)
    row = stream.reset(0)
    assert row.obs.argmax(1).tolist() == [36, 36]  # the start, the lower left corner
    for _ in range(1000):
        stream.send(np.zeros(2, np.int64))  # up, against the wall at the end
        row = stream.recv()
    assert row.truncated.all()
    assert row.is_last.all()
    assert not row.terminated.any()
    stream.close()


def test_bounds_are_recorded_only_if_all_entries_are_bounded():
    assert resolve("MountainCar-v0").bounds is not None
    assert resolve("CartPole-v1").bounds is None  # its velocities are not bounded


def test_recall_shows_the_cue_and_the_present_step():
    env = Recall(length=4, render_mode="rgb_array")
    env.reset(seed=0)
    for step in range(1, 4):
        env.step(0)
        picture = env.render()
        assert picture.shape == (40, 160, 3)
        first, *others = [tuple(int(x) for x in picture[20, 40 * cell + 20]) for cell in range(4)]
        assert first == ((86, 182, 120) if env.cue == 1 else (70, 110, 190))
        assert [colour == (214, 86, 72) for colour in others] == [cell == step for cell in range(1, 4)]
