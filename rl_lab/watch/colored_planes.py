"""Planes of a grid game in one picture: each cell in the colour of the channel that is on there.

The colours are those of MinAtar's own display (Young and Tian 2019): black where all channels are off, else an even
sample of the palette cubehelix (Green 2011, "A colour scheme for the display of astronomical intensity images"), whose
brightness rises with the number of the channel.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.watch.images import Color, RgbImage

# Name of a MinAtar game -> names of its channels, as the package MinAtar 1.0.15 orders them.
CHANNEL_NAMES: dict[str, tuple[str, ...]] = {
    "Asterix": ("player", "enemy", "trail", "gold"),
    "Breakout": ("paddle", "ball", "trail", "brick"),
    "Freeway": ("chicken", "car", "speed 1", "speed 2", "speed 3", "speed 4", "speed 5"),
    "Seaquest": (
        *("submarine, front", "submarine, back", "own bullet", "trail", "enemy bullet", "fish", "enemy submarine"),
        *("oxygen gauge", "diver gauge", "diver"),
    ),
    "SpaceInvaders": ("cannon", "alien", "alien, left", "alien, right", "own bullet", "enemy bullet"),
}

START = 0.5  # colour at the dark end of cubehelix: 1 is red, 2 green, 3 blue
ROTATIONS = -1.5  # turns through red, green and blue from dark to light


def channel_names(env_spec: EnvSpec, num_channels: int) -> tuple[str, ...]:
    """Return the names of the channels of a MinAtar game, or () for any other environment."""
    match = re.fullmatch(r"(?:\w+:)?MinAtar/(\w+)-v\d+", env_spec.id)
    names = CHANNEL_NAMES.get(match[1], ()) if match else ()
    return names if len(names) == num_channels else ()


def channel_colors(num_channels: int) -> list[Color]:
    """Return the colours of the channels, from dark to light."""
    brightness = np.arange(1, num_channels + 1) / (num_channels + 1)
    return [_cubehelix(float(x)) for x in brightness]


def color_planes(planes: NDArray[np.generic]) -> RgbImage:
    """Return a picture u8[H, W, 3] of planes [C, H, W] of zeros and ones.

    Where several channels are on, the last of them counts.
    """
    numbers = np.arange(1, len(planes) + 1)[:, None, None]
    last_channel = ((planes != 0) * numbers).max(0)  # [H, W]; 0 where no channel is on
    palette = np.array([(0, 0, 0), *channel_colors(len(planes))], np.uint8)
    return palette[last_channel]


def _cubehelix(brightness: float) -> Color:
    """Return the colour of cubehelix with a brightness from 0 to 1 (Green 2011, equation 2, with gamma and hue 1)."""
    angle = 2 * np.pi * (START / 3 + ROTATIONS * brightness)
    amplitude = brightness * (1 - brightness) / 2
    to_red_green_blue = np.array([[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]])
    deviation = to_red_green_blue @ np.array([np.cos(angle), np.sin(angle)])
    red, green, blue = (int(x) for x in np.clip(np.rint(255 * (brightness + amplitude * deviation)), 0, 255))
    return red, green, blue
