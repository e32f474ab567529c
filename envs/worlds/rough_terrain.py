"""RoughHopper-v0 and RoughWalker2d-v0: MuJoCo's Hopper and Walker2d on uneven ground that gets harder along the way.

N. Heess et al., "Emergence of locomotion behaviours in rich environments" (DPPO), 2017, draw new ground for each
episode. The agent sees the ground ahead, and the difficulty grows along the track. The ground here follows this idea.
The rewards are Gymnasium's, not those of the paper.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from envs.worlds import parameters
from envs.worlds.drawing import BLUE, GREEN, GREY, INK, ORANGE, RED, WIDTH, Area, Picture
from envs.worlds.extras import import_extra

mujoco = import_extra("mujoco", "RoughHopper-v0 and RoughWalker2d-v0", "mujoco")
HopperEnv = import_extra("gymnasium.envs.mujoco.hopper_v5", "RoughHopper-v0", "mujoco").HopperEnv
Walker2dEnv = import_extra("gymnasium.envs.mujoco.walker2d_v5", "RoughWalker2d-v0", "mujoco").Walker2dEnv

CELL = 0.1
"""Distance between two points of the height field, in metres."""
TRACK_START = -10.0
TRACK_END = 100.0
"""x-coordinates of both ends of the height field, in metres. An episode of 1,000 steps (8 s) does not reach them."""
FLAT = 2.0
"""The ground is flat up to this x-coordinate, in metres."""
SPACING = 0.2
"""Distance between two points of the ground that the agent sees, in metres."""

TRACK = np.linspace(TRACK_START, TRACK_END, round((TRACK_END - TRACK_START) / CELL) + 1)
"""x-coordinates of the height field."""


class Terrain(NamedTuple):
    """How uneven the ground is."""

    height: float
    """Largest height, in metres."""
    ramp: float
    """Metres over which the height grows from 0 to `height`."""
    bump: float
    """Distance between two extremes of the ground, in metres."""

    def draw(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return the heights at the points of `TRACK`, in metres.

            h(x) = height * clip((x - FLAT) / ramp, 0, 1) * n(x)

        n is a random number, uniform in [0, 1], at each multiple of `bump`. Half a cosine joins two of them.
        """
        position = (TRACK - TRACK_START) / self.bump
        left = np.floor(position).astype(int)
        extremes = generator.random(left[-1] + 2)
        share = (1 - np.cos(np.pi * (position - left))) / 2
        noise = extremes[left] + share * (extremes[left + 1] - extremes[left])
        return self.height * np.clip((TRACK - FLAT) / self.ramp, 0, 1) * noise


