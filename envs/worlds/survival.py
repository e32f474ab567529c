"""Find food among enemies, with little energy (after Lin 1992).

L.-J. Lin, "Self-improving reactive agents based on reinforcement learning, planning and teaching", Machine Learning 8,
1992. The rules were taken from two independent re-implementations of the paper's world, because the paper leaves some
open. Where the two differ, docs/worlds.md says what we chose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import write_text

SIZE = 25
WALLS_OF_UPPER_HALF = (  # for each of the rows 0 to 12, the columns of the walls; the other rows mirror them
    (0, 1, 2, 3, 4, 5, 19, 20, 21, 22, 23, 24),
    (0, 24),
    (0, 3, 4, 8, 9, 11, 12, 13, 15, 16, 20, 21, 24),
    (0, 2, 3, 4, 8, 9, 11, 13, 15, 16, 20, 21, 22, 24),
    (0, 2, 3, 4, 20, 21, 22, 24),
    (0, 24),
    (),
    (),
    (2, 3, 8, 9, 10, 11, 13, 14, 15, 16, 21, 22),
    (2, 3, 8, 9, 10, 14, 15, 16, 21, 22),
    (8, 9, 15, 16),
    (2, 3, 8, 16, 21, 22),
    (2, 12, 22),
)
AGENT_START = (18, 12)
"""Row and column, counted from 0."""
ENEMY_STARTS = ((1, 12), (6, 6), (6, 12), (6, 18))
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Rows and columns that each action adds."""

PIECES = 15
ENERGY_AT_START = 40
ENERGY_OF_PIECE = 15
FOOD_REWARD = 0.4
DEATH_REWARD = -1.0
ENEMY_MOVES = 0.8
"""Probability that an enemy moves in a step."""

NUM_INPUTS = 145
ENERGY_INPUTS = 16
ENERGY_STEP = 2.5
"""Energy between two of the inputs."""


class Position(NamedTuple):
    """A cell."""

    row: int
    column: int


