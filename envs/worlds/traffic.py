"""A road of seven lanes: drive as fast as the traffic allows. The rules are those of DeepTraffic (Fridman et al. 2018).

The rules were read in the simulator of MIT's course "Deep Learning for Self-Driving Cars" and written anew
(github.com/mljack/deeptraffic has a copy of the simulator). docs/worlds.md lists the scores of other programs.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import write_text

LANES = 7
ROWS = 70
"""Visible cells of each lane. A cell is as wide as the lane."""
LANE_WIDTH = 20.0
ROW_LENGTH = 10.0
CAR_WIDTH = 15.0
CAR_LENGTH = 34.0
CAR_ROWS = 4
"""Rows of cells that a car holds."""
NUM_CARS = 20
MAX_LEARNERS = 11

EGO = 0
EGO_Y = 525.0
"""Pixels between car 0 and the upper end of the road. The camera follows the car."""
CAMERA_SPEED = 1.5
"""Speed of car 0, in pixels a frame, at which the car stays exactly at `EGO_Y`."""

FRAMES_PER_DECISION = 30
MPH = 20.0
"""Miles an hour of one pixel a frame."""
MAX_FOLLOWING = 2.0
MAX_FACTOR = 2.0
GAS_STEP = 0.02
GLIDE = 2 / 3
"""Pixels a frame that a car moves sideways while it changes lane."""
LOOK_AHEAD = 4
"""Cells ahead of a car that its safety system watches."""

EMPTY = 100.0
"""Value of an empty cell in the map of speeds."""
MARGIN = 10
"""Rows of cells beyond either end of the visible road, where cars leave and enter."""
ROWS_IN_ALL = ROWS + 2 * MARGIN
FREE_AHEAD = [EMPTY] * LOOK_AHEAD

NOTHING, ACCELERATE, DECELERATE, LEFT, RIGHT = range(5)

PICTURE_SCALE = 1.5
"""Pixels of the picture for one of the road."""
PICTURE_TOP = 310
"""The picture shows the road from this pixel on."""
PANEL_WIDTH = 200


class Car:
    """A car. Positions are pixels of its upper left corner: x from the left edge of the road, y from its upper end."""

    __slots__ = ("factor", "following", "lane", "speed", "x", "y")

    def __init__(self, lane: int, y: float, factor: float) -> None:
        """Put a car into the middle of a lane.

        Args:
            lane: The lane, from the left. While the car changes lane, this is the target lane.
            y: Pixels from the upper end of the road.
            factor: What the driver chooses. The car drives `following * factor` pixels a frame.
        """
        self.lane = lane
        self.x = middle_of(lane)
        self.y = y
        self.factor = factor
        self.following = 1.0  # share of `factor` that the safety system allows: speed = following * factor
        self.speed = factor  # pixels a frame

    def lanes(self) -> range:
        """Return the lanes that the car touches or changes to. No other car may be beside it in these lanes."""
        left = int(self.x // LANE_WIDTH)
        right = int((self.x + CAR_WIDTH) // LANE_WIDTH)
        return range(min(left, self.lane), max(right, self.lane) + 1)


class Road:
    """Seven lanes with 20 cars, of which the first are driven by actions. Everything is simulated frame by frame."""

    def __init__(self, generator: np.random.Generator, learners: int = 1) -> None:
        """Place the cars at random, with some distance between them.

        Args:
            generator: Generator of all random numbers.
            learners: Number of cars that are driven by actions.
        """
        self.generator = generator
        self.learners = learners
        self.cars = [Car(LANES // 2, EGO_Y, MAX_FACTOR)]
        free = np.ones((LANES, ROWS), bool)
        free[LANES // 2, int(EGO_Y / ROW_LENGTH) - CAR_ROWS :] = False
        for number in range(1, NUM_CARS):
            lane, row = divmod(int(generator.choice(np.flatnonzero(free))), ROWS)
            factor = 1.7 if number < learners else self._random_factor()
            self.cars.append(Car(lane, ROW_LENGTH * row, factor))
            free[lane, max(row - CAR_ROWS, 0) : row + 3 * CAR_ROWS] = False
        self.cells: list[float] = []  # speeds of the cars on the cells, lane by lane
        self._write_cells()

    def act(self, number: int, action: int) -> None:
        """Apply an action of a learner once."""
        car = self.cars[number]
        if action == ACCELERATE:
            car.factor = min(car.factor + GAS_STEP, MAX_FACTOR)
        elif action == DECELERATE:
            car.factor = max(car.factor - GAS_STEP, 0.0)
        elif action == LEFT:
            self._change_lane(car, -1)
        elif action == RIGHT:
            self._change_lane(car, 1)

    def advance(self, draws: list[float]) -> None:
        """Simulate one frame: all cars move, the safety systems limit the speeds, and some cars change lane.

        Args:
            draws: A random number in [0, 1) for each car. Cars without a learner change lane if it is large.
        """
        self._move()
        self._write_cells()
        for number, car in enumerate(self.cars):
            self._limit_by_cells(car)
            if number >= self.learners and draws[number] > 0.99 + 0.004 * car.following:
                side = -1 if self.generator.random() < 0.5 else 1
                self._change_lane(car, side)
        self._limit_by_gaps()

    def _move(self) -> None:
        """Move all cars. The camera moves with car 0."""
        camera = CAMERA_SPEED - (self.cars[EGO].y - EGO_Y)
        for number, car in enumerate(self.cars):
            car.y += camera - car.speed
            sideways = middle_of(car.lane) - car.x
            if sideways:
                car.x = middle_of(car.lane) if abs(sideways) < GLIDE else car.x + math.copysign(GLIDE, sideways)
            if not -2 * CAR_LENGTH <= car.y <= ROW_LENGTH * ROWS + 2 * CAR_LENGTH:
                self._enter_again(number)

    def _enter_again(self, number: int) -> None:
        """Let a car that has left the road enter at the other end, in a random lane.

        If another car is there, the car tries again in the next frame.
        """
        car = self.cars[number]
        lane = int(self.generator.integers(LANES))
        y = ROW_LENGTH * ROWS + CAR_LENGTH if car.y < 0 else -CAR_LENGTH
        room = CAR_LENGTH + ROW_LENGTH
        if any(abs(other.y - y) < room and lane in other.lanes() for other in self.cars if other is not car):
            return
        car.lane = lane
        car.x = middle_of(lane)
        car.y = y
        if number >= self.learners:
            car.factor = self._random_factor()

    def _write_cells(self) -> None:
        """Write the speed of each car into the cells that the car holds."""
        self.cells = [EMPTY] * (LANES * ROWS_IN_ALL)
        for car in self.cars:
            row = _row_with_margin(car.y)
            left = int(car.x / LANE_WIDTH)
            right = int((car.x + 10) / LANE_WIDTH)
            first = left * ROWS_IN_ALL + row
            self.cells[first : first + CAR_ROWS] = [car.speed] * CAR_ROWS
            if right != left:
                first = right * ROWS_IN_ALL + row
                self.cells[first : first + CAR_ROWS] = [car.speed] * CAR_ROWS

    def _limit_by_cells(self, car: Car) -> None:
        """Set `following` from the cars on the four cells ahead: the smallest of 2, (d - 1) / 2 and v / factor.

        d is the distance of a car in cells, 1 to 4, and v its speed.
        """
        lane = int((car.x + CAR_WIDTH / 2) / LANE_WIDTH)
        cell = lane * ROWS_IN_ALL + _row_with_margin(car.y)
        car.following = MAX_FOLLOWING
        ahead = self.cells[cell - LOOK_AHEAD : cell]
        if ahead != FREE_AHEAD:
            for distance in range(1, LOOK_AHEAD + 1):
                speed = ahead[LOOK_AHEAD - distance]
                if speed < EMPTY:
                    car.following = min(car.following, 0.5 * (distance - 1))
                    if speed < car.following * car.factor:
                        car.following = speed / car.factor
        car.speed = car.following * car.factor

    def _limit_by_gaps(self) -> None:
        """Stop cars before they touch one ahead whose lanes overlap with theirs.

        The cells alone do not prevent this: a car that changes lane holds cells of its target lane late.
        """
        by_position = sorted(self.cars, key=_y_of)
        reach = CAR_LENGTH + MAX_FOLLOWING * MAX_FACTOR
        for index in range(1, NUM_CARS):
            car = by_position[index]
            for other_index in range(index - 1, -1, -1):
                other = by_position[other_index]
                distance = car.y - other.y
                if distance > reach:
                    break
                gap = distance - CAR_LENGTH
                if max(gap, 0.0) < car.speed and _overlap(car.lanes(), other.lanes()):
                    car.speed = max(gap, 0.0)
                    car.following = car.speed / car.factor

    def _change_lane(self, car: Car, side: int) -> None:
        """Begin to change lane, if the car is in the middle of its lane and the target lane has room."""
        target = car.lane + side
        if not 0 <= target < LANES or abs(car.x - middle_of(car.lane)) >= 0.5:
            return
        first = car.y / ROW_LENGTH - 3 * car.factor
        last = car.y / ROW_LENGTH + CAR_ROWS - 1
        if first < 0 or last >= ROWS:
            return
        start = target * ROWS_IN_ALL + MARGIN
        needed = self.cells[start + int(first) : start + int(last) + 1]
        if needed.count(EMPTY) < len(needed):
            return
        if any(abs(other.y - car.y) < CAR_LENGTH and target in other.lanes() for other in self.cars):
            return
        car.lane = target

    def view(self, number: int, lanes_side: int, ahead: int, behind: int) -> NDArray[np.float32]:
        """Return the map of speeds around a car, f32[2 * lanes_side + 1, ahead + behind].

        A cell holds the speed of the car on it in pixels a frame, 100 if it is empty, and 0 if it is not on the visible
        road. Cells ahead come first.
        """
        car = self.cars[number]
        row = math.floor(car.y / ROW_LENGTH)
        cells = np.array(self.cells, np.float32).reshape(LANES, ROWS_IN_ALL)[:, MARGIN : MARGIN + ROWS]
        result = np.zeros((2 * lanes_side + 1, ahead + behind), np.float32)
        first_lane = max(car.lane - lanes_side, 0)
        last_lane = min(car.lane + lanes_side, LANES - 1)
        first_row = min(max(row - ahead, 0), ROWS)
        last_row = min(max(row + behind, 0), ROWS)
        lane_shift = car.lane - lanes_side
        row_shift = row - ahead
        result[
            first_lane - lane_shift : last_lane - lane_shift + 1,
            first_row - row_shift : last_row - row_shift,
        ] = cells[first_lane : last_lane + 1, first_row:last_row]
        return result

    def _random_factor(self) -> float:
        """Return the factor of a car without a learner: 40 to 54 mph."""
        return 1.0 + 0.35 * self.generator.random()


class Traffic(gymnasium.Env):
    """Drive car 0 of a `Road`. A step is one decision: 30 frames.

    Observation: float32[(2 * lanes_side + 1) * (patches_ahead + patches_behind)], the map of speeds around the car
    divided by 100, lane by lane from the left, the farthest cell ahead first. An empty cell is 1, a cell that is not on
    the visible road 0, and a car of 80 mph 0.04.

    Actions: 0 nothing, 1 accelerate, 2 decelerate, 3 change to the left lane, 4 to the right lane. An action is applied
    once, in the first of the 30 frames: the factor changes by 0.02, or a lane change is tried.

    Reward: (sum of the 30 speeds in pixels a frame - 60) / 20, that is 3 at 80 mph and 0 at 40. `info["mph"]` is the
    mean speed of the episode so far.

    With several learners, the observation holds their maps one after the other, the action is one number for each, and
    reward and `info["mph"]` are means over them.

    The registered id ends an episode after 67 decisions. The optimum is not known.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's interface

    def __init__(
        self,
        lanes_side: int = 3,
        patches_ahead: int = 50,
        patches_behind: int = 10,
        learners: int = 1,
        render_mode: str | None = None,
    ) -> None:
        """Create the road.

        Args:
            lanes_side: Lanes that the agent sees on each side of its own, 0 to 6.
            patches_ahead: Cells that the agent sees ahead, 1 to 60.
            patches_behind: Cells that the agent sees from its own front backwards, 0 to 60.
            learners: Cars that are driven by actions, 1 to 11.
            render_mode: None or "rgb_array".

        Raises:
            EnvError: An argument is out of its range.
        """
        self.lanes_side = parameters.whole_number("lanes_side", lanes_side, 0, LANES - 1)
        self.patches_ahead = parameters.whole_number("patches_ahead", patches_ahead, 1, 60)
        self.patches_behind = parameters.whole_number("patches_behind", patches_behind, 0, 60)
        self.learners = parameters.whole_number("learners", learners, 1, MAX_LEARNERS)
        self.render_mode = parameters.render_mode(render_mode)
        cells = (2 * lanes_side + 1) * (patches_ahead + patches_behind)
        self.observation_space = Box(0.0, 1.0, (learners * cells,), np.float32)
        self.action_space = Discrete(5) if learners == 1 else MultiDiscrete([5] * learners)
        self.road = Road(np.random.default_rng(0), learners)
        self.frames = 0
        self.distance = 0.0  # pixels that the learners have driven, mean over the learners
        self.ego_distance = 0.0  # those of car 0
        self.last_actions = [NOTHING] * learners

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Place all cars anew, and simulate one frame."""
        super().reset(seed=seed)
        self.road = Road(self.np_random, self.learners)
        self.frames = 0
        self.distance = 0.0
        self.ego_distance = 0.0
        self.last_actions = [NOTHING] * self.learners
        self._advance(1)
        return self._obs(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Apply the action of each learner once, and simulate 30 frames."""
        self.last_actions = [int(part) for part in np.atleast_1d(action)]
        for number, part in enumerate(self.last_actions):
            self.road.act(number, part)
        distance = self._advance(FRAMES_PER_DECISION)
        reward = (distance - 2 * FRAMES_PER_DECISION) / 20
        return self._obs(), reward, False, False, self._info()

    def _advance(self, frames: int) -> float:
        """Simulate frames. Returns: pixels that a learner has driven, mean over the learners."""
        distance = 0.0
        learners = self.road.cars[: self.learners]
        for draws in self.np_random.random((frames, NUM_CARS)).tolist():
            self.road.advance(draws)
            self.ego_distance += learners[EGO].speed
            for car in learners:
                distance += car.speed
        distance /= self.learners
        self.frames += frames
        self.distance += distance
        return distance

    def _obs(self) -> NDArray[np.float32]:
        views = [
            self.road.view(number, self.lanes_side, self.patches_ahead, self.patches_behind).ravel()
            for number in range(self.learners)
        ]
        return np.concatenate(views) / np.float32(EMPTY)

    def _info(self) -> dict[str, Any]:
        return {"mph": MPH * self.distance / self.frames}

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[585, 430, 3] of the road, with speeds beside it."""
        return draw_traffic(self)


def middle_of(lane: int) -> float:
    """Return the x-coordinate of a car in the middle of a lane."""
    return LANE_WIDTH * lane + 4


def _row_with_margin(y: float) -> int:
    """Return the row of cells of a car's front. Row 0 is `MARGIN` rows before the visible road."""
    row = math.floor(y / ROW_LENGTH) + MARGIN
    return min(max(row, LOOK_AHEAD), ROWS_IN_ALL - CAR_ROWS)


