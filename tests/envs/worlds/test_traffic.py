"""Tests of the road: rules, collisions, observations, and the scores of scripted policies."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_scores import POLICIES, measure

from envs.errors import EnvError
from envs.worlds.traffic import (
    ACCELERATE,
    CAR_LENGTH,
    DECELERATE,
    EGO,
    LEFT,
    NOTHING,
    RIGHT,
    Car,
    Road,
    Traffic,
)

NO_LANE_CHANGES = [0.0] * 20


def touching_pairs(cars):
    """Return the pairs of cars whose rectangles of 15 x 34 pixels overlap."""
    return [
        (a, b)
        for a in range(len(cars))
        for b in range(a)
        if abs(cars[a].x - cars[b].x) < 15 - 1e-9 and abs(cars[a].y - cars[b].y) < 34 - 1e-9
    ]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    learners=st.integers(1, 11),
    actions=st.lists(st.integers(0, 4), min_size=30, max_size=30),
    eager=st.booleans(),
)
def test_cars_never_touch(seed, learners, actions, eager):
    """Actions every three frames; if `eager`, the other cars also try to change lane in every frame."""
    rng = np.random.default_rng(seed)
    road = Road(rng, learners)
    assert not touching_pairs(road.cars)
    for frame in range(600):
        road.advance([1.0] * 20 if eager else rng.random(20).tolist())
        if frame % 3 == 0:
            for number in range(learners):
                road.act(number, actions[(frame // 3 + 7 * number) % 30])
        assert not touching_pairs(road.cars)
        assert all(car.speed >= 0 and 4 - 1e-9 <= car.x <= 124 + 1e-9 for car in road.cars)


def naive_view(env, number, speeds):
    """Return the observation of a learner, computed cell by cell from the positions and the speeds of the cars."""
    cars = env.road.cars
    me = cars[number]
    my_row = math.floor(me.y / 10)
    cells = []
    for lane in range(me.lane - env.lanes_side, me.lane + env.lanes_side + 1):
        for row in range(my_row - env.patches_ahead, my_row + env.patches_behind):
            value = 1.0
            if not (0 <= lane < 7 and 0 <= row < 70):
                value = 0.0
            else:
                for car, speed in zip(cars, speeds, strict=True):
                    in_lane = lane in (math.floor(car.x / 20), math.floor((car.x + 10) / 20))
                    if in_lane and 0 <= row - math.floor(car.y / 10) < 4:
                        value = speed / 100
            cells.append(value)
    return cells


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lanes_side=st.integers(0, 6),
    patches_ahead=st.integers(1, 60),
    patches_behind=st.integers(0, 60),
    learners=st.sampled_from([1, 3]),
)
def test_observation_is_the_map_around_the_car(seed, lanes_side, patches_ahead, patches_behind, learners):
    env = Traffic(lanes_side, patches_ahead, patches_behind, learners)
    env.reset(seed=seed)
    speeds = []
    for _ in range(4):
        for _ in range(30):
            speeds = [car.speed for car in env.road.cars]  # the map has the speeds before braking
            env.road.advance(env.np_random.random(20).tolist())
        for number in range(learners):
            env.road.act(number, int(env.np_random.integers(5)))
        expected = [cell for number in range(learners) for cell in naive_view(env, number, speeds)]
        assert env._obs() == pytest.approx(np.array(expected, np.float32))


def road_with(cars):
    """Return a road with the given cars, and the others far behind in lanes of their own."""
    road = Road(np.random.default_rng(0))
    rest = [Car(number % 7, 30_000 + 100 * number, 1.0) for number in range(20 - len(cars))]
    road.cars = [*cars, *rest]
    return road


@pytest.mark.parametrize(
    ("cells_ahead", "speed_ahead", "following"),
    [(5, 1.0, 2.0), (4, 3.5, 1.5), (4, 1.0, 0.5), (3, 3.5, 1.0), (2, 3.5, 0.5), (2, 0.5, 0.25), (1, 3.5, 0.0)],
)
def test_safety_system_limits_the_speed_by_distance_and_speed_ahead(cells_ahead, speed_ahead, following):
    """`following` is the minimum of 2, (d - 1) / 2 and v / factor. The ego has the factor 2."""
    ego = Car(3, 525.0, 2.0)
    ahead = Car(3, 525.0 - 10 * (cells_ahead + 3), 1.0)
    road = road_with([ego, ahead])
    ego.speed, ahead.speed = 1.5, speed_ahead
    ahead.y += speed_ahead - 1.5  # so that the distance after the frame is a whole number of cells
    road.advance(NO_LANE_CHANGES)
    assert ego.following == pytest.approx(following)
    assert ego.speed == pytest.approx(2 * following)


def test_car_that_stands_close_to_another_may_have_braked_to_a_factor_of_0():
    """Rounding may make the gap between two standing cars negative."""
    road = Road(np.random.default_rng(0))
    ego, other = road.cars[:2]
    other.lane, other.x, other.y = ego.lane, ego.x, ego.y - CAR_LENGTH + 1e-9
    ego.factor = ego.speed = other.factor = other.speed = 0.0
    road._limit_by_gaps()
    assert ego.speed == 0.0


def test_actions_are_applied_once():
    road = road_with([Car(3, 525.0, 1.0)])
    ego = road.cars[EGO]
    road.act(EGO, ACCELERATE)
    assert ego.factor == pytest.approx(1.02)
    road.act(EGO, DECELERATE)
    road.act(EGO, NOTHING)
    assert ego.factor == pytest.approx(1.0)
    for _ in range(200):
        road.act(EGO, ACCELERATE)
    assert ego.factor == 2.0
    for _ in range(300):
        road.act(EGO, DECELERATE)
    assert ego.factor == 0.0
    road.advance(NO_LANE_CHANGES)
    assert ego.speed == 0.0


@pytest.mark.parametrize(("action", "end"), [(LEFT, 44.0), (RIGHT, 84.0)])
def test_a_lane_change_takes_thirty_frames(action, end):
    road = road_with([Car(3, 525.0, 1.0)])
    ego = road.cars[EGO]
    road.act(EGO, action)
    for _ in range(29):
        road.advance(NO_LANE_CHANGES)
    assert abs(ego.x - end) == pytest.approx(2 / 3)
    road.act(EGO, action)  # refused: the car is between two lanes
    road.advance(NO_LANE_CHANGES)
    road.advance(NO_LANE_CHANGES)
    assert ego.x == pytest.approx(end)


@pytest.mark.parametrize(("rows_ahead", "allowed"), [(9, False), (10, True), (0, False), (-3, False), (-4, True)])
def test_a_lane_change_needs_room(rows_ahead, allowed):
    """Beside the car, and 3 cells ahead for each unit of the factor. A car holds four rows of cells."""
    other = Car(2, 520.0 - 10 * rows_ahead, 1.0)
    road = road_with([Car(3, 520.0, 2.0), other])
    road._write_cells()
    road.act(EGO, LEFT)
    assert (road.cars[EGO].lane == 2) == allowed


@pytest.mark.parametrize("lane", [0, 6])
def test_cars_do_not_leave_the_road(lane):
    road = road_with([Car(lane, 525.0, 2.0)])
    road.act(EGO, LEFT if lane == 0 else RIGHT)
    assert road.cars[EGO].lane == lane


def test_reward_and_mph_are_those_of_the_thirty_frames():
    env = Traffic()
    _, info = env.reset(seed=4)
    speeds = [env.road.cars[EGO].speed]
    advance = env.road.advance

    def recorded(draws):
        advance(draws)
        speeds.append(env.road.cars[EGO].speed)

    env.road.advance = recorded
    for _ in range(5):
        _, reward, terminated, truncated, info = env.step(NOTHING)
        assert reward == pytest.approx((sum(speeds[-30:]) - 60) / 20)
        assert info["mph"] == pytest.approx(20 * np.mean(speeds))
        assert not terminated
        assert not truncated


def test_episode_of_the_registered_id_has_67_decisions():
    env = gymnasium.make("Traffic-v0")
    env.reset(seed=0)
    ends = [env.step(NOTHING)[2:4] for _ in range(67)]
    assert ends == [(False, False)] * 66 + [(False, True)]


def test_spaces_of_one_and_of_several_learners():
    assert Traffic().observation_space == Box(0.0, 1.0, (420,), np.float32)
    assert Traffic().action_space == Discrete(5)
    env = Traffic(1, 10, 0, learners=4)
    assert env.observation_space == Box(0.0, 1.0, (120,), np.float32)
    assert env.action_space == MultiDiscrete([5] * 4)


def mph_of(policy, runs, learners=1):
    """Return the mean speeds of runs of 2,000 frames, with the view 3/40/10."""
    env = Traffic(3, 40, 10, learners)
    results = []
    for seed in range(runs):
        obs, info = env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for _ in range(67):
            actions = [policy(view.reshape(7, 50), rng) for view in obs.reshape(learners, -1)]
            obs, _, _, _, info = env.step(actions if learners > 1 else actions[0])
        results.append(info["mph"])
    return np.array(results)


@pytest.mark.parametrize("name", ["random lane changes", "best of all lanes"])
def test_many_roads_at_once_are_as_fast_as_the_environment(name):
    """The measuring script shares no code for moving, braking and changing lane with the environment."""
    assert measure(POLICIES[name], 2) == pytest.approx(mph_of(POLICIES[name], 2), rel=1e-9)


# The original simulator: mean of 50 runs with its seeds 1 to 50 (decelerate: 150 runs), and its standard error.
ORIGINAL = {
    "decelerate": (44.7, 0.25),
    "nothing": (51.1, 0.7),
    "random": (60.2, 0.8),
    "random lane changes": (63.4, 0.8),
    "emptiest of three lanes": (68.2, 0.9),
    "best of all lanes": (69.4, 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
def test_scripted_policies_are_as_fast_as_in_the_original(name):
    """Within 1 mph, and three standard errors of the difference of the means over 500 runs and the original's."""
    mean, error = ORIGINAL[name]
    scores = measure(POLICIES[name], 500)
    own_error = scores.std() / math.sqrt(len(scores))
    assert own_error < 0.4
    assert abs(scores.mean() - mean) < 1 + 3 * math.hypot(error, own_error)