class Survival(gymnasium.Env):
    """A 25 x 25 world with walls, 4 enemies and 15 pieces of food. Eat, and stay away from the enemies.

    In each step the agent moves by one cell, or stays if there is a wall. A step takes 1 of its energy, and food gives
    15. Then each enemy moves with probability 0.8 (see `enemy_weights`). The agent dies if it meets an enemy or has no
    energy left. The episode ends when the agent dies, or when all food is eaten.

    Observation: float32[145], all 0 or 1, relative to the agent's cell:

    - 0 .. 51 food and 52 .. 83 enemies in the patches around the agent (see `SEES_FOOD` and `SEES_ENEMY`),
    - 84 .. 123 walls on the 40 cells at a Manhattan distance of 1 .. 4,
    - 124 .. 139 the energy, of which one is 1: number floor(energy / 2.5), at most 15,
    - 140 .. 143 the last action, and 144 a collision with a wall in the last step.

    Actions: 0 up, 1 right, 2 down, 3 left.

    Reward: 0.4 for a piece of food, -1 for death. `info["food"]` is the score of the paper, the number of pieces eaten.
    The optimum is not known.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  # Gymnasium's interface

    def __init__(self, enemies: int = 4, pieces: int = PIECES, render_mode: str | None = None) -> None:
        """Create the world.

        Args:
            enemies: Number of enemies, 0 to 4.
            pieces: Pieces of food, 1 to 100.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.num_enemies = parameters.whole_number("enemies", enemies, 0, len(ENEMY_STARTS))
        self.pieces = parameters.whole_number("pieces", pieces, 1, 100)
        self.render_mode = parameters.render_mode(render_mode)
        self.observation_space = Box(0.0, 1.0, (NUM_INPUTS,), np.float32)
        self.action_space = Discrete(4)
        self.agent = Position(*AGENT_START)
        self.enemies: list[Position] = []
        self.food: list[Position] = []
        self.energy = ENERGY_AT_START
        self.last_action: int | None = None
        self.collision = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Put agent and enemies to their places, and food to random free cells."""
        super().reset(seed=seed)
        self.agent = Position(*AGENT_START)
        self.enemies = [Position(*start) for start in ENEMY_STARTS[: self.num_enemies]]
        free = ~WALLS
        for row, column in (self.agent, *self.enemies):
            free[row, column] = False
        places = self.np_random.choice(np.flatnonzero(free), self.pieces, replace=False)
        self.food = [Position(*divmod(int(place), SIZE)) for place in places]
        self.energy = ENERGY_AT_START
        self.last_action = None
        self.collision = False
        return self._obs(), self._info()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move the agent, then the enemies."""
        target = _neighbour(self.agent, int(action))
        self.collision = is_wall(target)
        if not self.collision:
            self.agent = target
        self.last_action = int(action)
        self.energy -= 1
        reward = 0.0
        caught = self.agent in self.enemies
        if self.agent in self.food and not caught:
            self.food.remove(self.agent)
            self.energy += ENERGY_OF_PIECE
            reward = FOOD_REWARD
        if not caught and self.food:
            self._move_enemies()
            caught = self.agent in self.enemies
        dead = caught or self.energy <= 0
        if dead:
            reward += DEATH_REWARD
        return self._obs(), reward, bool(dead or not self.food), False, self._info()

    def _move_enemies(self) -> None:
        """Move each enemy with probability 0.8 to a free neighbouring cell, one enemy after the other."""
        for number in range(len(self.enemies)):
            if self.np_random.random() >= ENEMY_MOVES:
                continue
            enemy = self.enemies[number]
            neighbours = [_neighbour(enemy, move) for move in range(len(MOVES))]
            free = [move for move, cell in enumerate(neighbours) if self._is_free_for_enemy(cell)]
            if not free:
                continue
            weights = ENEMY_WEIGHTS[self.agent.row - enemy.row + SIZE - 1, self.agent.column - enemy.column + SIZE - 1]
            cumulative = np.cumsum(weights[free])
            choice = int(np.searchsorted(cumulative[:-1], self.np_random.random() * cumulative[-1], side="right"))
            self.enemies[number] = neighbours[free[choice]]
            if self.enemies[number] == self.agent:
                return

    def _is_free_for_enemy(self, cell: Position) -> bool:
        """Return True if an enemy may enter a cell: it has no wall and no other enemy. Enemies walk over food."""
        return not is_wall(cell) and cell not in self.enemies

    def _obs(self) -> NDArray[np.float32]:
        obs = np.zeros(NUM_INPUTS, np.float32)
        row, column = self.agent
        if self.food:
            distances = np.array(self.food, np.int64) - np.array(self.agent, np.int64) + SIZE - 1
            obs[:52] = SEES_FOOD[distances[:, 0], distances[:, 1]].any(0)
        if self.enemies:
            distances = np.array(self.enemies, np.int64) - np.array(self.agent, np.int64) + SIZE - 1
            obs[52:84] = SEES_ENEMY[distances[:, 0], distances[:, 1]].any(0)
        obs[84:124] = SEES_WALLS[row, column]
        if self.energy > 0:
            obs[124 + min(int(self.energy / ENERGY_STEP), ENERGY_INPUTS - 1)] = 1
        if self.last_action is not None:
            obs[140 + self.last_action] = 1
        obs[144] = self.collision
        return obs

    def _info(self) -> dict[str, Any]:
        return {"food": self.pieces - len(self.food)}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[540, 500, 3] of the world, with the energy below."""
        return draw_survival(self)


def wall_map() -> NDArray[np.bool_]:
    """Return the walls, bool[25, 25]."""
    walls = np.zeros((SIZE, SIZE), bool)
    for row, columns in enumerate(WALLS_OF_UPPER_HALF):
        walls[row, list(columns)] = True
        walls[SIZE - 1 - row, list(columns)] = True
    return walls


def diamond(first: int, last: int) -> list[Position]:
    """Return the cells whose Manhattan distance from (0, 0) is first .. last, row by row."""
    offsets = range(-last, last + 1)
    return [Position(row, column) for row in offsets for column in offsets if first <= abs(row) + abs(column) <= last]


SMALL_PATCHES = diamond(1, 2)
"""Centres of the 12 patches of 5 cells around the agent (a cross). Lin calls them X."""
MIDDLE_PATCHES = [Position(2 * row, 2 * column) for row, column in diamond(2, 3)]
"""Centres of the 20 patches of 3 x 3 cells. Lin calls them O."""
LARGE_PATCHES = [Position(2 * row, 2 * column) for row, column in diamond(5, 5)]
"""Centres of the 20 patches of 13 cells, all at a Manhattan distance of 10. Lin calls them Y."""

CROSS = diamond(0, 1)
SQUARE = [Position(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
LARGE_DIAMOND = diamond(0, 2)


def patch_table(sensors: list[tuple[list[Position], list[Position]]]) -> NDArray[np.bool_]:
    """Return which inputs a thing switches on, bool[49, 49, inputs], by its row and column from the agent plus 24.

    Args:
        sensors: Pairs of the centres of patches, and the cells of a patch around its centre.
    """
    inputs = sum(len(centres) for centres, _ in sensors)
    table = np.zeros((2 * SIZE - 1, 2 * SIZE - 1, inputs), bool)
    number = 0
    for centres, cells in sensors:
        for centre in centres:
            for cell in cells:
                row = centre.row + cell.row + SIZE - 1
                column = centre.column + cell.column + SIZE - 1
                table[row, column, number] = True
            number += 1
    return table


def wall_table() -> NDArray[np.bool_]:
    """Return the inputs for walls, bool[25, 25, 40], by the agent's cell: the cells at a distance of 1 .. 4."""
    padded = np.pad(WALLS, 4, constant_values=True)
    return np.stack([padded[4 + dy : 4 + dy + SIZE, 4 + dx : 4 + dx + SIZE] for dy, dx in diamond(1, 4)], -1)