def _y_of(car: Car) -> float:
    return car.y


def _overlap(a: range, b: range) -> bool:
    """Return True if two ranges of lanes have a lane in common."""
    return a.start < b.stop and b.start < a.stop


def nearest_ahead(view: NDArray[np.float32], lane: int, patches_ahead: int) -> tuple[int, float]:
    """Return the distance in cells to the nearest car ahead in a lane of a view, and its speed in pixels a frame.

    Without a car, these are the length of the view and the top speed.

    Args:
        view: A learner's map of speeds divided by 100, f32[lanes, rows].
        lane: Index of the lane in the view.
        patches_ahead: Rows of the view that are ahead.
    """
    rows_ahead = view[lane, :patches_ahead][::-1]
    cars = np.flatnonzero((rows_ahead < 1) & (rows_ahead > 0))
    if len(cars) == 0:
        return patches_ahead, MAX_FOLLOWING * MAX_FACTOR
    return int(cars[0]) + 1, float(rows_ahead[cars[0]]) * EMPTY


def emptiest_of_three_lanes(view: NDArray[np.float32], patches_ahead: int) -> int:
    """Return the action towards the lane, of the own and its two neighbours, with the longest free distance ahead.

    Args:
        view: The map of speeds divided by 100, f32[lanes, rows].
        patches_ahead: Rows of the view that are ahead.
    """
    own = len(view) // 2
    best, action = nearest_ahead(view, own, patches_ahead)[0], NOTHING
    for lane, change in ((own - 1, LEFT), (own + 1, RIGHT)):
        distance = nearest_ahead(view, lane, patches_ahead)[0]
        if _is_on_road(view, lane, patches_ahead) and distance > best:
            best, action = distance, change
    return action


