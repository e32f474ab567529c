"""Tests of Lin's survival world: rules, observations, and the scores of scripted policies."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import EnvError
from envs.worlds.survival import Position, Survival, food_away_from_enemies, is_wall, towards_nearest_food

MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]

UPPER_HALF = """
######.............######
#.......................#
#..##...##.###.##...##..#
#.###...##.#.#.##...###.#
#.###...............###.#
#.......................#
.........................
.........................
..##....####.####....##..
..##....###...###....##..
........##.....##........
..##....#.......#....##..
..#.........#.........#..
"""


def test_walls_are_those_of_the_map_and_mirrored():
    upper = UPPER_HALF.split()
    rows = upper + upper[-2::-1]
    assert [[is_wall(Position(row, column)) for column in range(25)] for row in range(25)] == [
        [cell == "#" for cell in row] for row in rows
    ]


def naive_inputs(env):
    """Return the 145 inputs from lists of cells."""
    row, column = env.agent

    def any_near(things, shape, centre):
        """Return 1 if one of the things is in a patch."""
        for thing in things:
            dy = abs(thing[0] - row - centre[0])
            dx = abs(thing[1] - column - centre[1])
            inside = {"cross": dy + dx <= 1, "square": max(dy, dx) <= 1, "diamond": dy + dx <= 2}[shape]
            if inside:
                return 1
        return 0

    square = range(-10, 11)
    close = [(dy, dx) for dy in square for dx in square if 1 <= abs(dy) + abs(dx) <= 2]
    even = [(dy, dx) for dy in square for dx in square if dy % 2 == 0 and dx % 2 == 0]
    middle = [(dy, dx) for dy, dx in even if abs(dy) + abs(dx) in (4, 6)]
    far = [(dy, dx) for dy, dx in even if abs(dy) + abs(dx) == 10]
    near_walls = [(dy, dx) for dy in square for dx in square if 1 <= abs(dy) + abs(dx) <= 4]
    inputs = [any_near(env.food, "cross", centre) for centre in close]
    inputs += [any_near(env.food, "square", centre) for centre in middle]
    inputs += [any_near(env.food, "diamond", centre) for centre in far]
    inputs += [any_near(env.enemies, "cross", centre) for centre in close]
    inputs += [any_near(env.enemies, "square", centre) for centre in middle]
    inputs += [int(is_wall(Position(row + dy, column + dx))) for dy, dx in near_walls]
    energy = [0] * 16
    if env.energy > 0:
        energy[min(math.floor(env.energy / 2.5), 15)] = 1
    last = [int(env.last_action == action) for action in range(4)]
    return inputs + energy + last + [int(env.collision)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), actions=st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_rules_and_observation_hold_in_random_play(seed, actions):
    env = Survival()
    obs, info = env.reset(seed=seed)
    assert obs.tolist() == naive_inputs(env)
    energy, eaten = 40, 0
    for action in actions:
        cell = env.agent
        enemies_before = list(env.enemies)
        food_before = set(env.food)
        obs, reward, terminated, truncated, info = env.step(action)
        target = Position(cell.row + MOVES[action][0], cell.column + MOVES[action][1])
        assert env.agent == (cell if is_wall(target) else target)
        assert env.collision == is_wall(target)
        met_enemy = env.agent in enemies_before
        ate = env.agent in food_before and not met_enemy
        eaten += ate
        energy += 15 * ate - 1
        assert (env.energy, info["food"], len(env.food)) == (energy, eaten, 15 - eaten)
        assert all(
            abs(new.row - old.row) + abs(new.column - old.column) <= 1 and not is_wall(new)
            for new, old in zip(env.enemies, enemies_before, strict=True)
        )
        assert len(set(env.enemies)) == 4
        dead = met_enemy or env.agent in env.enemies or energy <= 0
        assert reward == pytest.approx(0.4 * ate - dead)
        assert terminated == (dead or eaten == 15)
        assert not truncated
        assert obs.tolist() == naive_inputs(env)
        if terminated:
            break


def test_enemies_prefer_moves_towards_the_agent_as_in_the_formula():
    """Frequencies of the first enemy's moves, far from walls and from the others."""
    env = Survival()
    env.reset(seed=0)
    agent, enemy = Position(5, 12), Position(6, 9)
    distance = math.hypot(1, 3)
    weights = []
    for dy, dx in MOVES:
        angle = math.degrees(math.acos((dy * -1 + dx * 3) / distance))
        weights.append(math.exp(0.33 * (180 - angle) / 180 * (15 - distance)))
    expected = [0.8 * weight / sum(weights) for weight in weights] + [0.2]
    counts = np.zeros(5)
    for _ in range(20_000):
        env.agent, env.enemies, env.food = agent, [enemy], [Position(24, 12)]
        env._move_enemies()
        step = (env.enemies[0].row - enemy.row, env.enemies[0].column - enemy.column)
        counts[MOVES.index(step) if step in MOVES else 4] += 1
    assert counts / counts.sum() == pytest.approx(expected, abs=0.015)