@pytest.mark.slow
def test_learners_that_change_lane_well_make_the_road_faster_for_all():
    """The original, with ten more learners that do nothing or change lane well: 59.8 and 76.3 mph."""
    nothing = mph_of(POLICIES["nothing"], 30, learners=11)
    good = mph_of(POLICIES["best of all lanes"], 30, learners=11)
    assert good.mean() > nothing.mean() + 5


@pytest.mark.parametrize("learners", [1, 2])
def test_gymnasium_accepts_the_environment(learners):
    check_env(gymnasium.make("Traffic-v0", learners=learners, render_mode="rgb_array").unwrapped)


def test_picture_is_an_image():
    env = Traffic(learners=2)
    env.reset(seed=0)
    env.step(np.array([LEFT, RIGHT]))
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((585, 430, 3), np.uint8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lanes_side": 7}, "lanes_side is 7; it must be a whole number from 0 to 6"),
        ({"patches_ahead": 0}, "patches_ahead is 0; it must be a whole number from 1 to 60"),
        ({"patches_behind": -1}, "patches_behind is -1; it must be a whole number from 0 to 60"),
        ({"learners": True}, "learners is True; it must be a whole number from 1 to 11"),
    ],
)
def test_bad_parameters_get_one_line(parameters, message):
    with pytest.raises(EnvError, match=message):
        Traffic(**parameters)