def best_of_all_lanes(view: NDArray[np.float32], patches_ahead: int) -> int:
    """Return the action towards the lane of the view with the highest merit.

    The merit of a lane is the free distance in cells plus 1.5 times the speed of the car ahead in pixels a frame, less
    2 for each lane that has to be crossed.

    Args:
        view: The map of speeds divided by 100, f32[lanes, rows].
        patches_ahead: Rows of the view that are ahead.
    """
    own = len(view) // 2
    merits = np.full(len(view), -np.inf)
    for lane in range(len(view)):
        if _is_on_road(view, lane, patches_ahead):
            distance, speed = nearest_ahead(view, lane, patches_ahead)
            merits[lane] = distance + 1.5 * speed - 2 * abs(lane - own)
    best = int(merits.argmax())
    if merits[best] == merits[own]:
        return ACCELERATE
    return LEFT if best < own else RIGHT


def _is_on_road(view: NDArray[np.float32], lane: int, patches_ahead: int) -> bool:
    """Return True if a lane of a view is a lane of the road."""
    return 0 <= lane < len(view) and bool(view[lane, patches_ahead - 1] > 0)


ROAD_COLOR = (74, 80, 88)
VERGE_COLOR = (150, 176, 140)
LINE_COLOR = (158, 164, 170)
EGO_COLOR = (214, 86, 72)
LEARNER_COLOR = (226, 160, 70)
OTHER_COLOR = (226, 230, 234)
ACTION_NAMES = ("nothing", "accelerate", "decelerate", "left", "right")


