"""Measure the scripted policies of Traffic-v0: 500 runs of 2,000 frames each, as the competition DeepTraffic does.

python scripts/traffic_scores.py                   # all policies, a few minutes; writes results/policies/traffic.json
python scripts/traffic_scores.py --runs 50 --policies nothing random

`Roads` simulates many roads at once with numpy. A test compares it with the environment frame by frame.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.worlds.traffic import (
    CAMERA_SPEED,
    CAR_LENGTH,
    CAR_ROWS,
    CAR_WIDTH,
    DECELERATE,
    EGO,
    EGO_Y,
    EMPTY,
    FRAMES_PER_DECISION,
    GLIDE,
    LANE_WIDTH,
    LANES,
    LEFT,
    LOOK_AHEAD,
    MARGIN,
    MAX_FACTOR,
    MAX_FOLLOWING,
    MPH,
    NOTHING,
    NUM_CARS,
    RIGHT,
    ROW_LENGTH,
    ROWS,
    ROWS_IN_ALL,
    Road,
    best_of_all_lanes,
    emptiest_of_three_lanes,
)

RESULTS = Path(__file__).parents[1] / "results" / "policies" / "traffic.json"
DECISIONS = 67
SIDE, AHEAD, BEHIND = 3, 40, 10
"""The view: lanes to each side, cells ahead and behind."""

View = NDArray[np.float32]
Policy = Callable[[View, np.random.Generator], int]

POLICIES: dict[str, Policy] = {
    "decelerate": lambda view, rng: DECELERATE,
    "nothing": lambda view, rng: NOTHING,
    "random": lambda view, rng: int(rng.integers(5)),
    "random lane changes": lambda view, rng: LEFT + int(rng.integers(2)),
    "emptiest of three lanes": lambda view, rng: emptiest_of_three_lanes(view, AHEAD),
    "best of all lanes": lambda view, rng: best_of_all_lanes(view, AHEAD),
}


class Roads:
    """Many roads with one learner each. Every array has the shape [roads, cars], and the rules are those of `Road`.

    Rare events (a car enters again, or changes lane) are simulated one by one, because they draw random numbers.
    """

    def __init__(self, seeds: list[int]) -> None:
        """Create the roads that `Traffic.reset` creates with these seeds, before the first frame."""
        self.generators = [np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))) for seed in seeds]
        roads = [Road(generator) for generator in self.generators]
        self.size = len(roads)

        def read(name: str, dtype: Any = np.float64) -> NDArray[Any]:
            return np.array([[getattr(car, name) for car in road.cars] for road in roads], dtype)

        self.x, self.y, self.factor, self.following, self.speed = map(read, ("x", "y", "factor", "following", "speed"))
        self.lane = read("lane", np.int64)
        self.cells = np.zeros((self.size, LANES, ROWS_IN_ALL))
        self._write_cells()

    def act(self, actions: NDArray[np.int64]) -> None:
        """Apply an action of each learner once."""
        factor = self.factor[:, EGO]
        factor[actions == 1] = np.minimum(factor[actions == 1] + 0.02, MAX_FACTOR)
        factor[actions == DECELERATE] = np.maximum(factor[actions == DECELERATE] - 0.02, 0.0)
        for road in np.flatnonzero((actions == LEFT) | (actions == RIGHT)).tolist():
            self._change_lane(road, EGO, -1 if actions[road] == LEFT else 1)

    def advance(self, draws: NDArray[np.float64]) -> None:
        """Simulate one frame.

        Args:
            draws: A random number in [0, 1) for each car, f64[roads, cars].
        """
        self._move()
        self._write_cells()
        self._limit_by_cells()
        changes = draws > 0.99 + 0.004 * self.following
        changes[:, EGO] = False
        for road, car in np.argwhere(changes):
            side = -1 if self.generators[road].random() < 0.5 else 1
            self._change_lane(road, car, side)
        self._limit_by_gaps()

    def _move(self) -> None:
        """Move all cars, and let cars that have left the road enter again."""
        old_x, old_y = self.x.copy(), self.y.copy()
        camera = CAMERA_SPEED - (self.y[:, [EGO]] - EGO_Y)
        self.y = self.y + (camera - self.speed)
        target = LANE_WIDTH * self.lane + 4
        sideways = target - self.x
        gliding = self.x + np.copysign(GLIDE, sideways)
        self.x = np.where(np.abs(sideways) < GLIDE, target, gliding)
        gone = ~((self.y >= -2 * CAR_LENGTH) & (self.y <= ROW_LENGTH * ROWS + 2 * CAR_LENGTH))
        for road, car in np.argwhere(gone):
            self._enter_again(road, car, old_x[road], old_y[road])

    def _enter_again(self, road: int, car: int, old_x: NDArray[np.float64], old_y: NDArray[np.float64]) -> None:
        """Let a car enter at the other end. The cars after it have not moved yet in this frame."""
        generator = self.generators[road]
        lane = int(generator.integers(LANES))
        y = ROW_LENGTH * ROWS + CAR_LENGTH if self.y[road, car] < 0 else -CAR_LENGTH
        x_now = np.concatenate([self.x[road, : car + 1], old_x[car + 1 :]])
        y_now = np.concatenate([self.y[road, : car + 1], old_y[car + 1 :]])
        near = np.abs(y_now - y) < CAR_LENGTH + ROW_LENGTH
        near[car] = False
        if any(self._touches(x_now[other], self.lane[road, other], lane) for other in np.flatnonzero(near)):
            return
        self.lane[road, car] = lane
        self.x[road, car] = LANE_WIDTH * lane + 4
        self.y[road, car] = y
        if car != EGO:
            self.factor[road, car] = 1.0 + 0.35 * generator.random()

    @staticmethod
    def _touches(x: float, car_lane: int, lane: int) -> bool:
        """Return True if a car at x, in or on the way to `car_lane`, touches a lane."""
        left = min(int(x // LANE_WIDTH), car_lane)
        right = max(int((x + CAR_WIDTH) // LANE_WIDTH), car_lane)
        return left <= lane <= right

    def _rows(self) -> NDArray[np.int64]:
        """Return the row of cells of the front of each car."""
        rows = np.floor(self.y / ROW_LENGTH).astype(np.int64) + MARGIN
        return np.clip(rows, LOOK_AHEAD, ROWS_IN_ALL - CAR_ROWS)

    def _write_cells(self) -> None:
        """Write the speeds into the cells. Where two cars hold a cell, the later car wins."""
        self.cells[:] = EMPTY
        rows = self._rows()
        left = (self.x / LANE_WIDTH).astype(np.int64)
        right = ((self.x + 10) / LANE_WIDTH).astype(np.int64)
        every_road = np.arange(self.size)
        behind = np.arange(CAR_ROWS)
        for car in range(NUM_CARS):
            places = rows[:, car, None] + behind
            speeds = self.speed[:, car, None]
            self.cells[every_road[:, None], left[:, car, None], places] = speeds
            self.cells[every_road[:, None], right[:, car, None], places] = speeds

    def _limit_by_cells(self) -> None:
        """Set `following` and the speed from the four cells ahead."""
        lane = ((self.x + CAR_WIDTH / 2) / LANE_WIDTH).astype(np.int64)
        rows = self._rows()
        road = np.arange(self.size)[:, None]
        self.following = np.full_like(self.x, MAX_FOLLOWING)
        for distance in range(1, LOOK_AHEAD + 1):
            ahead = self.cells[road, lane, rows - distance]
            taken = ahead < EMPTY
            self.following = np.where(taken, np.minimum(self.following, 0.5 * (distance - 1)), self.following)
            slower = taken & (ahead < self.following * self.factor)
            self.following[slower] = ahead[slower] / self.factor[slower]
        self.speed = self.following * self.factor

    def _limit_by_gaps(self) -> None:
        """Stop cars before they touch one ahead whose lanes overlap with theirs."""
        left = np.minimum((self.x // LANE_WIDTH).astype(np.int64), self.lane)
        right = np.maximum(((self.x + CAR_WIDTH) // LANE_WIDTH).astype(np.int64), self.lane)
        distance = self.y[:, :, None] - self.y[:, None, :]  # [roads, car, car ahead]
        reach = CAR_LENGTH + MAX_FOLLOWING * MAX_FACTOR
        near = (distance > 0) & (distance <= reach)
        road, car, ahead = np.nonzero(near)
        overlap = (left[road, car] <= right[road, ahead]) & (left[road, ahead] <= right[road, car])
        for r, c, a in zip(road[overlap], car[overlap], ahead[overlap], strict=True):
            gap = max(self.y[r, c] - self.y[r, a] - CAR_LENGTH, 0.0)
            if gap < self.speed[r, c]:
                self.speed[r, c] = gap
                self.following[r, c] = gap / self.factor[r, c]

    def _change_lane(self, road: int, car: int, side: int) -> None:
        """Begin to change lane, if the car is in the middle of its lane and the target lane has room."""
        lane = int(self.lane[road, car])
        target = lane + side
        x, y = self.x[road, car], self.y[road, car]
        if not 0 <= target < LANES or abs(x - (LANE_WIDTH * lane + 4)) >= 0.5:
            return
        first = y / ROW_LENGTH - 3 * self.factor[road, car]
        last = y / ROW_LENGTH + CAR_ROWS - 1
        if first < 0 or last >= ROWS:
            return
        if (self.cells[road, target, MARGIN + int(first) : MARGIN + int(last) + 1] < EMPTY).any():
            return
        beside = np.flatnonzero(np.abs(self.y[road] - y) < CAR_LENGTH)
        if any(self._touches(self.x[road, other], self.lane[road, other], target) for other in beside):
            return
        self.lane[road, car] = target

    def views(self) -> View:
        """Return the maps around the learners divided by 100, f32[roads, lanes, rows]."""
        visible = self.cells[:, :, MARGIN : MARGIN + ROWS].astype(np.float32) / np.float32(EMPTY)
        padded = np.zeros((self.size, LANES + 2 * SIDE, ROWS + AHEAD + BEHIND), np.float32)
        padded[:, SIDE : SIDE + LANES, AHEAD : AHEAD + ROWS] = visible
        lanes = self.lane[:, EGO, None] + np.arange(2 * SIDE + 1)
        rows = np.floor(self.y[:, EGO] / ROW_LENGTH).astype(np.int64)[:, None] + np.arange(AHEAD + BEHIND)
        return padded[np.arange(self.size)[:, None, None], lanes[:, :, None], rows[:, None, :]]


def measure(policy: Policy, runs: int) -> NDArray[np.float64]:
    """Return the mean speed in mph of each run, with the seeds 0, 1, ...

    A run has one frame before the first decision, and then 30 for each of 67 decisions, as an episode of Traffic-v0.
    """
    roads = Roads(list(range(runs)))
    generators = [np.random.default_rng(seed) for seed in range(runs)]
    distance = np.zeros(runs)

    def advance(frames: int) -> None:
        draws = np.stack([generator.random((frames, NUM_CARS)) for generator in roads.generators])
        for frame in range(frames):
            roads.advance(draws[:, frame])
            distance[:] += roads.speed[:, EGO]

    advance(1)
    for _ in range(DECISIONS):
        views = roads.views()
        actions = [policy(view, generator) for view, generator in zip(views, generators, strict=True)]
        roads.act(np.array(actions))
        advance(FRAMES_PER_DECISION)
    return MPH * distance / (1 + DECISIONS * FRAMES_PER_DECISION)


def median_error(scores: NDArray[np.float64]) -> float:
    """Return the standard error of a median, by 2,000 bootstrap samples."""
    generator = np.random.default_rng(0)
    samples = generator.choice(scores, (2_000, len(scores)))
    return float(np.median(samples, 1).std())


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = {}
    for name in options.policies:
        start = time.process_time()
        scores = measure(POLICIES[name], options.runs)
        results[name] = {
            "runs": options.runs,
            "median": round(float(np.median(scores)), 2),
            "median_error": round(median_error(scores), 2),
            "mean": round(float(scores.mean()), 2),
            "mean_error": round(float(scores.std(ddof=1)) / math.sqrt(options.runs), 2),
            "cpu_seconds": round(time.process_time() - start, 1),
        }
        print(name, results[name], flush=True)
        options.out.write_text(json.dumps({"view": [SIDE, AHEAD, BEHIND], "policies": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
