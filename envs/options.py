"""How a person wants an environment to be made: constructor arguments, wrappers, and the form of its observations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ObsKind = Literal["auto", "image", "planes", "vector"]
"""Meaning of an array of observations: a picture, a few maps of numbers over a grid, or a list of numbers. "auto"
decides by shape, type and bounds (envs/observation_layout.py)."""

ImageColors = Literal["grey", "rgb"]
"""Colours of an image as the agent receives it."""

Vectorization = Literal["auto", "sync", "async"]
"""Run all environments in this process ("sync"), or each in a process of its own ("async"), or choose between the two
by the kind of observations ("auto", see `envs.gymnasium_envs.make_vector_env`)."""

MIN_IMAGE_SIDE = 36
"""Smallest height and width of an image in pixels, which the Nature network needs."""

IMAGE_SIZE = 84
"""Default height and width of the images that agents receive, in pixels (Mnih et al. 2015)."""


class OptionError(ValueError):
    """An option has a wrong form. The message is one line for the user."""


@dataclass(frozen=True)
class WrapperSpec:
    """A wrapper that is put around an environment."""

    name: str  # module:Class
    args: dict[str, Any] = field(default_factory=dict, hash=False)  # keyword arguments of the class

    @classmethod
    def parse(cls, value: Any) -> WrapperSpec:
        """Return the wrapper that a setting describes.

        Args:
            value: "module:Class", or {"module:Class": {argument: value}}.

        Raises:
            OptionError: The value has another form.
        """
        args: Any = {}
        if isinstance(value, dict) and len(value) == 1:
            ((value, args),) = value.items()
            args = {} if args is None else args
        if not isinstance(value, str) or not isinstance(args, dict) or not all(isinstance(name, str) for name in args):
            raise OptionError(f"wrapper is {value!r}; it must be module:Class, or module:Class: {{argument: value}}")
        module, colon, name = value.partition(":")
        if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise OptionError(f"wrapper is {value!r}; it must be module:Class")
        return cls(value, args)

    def __str__(self) -> str:
        if not self.args:
            return self.name
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.args.items())})"


@dataclass(frozen=True)
class EnvOptions:
    """All options with which an environment is made. Atari games that are given by name, such as Pong, use `image`
    and `image_size` only."""

    env_args: dict[str, Any] = field(default_factory=dict, hash=False)
    """Keyword arguments of the environment's constructor."""
    wrappers: tuple[WrapperSpec, ...] = ()
    """Wrappers around the environment. The first one is the innermost."""
    obs_kind: ObsKind = "auto"
    """Meaning of an array of observations."""
    obs_key: str = ""
    """Names of the parts of a Dict or Tuple observation to use, separated by commas. Empty means all parts."""
    image: ImageColors = "grey"
    """Colours of images."""
    image_size: int = IMAGE_SIZE
    """Height and width of images in pixels."""
    pixels: bool = False
    """Observe the rendered picture in place of the environment's observation."""
    crop: str = ""
    """Part of the rendered picture to use: top:bottom,left:right in pixels. Empty means a default of the environment,
    or the whole picture."""
    action_masks: bool = True
    """Use the action masks of the environment, if it has any."""

    def to_dict(self) -> dict[str, Any]:
        """Return the options as a dict that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnvOptions:
        """Return the options that `to_dict` converted."""
        values = dict(data)
        values["wrappers"] = tuple(WrapperSpec(**wrapper) for wrapper in data.get("wrappers", ()))
        return cls(**values)


DEFAULT_OPTIONS = EnvOptions()


def parse_crop(text: str) -> tuple[slice, slice]:
    """Return the rows and columns of a picture that the option `crop` selects.

    Raises:
        OptionError: The text does not have the form top:bottom,left:right.
    """
    if not text:
        return slice(None), slice(None)
    try:
        (top, bottom), (left, right) = (part.split(":") for part in text.split(","))
        rows = slice(int(top or 0), int(bottom) if bottom else None)
        columns = slice(int(left or 0), int(right) if right else None)
    except ValueError:
        raise OptionError(
            f"crop is {text!r}; it must be top:bottom,left:right in pixels, such as 150:350,0:600"
        ) from None
    return rows, columns
