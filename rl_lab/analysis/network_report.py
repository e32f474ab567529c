"""Play one game and write images of what the agent's network has learned (the command `look`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.nn.pixel_convolutions import DifferencesConv2d
from rl_lab.analysis.even_sample import EvenSample
from rl_lab.analysis.feature_maps import record_stack_feature_maps
from rl_lab.analysis.feature_visualization import draw_feature_maps, draw_filters, draw_preferred_inputs
from rl_lab.analysis.image_grid import add_caption, image_grid
from rl_lab.analysis.saliency import available_saliency_methods, has_gradient
from rl_lab.errors import LabError
from rl_lab.watch.frame_rendering import observed_part_of_screen
from rl_lab.watch.images import RgbImage, observation_to_rgb, overlay_heatmap, to_bgr
from rl_lab.watch.player import Player, PlayerStep

MIN_STACKS = 600  # stacked frames of the game that are searched for preferred inputs
NUM_HEATMAPS = 24  # heatmaps of the game that are drawn


class ReportImage(NamedTuple):
    """One image of the report."""

    image: RgbImage
    description: str


@dataclass(frozen=True)
class GameSample:
    """Evenly spaced samples of one game."""

    stacks: Tensor  # u8[T, k, H, W]
    chosen_stack: Tensor  # u8[1, k, H, W], at the step that the user chose
    heatmaps: list[RgbImage]  # screens or observations with Grad-CAM heatmaps and captions


def write_network_report(player: Player, folder: Path, *, step: int, units: int) -> dict[Path, str]:
    """Play one game and write the images of the report. Closes the player's environment.

    Args:
        player: The agent and its environment.
        folder: Folder for the PNG files. It is created.
        step: The step of the game whose feature maps are drawn, or the last step of a shorter game.
        units: Number of units to draw of each convolution.

    Returns:
        The path of each file with a description of the image.

    Raises:
        LabError: The network has no convolutions, the agent has no values although actions are continuous, or the
            folder cannot be written.
    """
    env_spec = player.env.env_spec
    max_pixel = env_spec.max_pixel
    if not has_gradient(player.agent, env_spec):
        raise LabError(
            f"{type(player.agent).__name__} has learned no values of {env_spec.name}; with continuous actions, look"
            " needs values"
        )
    if max_pixel is None or "grad-cam" not in available_saliency_methods(player.agent, env_spec):
        raise LabError(
            f"look needs a network with convolutions; {type(player.agent).__name__} on {env_spec.name} has none"
        )
    if len(env_spec.frame) > 2:
        raise LabError(f"look draws grey images only; the images of {env_spec.name} have {env_spec.frame[0]} channels")
    game = _play_game(player, step, max_pixel)
    images = _draw_report(player.agent, game, step, units, max_pixel)
    return _write_images(images, folder)


def _play_game(player: Player, step: int, max_pixel: int) -> GameSample:
    """Play one game with Grad-CAM heatmaps and return samples of it."""
    player.saliency_method = "grad-cam"
    part = observed_part_of_screen(player.env.env_spec)
    stacks = EvenSample[NDArray[np.uint8]](MIN_STACKS)
    shown = EvenSample[tuple[RgbImage, PlayerStep]](NUM_HEATMAPS)
    chosen_stack = np.zeros(0, np.uint8)
    for player_step in player:
        stack = np.asarray(player_step.stacked_obs, np.uint8)
        if player_step.step_number <= step:
            chosen_stack = stack
        stacks.add(stack)
        image = observation_to_rgb(stack[-1], max_pixel) if part is None else player_step.screens[-1][part]
        shown.add((image, player_step))
        if player_step.is_last:
            break
    player.env.close()
    interval = max(1, len(shown.items) // NUM_HEATMAPS)
    return GameSample(
        stacks=torch.from_numpy(np.stack(stacks.items)),
        chosen_stack=torch.from_numpy(chosen_stack)[None],
        heatmaps=[_draw_heatmap(image, player_step) for image, player_step in shown.items[::interval]],
    )


def _draw_heatmap(image: RgbImage, player_step: PlayerStep) -> RgbImage:
    assert player_step.saliency is not None
    return add_caption(overlay_heatmap(image, player_step.saliency), f"step {player_step.step_number}")


def _draw_report(agent: Agent, game: GameSample, step: int, units: int, max_pixel: int) -> dict[str, ReportImage]:
    """Return the images of the report by file name."""
    with torch.no_grad():
        features = record_stack_feature_maps(agent, game.chosen_stack)
    images: dict[str, ReportImage] = {}
    first_convolution = features.convolutions[0]
    images["filters.png"] = ReportImage(
        draw_filters(first_convolution), f"filters of the first convolution; {_describe_channels(first_convolution)}"
    )
    for i, maps in enumerate(features.maps):
        image = draw_feature_maps(maps[0], zoom=4 + 2 * i)
        images[f"maps-{i + 1}.png"] = ReportImage(image, f"feature maps of convolution {i + 1} at step {step}")
    for i in range(len(features.maps)):
        image = draw_preferred_inputs(agent, game.stacks, i, units, max_pixel)
        images[f"units-{i + 1}.png"] = ReportImage(
            image, f"inputs that most activate units of convolution {i + 1}: synthetic, then from the game"
        )
    explained = "value of the state" if features.policy_output.is_continuous else "greedy action"
    images["cam.png"] = ReportImage(
        image_grid(game.heatmaps, zoom=1, columns=6), f"Grad-CAM heatmaps of the {explained} over the game"
    )
    return images


def _describe_channels(convolution: nn.Conv2d) -> str:
    """Return a description of the input channels of the first convolution."""
    if isinstance(convolution, DifferencesConv2d):
        return "channels: differences of successive frames, then the newest frame"
    return "channels: frames, oldest first"


def _write_images(images: dict[str, ReportImage], folder: Path) -> dict[Path, str]:
    """Write the images as PNG files. Returns the description of each file."""
    descriptions: dict[Path, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (image, description) in images.items():
            path = folder / name
            if not cv2.imwrite(str(path), to_bgr(image)):
                raise OSError(f"{name} was not written")
            descriptions[path] = description
    except OSError as error:
        raise LabError(f"the images cannot be written to {folder}: {error}") from error
    return descriptions
