"""The environment specification: the settings behind a name given to `--env`, printed and saved with each run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

AtariProtocol = Literal["classic", "machado", "v5", "id"]
"""Protocol of an Atari game, see `envs/atari.py`. "id" means the settings of the Gymnasium id."""

View = Literal["grey", "binary"]
"""Preprocessing of an Atari screen: 84 x 84 grey levels, or Pong's playing field as 80 x 80 zeros and ones."""


class EnvError(ValueError):
    """An environment is unknown, or agents of this project cannot use it. The message is one line for the user."""


class EnvFault(Exception):
    """An environment raised, exited or sent invalid data during a run. The message is one line and names the place.

    The notes of the exception hold the traceback in the environment's code.
    """

    def __init__(self, message: str | EnvFault) -> None:
        """Create a fault. Gymnasium raises the fault of a worker process as EnvFault(fault); the notes are kept."""
        super().__init__(str(message))
        for note in getattr(message, "__notes__", ()):
            self.add_note(note)


@dataclass(frozen=True)
class EnvSpec:
    """All settings that define an environment. Scores of two runs are comparable only if their specs are equal.

    The field names are the keys of env.json in run folders.
    """

    name: str  # short name: Pong, CartPole-v1
    id: str  # Gymnasium id; for Atari games the closest one: ALE/Pong-v5
    family: Literal["atari", "image", "vector"]  # selects the section of an agent's configuration file
    backend: Literal["ale", "gymnasium"]  # ALE's C++ threads, or Gymnasium's vector environments
    protocol: AtariProtocol
    frame: tuple[int, ...]  # shape of one observation, without frame stacking
    dtype: Literal["uint8", "float32"]  # type of the observations
    actions: tuple[str, ...]  # names of the actions, in the order of the agent's action numbers
    frame_skip: int | None = 1  # emulator frames per agent step; None if the environment draws it at random
    sticky: float = 0.0  # probability that the emulator repeats the previous action
    noop_max: int = 0  # maximum number of no-op actions at the start of an episode
    life_loss: bool = False  # a lost life counts as a termination for bootstrapping; the episode continues
    max_frames: int | None = None  # episodes are truncated after this number of emulator frames
    flicker: float = 0.0  # probability that an observation is blank (Hausknecht and Stone 2015)
    masked: tuple[int, ...] = ()  # indices of vector entries that are set to 0
    view: View = "grey"  # preprocessing of an Atari screen
    action_numbers: tuple[int, ...] = ()  # the environment's numbers of `actions`; empty if all actions are allowed
    one_hot: bool = False  # the observation is a discrete state, encoded as a one-hot vector
    bounds: tuple[tuple[float, float], ...] | None = None  # (low, high) of each entry of a bounded vector

    # What follows describes the environment, and does not count in comparisons: an old env.json lacks it.
    transformations: tuple[str, ...] = field(default=(), compare=False)  # changes of the observations, in words
    frame_stack: int = field(default=1, compare=False)  # observations that the agent stacks
    reproducible: bool = field(default=True, compare=False)  # the same seeds and actions lead to the same rows
    global_random: bool = field(default=False, compare=False)  # it draws from `random` or `numpy.random`

    @property
    def num_actions(self) -> int:
        """Return the number of actions that the agent chooses from."""
        return len(self.actions)

    @property
    def max_pixel(self) -> int | None:
        """Return the largest value of a pixel, or None for vector observations."""
        if self.dtype != "uint8":
            return None
        return 1 if self.view == "binary" else 255

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as a dict that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnvSpec:
        """Return the spec that `to_dict` converted. Fields that an old env.json lacks get their defaults."""
        values = dict(data)
        for name in ("frame", "actions", "masked", "action_numbers", "transformations"):
            values[name] = tuple(data.get(name, ()))
        bounds = data.get("bounds")
        values["bounds"] = tuple((float(low), float(high)) for low, high in bounds) if bounds else None
        return cls(**values)

    def warnings(self) -> list[str]:
        """Return one line for each property that a person should know before training."""
        if self.reproducible:
            return []
        return [
            f"{self.name} differs after the same seed: two runs of one seed will differ, and a resumed run begins"
            " new episodes"
        ]

    def __str__(self) -> str:
        title = self.name if self.name == self.id else f"{self.name} ({self.id})"
        parts = [title, *self._dynamics(), *self._changes()]
        if self.life_loss:
            parts.append("a lost life stops bootstrapping")
        names = f" ({', '.join(self.actions)})" if self.action_numbers else ""
        parts.append(f"{self.num_actions} actions{names}")
        parts.append(f"observation {self.dtype}{list(self.frame)}")
        parts += self.transformations
        if self.frame_stack > 1:
            parts.append(f"stacks of {self.frame_stack}")
        return ", ".join(parts)

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
            parts.append(f"up to {self.noop_max} no-ops")
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