def test_enemies_do_not_enter_cells_of_other_enemies():
    env = Survival()
    env.reset(seed=0)
    middle = Position(6, 9)
    for _ in range(20):
        env.agent = Position(6, 12)
        env.enemies = [middle, *(Position(middle.row + dy, middle.column + dx) for dy, dx in MOVES)]
        env._move_enemies()
        assert env.enemies[0] == middle


def test_the_same_seed_gives_the_same_world_and_another_seed_another_one():
    first, second, third = Survival(), Survival(), Survival()
    for env, seed in ((first, 7), (second, 7), (third, 8)):
        env.reset(seed=seed)
        for action in (0, 1, 1, 2, 3, 0):
            env.step(action)
    assert (first.food, first.enemies) == (second.food, second.enemies)
    assert first.food != third.food


def random_moves(env, rng):
    return int(rng.integers(4))


def nearest_food(env, rng):
    return towards_nearest_food(env)


def nearest_food_away_from_enemies(env, rng):
    return food_away_from_enemies(env)


def pieces_eaten(policy, worlds):
    """Return the pieces of food that a policy eats in the worlds 0 .. worlds - 1."""
    env = Survival()
    pieces = []
    for seed in range(worlds):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        terminated, info = False, {}
        while not terminated:
            _, _, terminated, _, info = env.step(policy(env, rng))
        pieces.append(info["food"])
    return np.array(pieces)


def check_score(pieces, score, tolerance):
    """Compare a mean with a score of another program: within the tolerance, and three standard errors."""
    standard_error = pieces.std() / math.sqrt(len(pieces))
    assert abs(pieces.mean() - score) < tolerance + 3 * standard_error
    assert standard_error < 0.6


@pytest.mark.parametrize(
    ("policy", "worlds", "score", "tolerance"),
    [(random_moves, 500, 0.56, 0.03), (nearest_food, 60, 6.0, 0.2), (nearest_food_away_from_enemies, 60, 12.8, 0.2)],
)
def test_scripted_policies_eat_as_much_as_in_another_program(policy, worlds, score, tolerance):
    check_score(pieces_eaten(policy, worlds), score, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "worlds", "score", "tolerance"),
    [
        (random_moves, 4000, 0.56, 0.03),
        (nearest_food, 400, 6.0, 0.2),
        (nearest_food_away_from_enemies, 200, 12.8, 0.2),
    ],
)
def test_scripted_policies_eat_as_much_as_in_another_program_in_many_worlds(policy, worlds, score, tolerance):
    check_score(pieces_eaten(policy, worlds), score, tolerance)


def test_gymnasium_accepts_the_environment():
    check_env(gymnasium.make("Survival-v0", render_mode="rgb_array").unwrapped)


def test_picture_is_an_image():
    env = Survival(enemies=0, pieces=3)
    env.reset(seed=0)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((540, 500, 3), np.uint8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"enemies": 5}, "enemies is 5; it must be a whole number from 0 to 4"),
        ({"pieces": 0}, "pieces is 0; it must be a whole number from 1 to 100"),
        ({"pieces": 2.5}, "pieces is 2.5; it must be a whole number from 1 to 100"),
    ],
)
def test_bad_parameters_get_one_line(parameters, message):
    with pytest.raises(EnvError, match=message):
        Survival(**parameters)
