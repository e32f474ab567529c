"""The environment specification: the settings behind a name given to `--env`, printed and saved with each run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from envs.options import DEFAULT_OPTIONS, EnvOptions

AtariProtocol = Literal["classic", "machado", "v5", "id"]
"""Protocol of an Atari game, see `envs/atari.py`. "id" means the settings of the Gymnasium id."""

View = Literal["grey", "binary", "pixels"]
"""What an agent sees: the preprocessed observations of the environment; of Atari's Pong, the playing field as 80 x 80
zeros and ones; or the rendered picture in place of the observations."""


@dataclass(frozen=True)
class PackedObservation:
    """Where the parts of an observation lie in a row of bytes: vectors, an image or planes, and an action mask.

    The bytes are, in this order: the entries of all vectors as float32, the image or planes [C, H, W], the mask with
    one bit for each action (the first action in the lowest bit), and zeros up to a multiple of four bytes. With planes
    of type float32 nothing else changes. So a whole observation is one array of type uint8, and a stored observation is
    exact.
    """

    vector: int  # entries of all vectors
    spatial: tuple[int, ...]  # shape [C, H, W] of the image or planes; () if there are none
    spatial_kind: Literal["image", "planes"]
    spatial_dtype: Literal["uint8", "float32"]
    num_masked: int  # actions in the mask; 0 without a mask

    @property
    def num_spatial(self) -> int:
        """Return the number of entries of the image or planes."""
        return math.prod(self.spatial) if self.spatial else 0

    @property
    def num_floats(self) -> int:
        """Return the number of entries of type float32 at the beginning."""
        return self.vector + (self.num_spatial if self.spatial_dtype == "float32" else 0)

    @property
    def mask_start(self) -> int:
        """Return the index of the first byte of the mask."""
        return 4 * self.num_floats + (self.num_spatial if self.spatial_dtype == "uint8" else 0)

    @property
    def num_bytes(self) -> int:
        """Return the number of bytes, a multiple of 4."""
        mask_bytes = -(-self.num_masked // 8)
        return -(-(self.mask_start + mask_bytes) // 4) * 4


@dataclass(frozen=True)
class EnvSpec:
    """All settings that define an environment. Scores of two runs are comparable only if their specs are equal.

    The field names are the keys of env.json in run folders.
    """

    name: str  # short name: Pong, CartPole-v1
    id: str  # Gymnasium id; for Atari games the closest one: ALE/Pong-v5
    family: Literal["atari", "image", "planes", "vector"]  # selects the section of an agent's configuration file
    backend: Literal["ale", "gymnasium"]  # ALE's C++ threads, or Gymnasium's vector environments
    protocol: AtariProtocol
    frame: tuple[int, ...]  # shape of one observation, without frame stacking
    dtype: Literal["uint8", "float32"]  # type of the observations
    actions: tuple[str, ...]  # names of the actions, in the order of the agent's numbers; with `action_parts`, those of
    # each part after the other
    frame_skip: int | None = 1  # emulator frames per agent step; None if the environment draws it at random
    sticky: float = 0.0  # probability that the emulator repeats the previous action
    noop_max: int = 0  # an episode starts with 0 to noop_max - 1 no-ops of one frame each; 0 means none
    life_loss: bool = False  # a lost life counts as a termination for bootstrapping; the episode continues
    max_frames: int | None = None  # episodes are truncated after this number of emulator frames
    flicker: float = 0.0  # probability that an observation is blank (Hausknecht and Stone 2015)
    masked: tuple[int, ...] = ()  # indices of vector entries that are set to 0
    view: View = "grey"  # preprocessing of an Atari screen
    action_numbers: tuple[int, ...] = ()  # the environment's numbers of `actions`; empty if all actions are allowed
    one_hot: bool = False  # the observation is a discrete state, encoded as a one-hot vector
    bounds: tuple[tuple[float, float], ...] | None = None  # (low, high) of each entry of a bounded vector
    obs_kind: Literal["image", "planes", "vector", "packed"] = "vector"  # meaning of the observations
    packed: PackedObservation | None = None  # where the parts of packed observations lie
    state_sizes: tuple[int, ...] = ()  # the observation consists of one-hot groups of these sizes, and nothing else
    action_parts: tuple[int, ...] = ()  # numbers of actions of each part of a MultiDiscrete or MultiBinary action
    action_bounds: tuple[tuple[float, float], ...] = ()  # (low, high) of each entry of a continuous action; empty for
    # discrete ones; `actions` then holds the names of the entries
    mask_source: Literal["", "info", "method", "observation"] = ""  # see envs/agent_env.py
    options: EnvOptions = DEFAULT_OPTIONS  # how the person wants the environment to be made

    # What follows describes the environment, and does not count in comparisons: an old env.json lacks it.
    transformations: tuple[str, ...] = field(default=(), compare=False)  # changes of the observations, in words
    frame_stack: int = field(default=1, compare=False)  # observations that the agent stacks
    reproducible: bool = field(default=True, compare=False)  # the same seeds and actions lead to the same rows
    global_random: bool = field(default=False, compare=False)  # it draws from `random` or `numpy.random`
    picklable: bool = field(default=True, compare=False)  # other processes can make the environment

    @property
    def is_continuous(self) -> bool:
        """Return True if actions are vectors of real numbers."""
        return bool(self.action_bounds)

    @property
    def num_actions(self) -> int:
        """Return the number of actions that the agent chooses from: with `action_parts`, of all combinations.

        It is 0 with continuous actions.
        """
        if self.is_continuous:
            return 0
        return math.prod(self.action_parts) if self.action_parts else len(self.actions)

    @property
    def max_pixel(self) -> int | None:
        """Return the largest value of a pixel, or None if observations are not images."""
        if self.obs_kind != "image":
            return None
        return 1 if self.view == "binary" else 255

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a dict that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnvSpec:
        """Return the spec that `to_dict` converted. Fields that an old env.json lacks get their defaults."""
        values = dict(data)
        for name in ("frame", "actions", "masked", "action_numbers", "transformations", "state_sizes", "action_parts"):
            values[name] = tuple(data.get(name, ()))
        # An old env.json knows two kinds of observations, and one group of states.
        if "obs_kind" not in data:
            values["obs_kind"] = "image" if data.get("dtype") == "uint8" else "vector"
        if data.get("one_hot") and "state_sizes" not in data:
            values["state_sizes"] = tuple(data["frame"])
        packed = data.get("packed")
        if packed:
            values["packed"] = PackedObservation(**(packed | {"spatial": tuple(packed["spatial"])}))
        if "options" in data:
            values["options"] = EnvOptions.from_dict(data["options"])
        elif values["obs_kind"] == "vector" and sum(side > 1 for side in values["frame"]) > 1:
            # Before planes existed, an array of several axes went into layers for vectors.
            values["options"] = EnvOptions(obs_kind="vector")
            values["frame"] = (math.prod(values["frame"]),)
        bounds = data.get("bounds")
        values["bounds"] = _pairs(bounds) if bounds else None
        values["action_bounds"] = _pairs(data.get("action_bounds", ()))
        return cls(**values)

    def warnings(self) -> list[str]:
        """Return one line for each property that a person should know before training."""
        lines = []
        if not self.reproducible:
            lines.append(
                f"{self.name} differs after the same seed: two runs of one seed will differ, and a resumed run begins"
                " new episodes"
            )
        if not self.picklable:
            lines.append(f"{self.name} cannot be made in another process, so all environments run in this one")
        return lines

    def __str__(self) -> str:
        title = self.name if self.name == self.id else f"{self.name} ({self.id})"
        arguments = [f"{name}={value!r}" for name, value in self.options.env_args.items()]
        wrappers = [f"wrapper {wrapper}" for wrapper in self.options.wrappers]
        parts = [title, *arguments, *wrappers, *self._dynamics(), *self._changes()]
        if self.life_loss:
            parts.append("a lost life stops bootstrapping")
        parts.append(self._action())
        parts.append(f"observation {self._observation()}")
        parts += self.transformations
        if self.frame_stack > 1:
            parts.append(f"stacks of {self.frame_stack}")
        return ", ".join(parts)

    def _action(self) -> str:
        """Describe the actions."""
        if self.is_continuous:
            ranges = {f"{low:g} to {high:g}" for low, high in self.action_bounds}
            text = ranges.pop() if len(ranges) == 1 else "different ranges"
            return f"continuous actions float32[{len(self.action_bounds)}] ({text})"
        names = f" ({', '.join(self.actions)})" if self.action_numbers else ""
        combinations = f" ({' x '.join(map(str, self.action_parts))})" if self.action_parts else ""
        return f"{self.num_actions:,} actions{names}{combinations}"

    def _observation(self) -> str:
        """Describe type and shape of an observation."""
        packed = self.packed
        if packed is None:
            return f"{self.dtype}{list(self.frame)}"
        parts = []
        if packed.vector:
            parts.append(f"float32[{packed.vector}]")
        if packed.spatial:
            parts.append(f"{packed.spatial_dtype}{list(packed.spatial)}")
        return " and ".join(parts)

    def _dynamics(self) -> list[str]:
        """Describe protocol, frame skip and randomness of an Atari game."""
        is_atari = self.family == "atari"
        parts = []
        if is_atari:
            parts.append(f"protocol {self.protocol}")
        if self.frame_skip is None:
            parts.append("random frame skip")
        elif is_atari:
            parts.append(f"frame skip {self.frame_skip}")
        if is_atari:
            parts.append(f"sticky {self.sticky:g}")
        if self.noop_max:
            parts.append(f"0 to {self.noop_max - 1} no-ops")
        if self.global_random:
            parts.append("draws from the global random generators")
        return parts

    def _changes(self) -> list[str]:
        """Describe how observations differ from those of the original environment."""
        parts = []
        if self.flicker:
            parts.append(f"{self.flicker:.0%} of the observations blank")
        if self.masked:
            parts.append(f"entries {', '.join(map(str, self.masked))} masked")
        return parts


def _pairs(bounds: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    """Return bounds read from JSON as tuples (low, high)."""
    return tuple((float(low), float(high)) for low, high in bounds)