def draw_traffic(env: Traffic) -> NDArray[np.uint8]:
    """Return a picture u8[585, 430, 3] of the road around car 0: the car red, other learners orange."""
    road = _draw_road(env)
    height = road.shape[0]
    panel = np.full((height, PANEL_WIDTH, 3), (246, 247, 248), np.uint8)
    ego = env.road.cars[EGO]
    write_text(panel, f"{MPH * ego.speed:.0f}", (20, 70), 1.8)
    write_text(panel, "mph now", (24, 98), 0.5)
    write_text(panel, f"{MPH * env.distance / max(env.frames, 1):.1f}", (20, 180), 1.3)
    write_text(panel, "mph on average", (24, 206), 0.5)
    write_text(panel, ACTION_NAMES[env.last_actions[0]], (22, 280), 0.65)
    write_text(panel, "last action", (24, 304), 0.5)
    write_text(panel, f"frame {env.frames}", (24, height - 24), 0.5)
    return np.concatenate([road, panel], 1)


def _draw_road(env: Traffic) -> NDArray[np.uint8]:
    """Return a picture u8[585, 230, 3] of the lower part of the road."""
    width = int(PICTURE_SCALE * LANES * LANE_WIDTH)
    height = int(PICTURE_SCALE * (ROW_LENGTH * ROWS - PICTURE_TOP))
    picture = np.full((height, width + 20, 3), VERGE_COLOR, np.uint8)
    picture[:, 10 : width + 10] = ROAD_COLOR
    offset = int(PICTURE_SCALE * env.ego_distance) % 30
    for lane in range(1, LANES):
        x = 10 + int(PICTURE_SCALE * LANE_WIDTH * lane)
        for y in range(offset - 30, height, 30):
            cv2.line(picture, (x, y), (x, y + 11), LINE_COLOR, 1)
    for number in range(NUM_CARS - 1, -1, -1):
        color = LEARNER_COLOR if number < env.learners else OTHER_COLOR
        if number == EGO:
            color = EGO_COLOR
        _draw_car(picture, env.road.cars[number], color)
    return picture


def _draw_car(picture: NDArray[np.uint8], car: Car, color: tuple[int, int, int]) -> None:
    """Draw a car, with its speed in mph."""
    left = 10 + round(PICTURE_SCALE * car.x)
    top = round(PICTURE_SCALE * (car.y - PICTURE_TOP))
    right = left + round(PICTURE_SCALE * CAR_WIDTH)
    bottom = top + round(PICTURE_SCALE * CAR_LENGTH)
    dark = tuple(int(0.62 * part) for part in color)
    cv2.rectangle(picture, (left, top), (right, bottom), color, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (left + 3, top + 12), (right - 3, top + 19), dark, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (left + 3, bottom - 8), (right - 3, bottom - 4), dark, -1, cv2.LINE_AA)
    write_text(picture, f"{MPH * car.speed:.0f}", (left + 3, bottom - 15), 0.38)
