"""Tests of the robots on uneven ground: the ground itself, what the agent sees of it, and when an episode ends."""

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.errors import EnvError
from envs.make import resolve

mujoco: Any = pytest.importorskip("mujoco")

from envs.worlds.rough_terrain import TRACK, RoughHopper, RoughWalker2d, Terrain  # noqa: E402  # they need mujoco

ROBOTS = [RoughHopper, RoughWalker2d]


def measured_height(env, x: float) -> float:
    """Return the height of the ground at x in metres, by a ray from above beside the robot."""
    hit = np.zeros(1, np.int32)
    start = np.array([x, 1.0, 5.0])
    distance = mujoco.mj_ray(env.robot.model, env.robot.data, start, np.array([0.0, 0.0, -1.0]), None, 1, -1, hit)
    assert hit[0] == 0  # the floor
    return 5.0 - distance


def stand_at(env, x: float, height: float) -> None:
    """Put the robot upright to x, its torso `height` metres above the ground."""
    position = env.robot.init_qpos.copy()
    position[0] = x
    position[1] = measured_height(env, x) + height
    env.robot.set_state(position, np.zeros_like(env.robot.init_qvel))


@pytest.mark.parametrize("robot", ROBOTS)
def test_agent_sees_the_ground_that_the_simulator_has(robot):
    env = robot(height=0.5, ramp=5.0, points=8)
    env.reset(seed=3)
    for x in (0.0, 4.83, 17.0):
        stand_at(env, x, 1.3)
        obs, *_ = env.step(np.zeros(env.action_space.shape))
        ground = measured_height(env, env.x)
        ahead = [measured_height(env, env.x + 0.2 * k) - ground for k in range(1, 9)]
        assert obs[-8:] == pytest.approx(ahead, abs=1e-5)
        assert obs[0] == pytest.approx(env.robot.data.qpos[1] - ground, abs=1e-5)
    assert max(map(abs, ahead)) > 0.01


@pytest.mark.parametrize(("robot", "low"), [(RoughHopper, 0.7), (RoughWalker2d, 0.8)])
def test_robot_is_healthy_by_its_height_above_the_ground(robot, low):
    """Its height above z = 0 would be healthy in all three cases."""
    env = robot(height=1.0, ramp=1.0)
    env.reset(seed=1)
    highest = float(TRACK[np.argmax(env.heights)])
    rewards = []
    for height, healthy in ((low + 0.05, True), (low - 0.05, False)):
        stand_at(env, highest, height)
        assert env.z > 1.2
        _, reward, terminated, _, info = env.step(np.zeros(env.action_space.shape))
        assert terminated != healthy
        assert info["reward_survive"] == float(healthy)
        assert reward == pytest.approx(info["reward_forward"] + info["reward_ctrl"] + info["reward_survive"])
        rewards.append(reward)


def test_flat_ground_is_gymnasiums_hopper():
    """MuJoCo computes other points of contact for a height field than for a plane, so velocities differ a little."""
    rough = RoughHopper(height=0.0, points=0)
    flat = gymnasium.make("Hopper-v5").unwrapped
    obs, _ = rough.reset(seed=4)
    expected, _ = flat.reset(seed=4)
    assert obs == pytest.approx(expected)
    rng = np.random.default_rng(0)
    for _ in range(15):  # contacts are chaotic, so later steps differ more
        action = rng.uniform(-1, 1, 3)
        obs, reward, terminated, _, _ = rough.step(action)
        expected, expected_reward, expected_end, _, _ = flat.step(action)
        assert obs[:5] == pytest.approx(expected[:5], abs=0.01)  # height and angles
        assert obs[5:] == pytest.approx(expected[5:], abs=0.3)
        assert reward == pytest.approx(float(expected_reward), abs=0.05)
        assert terminated == expected_end


def test_ground_grows_from_flat_to_its_height():
    grounds = np.array([Terrain(0.4, 20.0, 1.0).draw(np.random.default_rng(seed)) for seed in range(200)])
    assert (grounds >= 0).all()
    assert grounds.max() <= 0.4
    assert not grounds[:, TRACK <= 2].any()
    at = {x: grounds[:, np.argmin(abs(TRACK - x))] for x in (7.0, 12.0, 22.0, 60.0)}
    # Uniform extremes at whole metres: the mean is half of the height that the ramp allows, the maximum close to it.
    for x, share in ((7.0, 0.25), (12.0, 0.5), (22.0, 1.0), (60.0, 1.0)):
        assert at[x].mean() == pytest.approx(0.2 * share, rel=0.15)
        assert at[x].max() > 0.95 * 0.4 * share
    assert np.corrcoef(at[22.0], at[60.0])[0, 1] == pytest.approx(0, abs=0.25)


def test_each_episode_has_new_ground_and_a_seed_repeats_it():
    env = RoughHopper()
    env.reset(seed=1)
    first = env.heights
    env.reset()
    assert not np.array_equal(env.heights, first)
    env.reset(seed=1)
    assert np.array_equal(env.heights, first)


def test_copy_plays_the_same():
    env = RoughHopper(height=0.5, forward_reward_weight=2.0)
    twin = copy.deepcopy(env)
    for each in (env, twin):
        each.reset(seed=2)
        stand_at(each, 30.0, 1.2)
    rng = np.random.default_rng(1)
    for _ in range(10):
        action = rng.uniform(-1, 1, 3)
        results = [each.step(action) for each in (env, twin)]
        assert np.array_equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]


@pytest.mark.parametrize("env_id", ["RoughHopper-v0", "RoughWalker2d-v0"])
def test_lab_takes_the_robots(env_id):
    env_spec = resolve(env_id)
    assert env_spec.reproducible
    assert env_spec.picklable
    assert env_spec.is_continuous


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"height": 2}, "height is 2; it must be a number from 0 to 1"),
        ({"height": -0.1}, "height is -0.1; it must be a number from 0 to 1"),
        ({"ramp": 0}, "ramp is 0; it must be a number from 0.1 to 1000"),
        ({"bump": "small"}, "bump is 'small'; it must be a number from 0.2 to 10"),
        ({"points": 51}, "points is 51; it must be a whole number from 0 to 50"),
        ({"render_mode": "human"}, "render_mode is 'human'; it must be rgb_array or None"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(args, message):
    with pytest.raises(EnvError) as refused:
        RoughHopper(**args)
    assert str(refused.value) == message