class RoughTerrain(gymnasium.Env, EzPickle):
    """A robot of Gymnasium that moves in the plane of x and z, on uneven ground.

    Observation: float64, that of the robot, and then the height of the ground in metres at the points 0.2, 0.4, ...
    metres ahead of the torso. All heights, also that of the torso, are relative to the ground below the torso.

    Actions and reward are those of the robot. The robot is healthy if the height of its torso above the ground is in
    Gymnasium's range. `info["ground"]` is the height of the ground below the torso in metres.

    The registered ids end an episode after 1,000 steps of 8 ms. The optimum is not known.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 125}  # noqa: RUF012  # Gymnasium's interface
    robot_class: Any
    healthy_z_range: tuple[float, float]
    """Gymnasium's default heights of the torso above the ground in metres, at which the robot is healthy."""

    def __init__(
        self,
        height: float = 0.3,
        ramp: float = 20.0,
        bump: float = 1.0,
        points: int = 10,
        healthy_reward: float = 1.0,
        terminate_when_unhealthy: bool = True,
        render_mode: str | None = None,
        **robot_args: Any,
    ) -> None:
        """Create the robot and its ground.

        Args:
            height: Largest height of the ground in metres, 0 to 1.
            ramp: Metres over which the ground rises from flat to `height`, 0.1 to 1,000. This is the curriculum: an
                agent that falls early has met easy ground only.
            bump: Metres between two extremes of the ground, 0.2 to 10.
            points: Points of the ground that the agent sees, 0 to 50.
            healthy_reward: Reward of a step in which the robot is healthy.
            terminate_when_unhealthy: An episode ends when the robot is not healthy.
            render_mode: None or "rgb_array".
            robot_args: Further arguments of Gymnasium's robot.

        Raises:
            EnvError: An argument is out of its range.
        """
        EzPickle.__init__(
            self,
            height,
            ramp,
            bump,
            points,
            healthy_reward,
            terminate_when_unhealthy,
            render_mode,
            **robot_args,
        )
        self.terrain = Terrain(
            parameters.number("height", height, 0, 1),
            parameters.number("ramp", ramp, 0.1, 1_000),
            parameters.number("bump", bump, 0.2, 10),
        )
        self.points = parameters.whole_number("points", points, 0, 50)
        self.render_mode = parameters.render_mode(render_mode)
        self.healthy_reward = parameters.number("healthy_reward", healthy_reward, -np.inf)
        self.terminate_when_unhealthy = parameters.flag("terminate_when_unhealthy", terminate_when_unhealthy)
        # The robot alone would compare its height with z = 0, not with the ground below it.
        self.healthy_z_range = robot_args.pop("healthy_z_range", self.healthy_z_range)
        self.robot = self.robot_class(
            healthy_reward=healthy_reward,
            terminate_when_unhealthy=terminate_when_unhealthy,
            healthy_z_range=(-np.inf, np.inf),
            **robot_args,
        )
        self.robot.model = _model_on_terrain(self.robot.fullpath, self.terrain.height)
        self.robot.data = mujoco.MjData(self.robot.model)
        self.heights = np.zeros_like(TRACK)
        self.score = 0.0
        self.z_index = int(not robot_args.get("exclude_current_positions_from_observation", True))
        size = self.robot.observation_space.shape[0] + self.points
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = self.robot.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Draw new ground, and put the robot at x = 0, where the ground is flat."""
        super().reset(seed=seed)
        self.heights = self.terrain.draw(self.np_random)
        scale = self.terrain.height or 1.0
        self.robot.model.hfield_data[:] = np.tile(self.heights / scale, 2)
        obs, info = self.robot.reset(seed=seed)
        self.score = 0.0
        return self._obs(obs), {**info, "ground": self.ground()}

    def step(self, action: Any) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Simulate 8 ms."""
        obs, reward, terminated, truncated, info = self.robot.step(action)
        low, high = self.healthy_z_range
        has_height = low < self.z - self.ground() < high
        if not has_height and self.robot.is_healthy:  # Gymnasium's robot has counted this step as healthy
            reward -= self.healthy_reward
            info["reward_survive"] = 0.0
        terminated = bool(terminated or (self.terminate_when_unhealthy and not has_height))
        self.score += float(reward)
        return self._obs(obs), float(reward), terminated, truncated, {**info, "ground": self.ground()}

    def close(self) -> None:
        """Close the robot."""
        self.robot.close()

    @property
    def x(self) -> float:
        """Return the x-coordinate of the torso in metres."""
        return float(self.robot.data.qpos[0])

    @property
    def z(self) -> float:
        """Return the height of the torso above z = 0 in metres."""
        return float(self.robot.data.qpos[1])

    def ground(self) -> float:
        """Return the height of the ground below the torso in metres."""
        return float(np.interp(self.x, TRACK, self.heights))

    def _obs(self, obs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the observation of the robot with heights relative to the ground, and the ground ahead."""
        ground = self.ground()
        ahead = self.x + SPACING * np.arange(1, self.points + 1)
        result = np.concatenate([obs, np.interp(ahead, TRACK, self.heights) - ground])
        result[self.z_index] -= ground
        return result

    def render(self) -> NDArray[np.uint8]:
        """Return a picture u8[400, 500, 3] of the robot from the side, and of the whole track below."""
        return draw_robot(self)


class RoughHopper(RoughTerrain):
    """Gymnasium's Hopper-v5 on uneven ground. Observation: float64[11 + points]. Actions: float32[3]."""

    robot_class = HopperEnv
    healthy_z_range = (0.7, float("inf"))


class RoughWalker2d(RoughTerrain):
    """Gymnasium's Walker2d-v5 on uneven ground. Observation: float64[17 + points]. Actions: float32[6]."""

    robot_class = Walker2dEnv
    healthy_z_range = (0.8, 2.0)


def _model_on_terrain(path: str, height: float) -> Any:
    """Return the model of a robot whose floor is a height field over `TRACK`.

    Args:
        path: Path of the robot's XML file. It has a geom with the name "floor".
        height: Height in metres at which the data of the height field is 1.
    """
    spec = mujoco.MjSpec.from_file(path)
    middle = (TRACK_START + TRACK_END) / 2
    half_length = (TRACK_END - TRACK_START) / 2
    half_width = 5.0
    depth = 1.0  # of the ground below z = 0, in metres
    spec.add_hfield(
        name="terrain",
        nrow=2,
        ncol=len(TRACK),
        size=[half_length, half_width, height or 1.0, depth],
        userdata=np.zeros(2 * len(TRACK)),
    )
    floor = spec.geom("floor")
    floor.type = mujoco.mjtGeom.mjGEOM_HFIELD
    floor.hfieldname = "terrain"
    floor.pos = [middle, 0, 0]
    return spec.compile()


METRE = 130
"""Pixels of a metre in the picture."""
CENTRE = 200
"""x-coordinate of the torso in the picture, in pixels."""
GROUND_ROW = 300
"""y-coordinate of z = 0 in the picture, in pixels."""


def draw_robot(env: RoughTerrain) -> NDArray[np.uint8]:
    """Return a picture u8[400, 500, 3]: the robot and the ground from the side, and the whole track below."""
    picture = Picture()
    left = env.x - CENTRE / METRE
    columns = left + np.arange(WIDTH) / METRE
    rows = np.rint(GROUND_ROW - METRE * np.interp(columns, TRACK, env.heights)).astype(int)
    for column, row in enumerate(rows):
        picture.rectangle(Area(column, row, column + 1, GROUND_ROW + 30), SOIL)
    for metre in range(int(np.ceil(left)), int(left + WIDTH / METRE) + 1):
        column = round((metre - left) * METRE)
        picture.rectangle(Area(column, GROUND_ROW + 18, column + 1, GROUND_ROW + 30), INK)
        picture.centred_text(f"{metre} m", column, GROUND_ROW + 44)
    for geom in range(env.robot.model.ngeom):
        if env.robot.model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            _draw_capsule(picture, env, geom, left)
    picture.text(f"x {env.x:.2f} m", 20, 24)
    picture.text(f"speed {env.robot.data.qvel[0]:.2f} m/s", 140, 24)
    picture.text(f"ground {env.ground():.2f} m", 280, 24)
    picture.text(f"score {env.score:.1f}", 400, 24)
    track = Area(20, 358, 480, 390)
    shown = (TRACK >= 0) & (TRACK <= TRACK_SHOWN)
    picture.axis(track)
    picture.line(track, env.heights[shown].tolist(), int(shown.sum()), 0, max(env.terrain.height, 0.1), SOIL)
    column = round(track.left + (track.right - track.left) * min(max(env.x / TRACK_SHOWN, 0.0), 1.0))
    picture.rectangle(Area(column - 1, track.top - 4, column + 2, track.bottom), RED)
    return picture.pixels


TRACK_SHOWN = 40.0
"""Metres of the track that the lower part of the picture shows."""
SOIL = (150, 128, 96)
PARTS = {"torso": BLUE, "thigh": ORANGE, "leg": GREEN, "foot": INK}
"""Colour of the parts of a robot by the beginning of their names. The left leg of Walker2d is grey."""


def _draw_capsule(picture: Picture, env: RoughTerrain, geom: int, left: float) -> None:
    """Draw a capsule from the side: a thick line with round ends.

    Args:
        picture: The picture.
        env: The environment.
        geom: Index of the capsule in the model.
        left: x-coordinate of the left edge of the picture in metres.
    """
    model, data = env.robot.model, env.robot.data
    name = model.geom(geom).name
    radius, half_length = model.geom_size[geom][:2]
    axis = data.geom_xmat[geom].reshape(3, 3)[:, 2]
    ends = []
    for sign in (-1, 1):
        x, _, z = data.geom_xpos[geom] + sign * half_length * axis
        ends.append((round((x - left) * METRE), round(GROUND_ROW - z * METRE)))
    color = GREY if "left" in name else next((PARTS[part] for part in PARTS if name.startswith(part)), INK)
    cv2.line(picture.pixels, ends[0], ends[1], color, round(2 * radius * METRE), cv2.LINE_AA)
