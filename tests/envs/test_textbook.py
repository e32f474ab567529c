"""The small worlds against what their books say of them."""

from collections import deque

import numpy as np
import pytest

from envs.make import make_stream, resolve
from envs.textbook import RandomWalk, WindyGridworld


def test_the_shortest_way_through_the_wind_takes_15_steps():
    """Breadth first, over what `step` does."""
    env, ways = WindyGridworld(), {WindyGridworld.START: 0}
    queue = deque(ways)
    while queue:
        place = queue.popleft()
        for action in range(4):
            env.position = place
            _, reward, over, _, _ = env.step(action)
            assert (reward, over) == (-1.0, env.position == (3, 7))
            if env.position not in ways:
                ways[env.position] = ways[place] + 1
                queue.append(env.position)
    assert ways[3, 7] == 15


def test_a_slip_goes_in_a_random_direction():
    env = WindyGridworld(slip=0.2)
    env.reset(seed=0)
    ends = []
    for _ in range(8000):
        env.position = (3, 1)
        env.step(1)
        ends.append(env.position)
    share = {place: ends.count(place) / 8000 for place in set(ends)}
    assert share == pytest.approx({(3, 2): 0.85, (2, 1): 0.05, (4, 1): 0.05, (3, 0): 0.05}, abs=0.015)


def test_a_walk_ends_at_both_ends_and_pays_at_one():
    env = RandomWalk()
    for action, pay in ((1, 1.0), (0, 0.0)):
        assert env.reset()[0] == 2
        steps = [env.step(action)[1:3] for _ in range(3)]
        assert steps == [(0.0, False), (0.0, False), (pay, True)]


def test_a_walk_without_choice_goes_as_chance_has_it():
    env = RandomWalk(length=19, choice=False)
    env.reset(seed=0)
    assert env.action_space.n == 1
    ends = []
    for _ in range(4000):
        env.position = 9
        ends.append(env.step(0)[0])
    assert sorted(set(ends)) == [8, 10]
    assert ends.count(10) / 4000 == pytest.approx(0.5, abs=0.03)


def test_states_that_are_numbers_come_as_one_hot_vectors_and_grids_have_a_limit():
    env_spec = resolve("CliffWalking-v1")
    assert (env_spec.frame, env_spec.dtype, env_spec.one_hot, env_spec.family) == ((48,), "float32", True, "vector")
    stream = make_stream(env_spec, 2)
    row = stream.reset(0)
    assert row.obs.argmax(1).tolist() == [36, 36]  # the start, lower left
    for _ in range(1000):
        stream.send(np.zeros(2, np.int64))  # up, against the wall
        row = stream.recv()
    assert row.truncated.all()
    assert row.is_last.all()
    assert not row.terminated.any()
    stream.close()
    assert resolve("MountainCar-v0").bounds is not None
    assert resolve("CartPole-v1").bounds is None  # its speeds have no bounds