def enemy_weights() -> NDArray[np.float64]:
    """Return the weights of an enemy's moves, f64[49, 49, 4], by the agent's row and column from the enemy plus 24.

    The weight of a move is exp(0.33 W T). W is 1 for a move towards the agent and 0 for the opposite move, linear in
    the angle between the move and the direction to the agent. T falls with the Euclidean distance d: 15 - d up to 4,
    9 - d / 2 up to 15, and 1 beyond.
    """
    rows, columns = np.mgrid[1 - SIZE : SIZE, 1 - SIZE : SIZE]
    distance = np.hypot(rows, columns)
    nearness = np.select([distance <= 4, distance <= 15], [15 - distance, 9 - distance / 2], 1.0)
    weights = np.zeros((*distance.shape, len(MOVES)))
    for move, (row_step, column_step) in enumerate(MOVES):
        cosine = (rows * row_step + columns * column_step) / np.maximum(distance, 1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        weights[..., move] = np.exp(0.33 * (180 - angle) / 180 * nearness)
    return weights


WALLS = wall_map()
SEES_FOOD = patch_table([(SMALL_PATCHES, CROSS), (MIDDLE_PATCHES, SQUARE), (LARGE_PATCHES, LARGE_DIAMOND)])
SEES_ENEMY = patch_table([(SMALL_PATCHES, CROSS), (MIDDLE_PATCHES, SQUARE)])
SEES_WALLS = wall_table()
ENEMY_WEIGHTS = enemy_weights()


def is_wall(cell: Position) -> bool:
    """Return True if a cell has a wall or is outside the world."""
    return not (0 <= cell.row < SIZE and 0 <= cell.column < SIZE) or bool(WALLS[cell])


def _neighbour(cell: Position, action: int) -> Position:
    """Return the cell that a move leads to, whether it is free or not."""
    row_step, column_step = MOVES[action]
    return Position(cell.row + row_step, cell.column + column_step)


def towards_nearest_food(env: Survival, forbidden: Collection[Position] = ()) -> int | None:
    """Return the first move of a shortest way to food that avoids some cells, or None if there is no way."""
    queue: deque[tuple[Position, int | None]] = deque([(env.agent, None)])
    seen = {env.agent}
    while queue:
        cell, first = queue.popleft()
        if cell in env.food:
            return first
        for action in range(len(MOVES)):
            after = _neighbour(cell, action)
            if after not in seen and not is_wall(after) and after not in forbidden:
                seen.add(after)
                queue.append((after, action if first is None else first))
    return None


def food_away_from_enemies(env: Survival) -> int:
    """Return the move to the nearest food by a way with one cell between the agent and each enemy.

    Without such a way, return the move after which the nearest enemy is farthest.
    """
    forbidden = {Position(row + dy, column + dx) for row, column in env.enemies for dy, dx in SQUARE}
    move = towards_nearest_food(env, forbidden)
    if move is not None:
        return move
    cells = [_neighbour(env.agent, action) for action in range(len(MOVES))]
    distances = []
    for cell in cells:
        reached = env.agent if is_wall(cell) else cell
        distances.append(min(abs(reached.row - row) + abs(reached.column - column) for row, column in env.enemies))
    return distances.index(max(distances))


CELL = 20
"""Pixels of a cell."""
GROUND = (240, 238, 230)
GRID = (228, 225, 215)
WALL_COLOR = (112, 116, 124)
FOOD_COLOR = (88, 164, 96)
ENEMY_COLOR = (206, 84, 76)
AGENT_COLOR = (66, 116, 190)


def draw_survival(env: Survival) -> NDArray[np.uint8]:
    """Return a picture u8[540, 500, 3]: walls grey, food green, enemies red, the agent blue, its energy as a bar."""
    picture = np.full((SIZE * CELL + 40, SIZE * CELL, 3), GROUND, np.uint8)
    world = picture[: SIZE * CELL]
    world[::CELL] = GRID
    world[:, ::CELL] = GRID
    world[np.repeat(np.repeat(WALLS, CELL, 0), CELL, 1)] = WALL_COLOR
    for cell in env.food:
        cv2.circle(picture, _middle(cell), 6, FOOD_COLOR, -1, cv2.LINE_AA)
    cv2.circle(picture, _middle(env.agent), 9, AGENT_COLOR, -1, cv2.LINE_AA)
    for cell in env.enemies:
        x, y = _middle(cell)
        corners = np.array([(x, y - 9), (x - 9, y + 8), (x + 9, y + 8)])
        cv2.fillPoly(picture, [corners], ENEMY_COLOR, cv2.LINE_AA)
    top = SIZE * CELL
    picture[top:] = 250
    length = int(np.clip(2.5 * env.energy, 0, 250))
    cv2.rectangle(picture, (90, top + 12), (340, top + 28), GRID, -1)
    if length:
        cv2.rectangle(picture, (90, top + 12), (90 + length, top + 28), AGENT_COLOR, -1)
    write_text(picture, f"energy {env.energy}", (8, top + 25), 0.45)
    write_text(picture, f"food {env.pieces - len(env.food)} of {env.pieces}", (366, top + 25), 0.45)
    return picture


def _middle(cell: Position) -> tuple[int, int]:
    """Return the pixel in the middle of a cell, as x and y."""
    return CELL * cell.column + CELL // 2, CELL * cell.row + CELL // 2
