"""The env card: what a name given to `--env` means, resolved once, printed, and saved with the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Protocol = Literal["classic", "machado", "v5", "id"]
"""How an Atari game is played: see `envs/atari.py`; "id" is whatever a Gymnasium id says by itself."""


View = Literal["grey", "binary"]
"""84 x 84 grey levels, or Pong's playing field in 80 x 80 zeros and ones (see `envs/atari.py`)."""


class EnvError(ValueError):
    """An environment that is unknown or that the lab cannot use: one line that says why and what would do."""


@dataclass(frozen=True)
class EnvSpec:
    """Everything that decides what an agent meets; two runs compare only where their cards agree."""

    name: str  # how people call it: Pong, CartPole-v1
    id: str  # the Gymnasium id that comes nearest: ALE/Pong-v5, CartPole-v1
    family: Literal["atari", "image", "vector"]  # which section of an agent's configuration applies
    backend: Literal["ale", "gymnasium"]  # C++ threads, or Gymnasium's vector environments
    protocol: Protocol
    frame: tuple[int, ...]  # shape of one observation as the agent gets it
    dtype: Literal["uint8", "float32"]
    actions: tuple[str, ...]  # names, in the order of the action numbers
    frame_skip: int | None = 1  # emulator frames per agent step; None where the id draws it at random
    sticky: float = 0.0  # probability that the emulator repeats the action before
    noop_max: int = 0  # up to this many no-ops begin an episode
    life_loss: bool = False  # a lost life stops bootstrapping (the game goes on)
    max_frames: int | None = None  # an episode is truncated after so many emulator frames
    flicker: float = 0.0  # probability that an observation is blank (Hausknecht and Stone 2015)
    masked: tuple[int, ...] = ()  # entries of a vector that are always 0
    view: View = "grey"  # how an Atari screen becomes a frame
    action_numbers: tuple[int, ...] = ()  # the environment's own numbers of the actions, where not all may be taken
    one_hot: bool = False  # the observation is a state's number, as a vector with a 1 in its place
    bounds: tuple[tuple[float, float], ...] | None = None  # of a vector's entries, where all of them have some

    @property
    def num_actions(self) -> int:
        return len(self.actions)

    @property
    def max_pixel(self) -> int | None:
        """The largest value of a pixel; None for vectors."""
        return None if self.dtype != "uint8" else 1 if self.view == "binary" else 255

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnvSpec:
        """The card that `to_dict` wrote."""
        bounds = data.get("bounds")
        pairs = tuple((float(low), float(high)) for low, high in bounds) if bounds else None
        return cls(
            **{
                **data,
                "frame": tuple(data["frame"]),
                "actions": tuple(data["actions"]),
                "bounds": pairs,
                "masked": tuple(data.get("masked", ())),
                "action_numbers": tuple(data.get("action_numbers", ())),
            }
        )

    def __str__(self) -> str:
        if self.frame_skip is None:
            skip = "random frame skip"
        else:
            skip = f"frame skip {self.frame_skip}" if self.family == "atari" else ""
        parts = [
            f"{self.name} ({self.id})",
            f"protocol {self.protocol}" if self.family == "atari" else "",
            skip,
            f"sticky {self.sticky:g}" if self.family == "atari" else "",
            f"up to {self.noop_max} no-ops" if self.noop_max else "",
            f"{self.flicker:.0%} of the observations blank" if self.flicker else "",
            f"entries {', '.join(map(str, self.masked))} masked" if self.masked else "",
            "a lost life stops bootstrapping" if self.life_loss else "",
            f"{self.num_actions} actions" + (f" ({', '.join(self.actions)})" if self.action_numbers else ""),
            f"observation {self.dtype}{list(self.frame)}",
        ]
        return ", ".join(p for p in parts if p)
