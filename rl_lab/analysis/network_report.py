"""Play one game, and write images and a page of what the agent's network has learned (the command `look`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.nn.pixel_convolutions import DifferencesConv2d
from rl_lab.analysis.even_sample import EvenSample
from rl_lab.analysis.feature_maps import record_stack_feature_maps
from rl_lab.analysis.feature_visualization import (
    BLUE,
    EXAMPLES_PER_UNIT,
    RED,
    WHITE,
    draw_feature_maps,
    draw_filters,
    draw_preferred_inputs,
)
from rl_lab.analysis.image_grid import add_caption, image_grid
from rl_lab.analysis.report_page import ColorScale, ReportFigure, report_page
from rl_lab.analysis.saliency import available_saliency_methods, has_gradient
from rl_lab.errors import LabError
from rl_lab.watch.frame_rendering import observed_part_of_screen
from rl_lab.watch.images import HEAT, HEAT_OPACITY, Color, RgbImage, observation_to_rgb, overlay_heatmap, to_bgr
from rl_lab.watch.player import Player, PlayerStep

MIN_STACKS = 600  # stacked frames of the game that are searched for preferred inputs
NUM_HEATMAPS = 24  # heatmaps of the game that are drawn
PAGE_NAME = "index.html"
GREY: Color = (128, 128, 128)


class ReportImage(NamedTuple):
    """One image of the report."""

    image: RgbImage
    title: str
    caption: str
    scale: ColorScale


@dataclass(frozen=True)
class GameSample:
    """Evenly spaced samples of one game."""

    stacks: Tensor  # u8[T, k, H, W]
    chosen_stack: Tensor  # u8[1, k, H, W], at the step `chosen_step`
    chosen_step: int  # the step that the user chose, or the last one of a shorter game
    heatmaps: list[RgbImage]  # screens or observations with Grad-CAM heatmaps and captions
    description: str  # length and score of the game


def write_network_report(
    player: Player, folder: Path, *, step: int, units: int, title: str = "", facts: Sequence[str] = ()
) -> dict[Path, str]:
    """Play one game, and write the images of the report and a page that shows them. Closes the player's environment.

    Args:
        player: The agent and its environment.
        folder: Folder for the page index.html and the PNG files. It is created.
        step: The step of the game whose feature maps are drawn, or the last step of a shorter game.
        units: Number of units to draw of each convolution.
        title: Title of the page. By default the agent and the environment.
        facts: Further lines below the title.

    Returns:
        The path of each file with its description. The page is the first one.

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
    images = _draw_report(player.agent, game, units, max_pixel)
    title = title or f"{type(player.agent).__name__} on {env_spec.name}"
    figures = [ReportFigure(name, image.title, image.caption, image.scale) for name, image in images.items()]
    return _write_files(images, report_page(title, [*facts, game.description], figures), folder)


def _play_game(player: Player, step: int, max_pixel: int) -> GameSample:
    """Play one game with Grad-CAM heatmaps and return samples of it."""
    player.saliency_method = "grad-cam"
    part = observed_part_of_screen(player.env.env_spec)
    stacks = EvenSample[NDArray[np.uint8]](MIN_STACKS)
    shown = EvenSample[tuple[RgbImage, PlayerStep]](NUM_HEATMAPS)
    chosen_stack = np.zeros(0, np.uint8)
    chosen_step = 0
    description = ""
    for player_step in player:
        stack = np.asarray(player_step.stacked_obs, np.uint8)
        if player_step.step_number <= step:
            chosen_stack = stack
            chosen_step = player_step.step_number
        stacks.add(stack)
        image = observation_to_rgb(stack[-1], max_pixel) if part is None else player_step.screens[-1][part]
        shown.add((image, player_step))
        if player_step.is_last:
            description = f"game of {player_step.step_number:,} agent steps with score {player_step.score:g}"
            break
    player.env.close()
    interval = max(1, len(shown.items) // NUM_HEATMAPS)
    return GameSample(
        stacks=torch.from_numpy(np.stack(stacks.items)),
        chosen_stack=torch.from_numpy(chosen_stack)[None],
        chosen_step=chosen_step,
        heatmaps=[_draw_heatmap(image, player_step) for image, player_step in shown.items[::interval]],
        description=description,
    )


def _draw_heatmap(image: RgbImage, player_step: PlayerStep) -> RgbImage:
    assert player_step.saliency is not None
    return add_caption(overlay_heatmap(image, player_step.saliency), f"step {player_step.step_number}")


def _draw_report(agent: Agent, game: GameSample, units: int, max_pixel: int) -> dict[str, ReportImage]:
    """Return the images of the report by file name."""
    with torch.no_grad():
        features = record_stack_feature_maps(agent, game.chosen_stack)
    images: dict[str, ReportImage] = {}
    first_convolution = features.convolutions[0]
    images["filters.png"] = ReportImage(
        draw_filters(first_convolution),
        "filters of the first convolution",
        f"Each tile is one filter. Its parts side by side are its {_describe_channels(first_convolution)}.",
        _filter_scale(),
    )
    for i, maps in enumerate(features.maps):
        zoom = 4 + 2 * i
        images[f"maps-{i + 1}.png"] = ReportImage(
            draw_feature_maps(maps[0], zoom=zoom),
            f"feature maps of convolution {i + 1} at step {game.chosen_step}",
            f"Each tile is the output of one unit after its ReLU: {maps.shape[2]} x {maps.shape[3]} values.",
            _map_scale(zoom),
        )
    for i in range(len(features.maps)):
        images[f"units-{i + 1}.png"] = ReportImage(
            draw_preferred_inputs(agent, game.stacks, i, units, max_pixel),
            f"inputs that most activate units of convolution {i + 1}",
            "One row for each unit. The first group of frames is synthetic: gradient ascent on the pixels maximises the"
            f" unit's output. The {EXAMPLES_PER_UNIT} parts of the game that activate the unit most follow. A group"
            " holds the stacked frames, oldest first.",
            ColorScale("0", str(max_pixel), ((0, 0, 0), (255, 255, 255)), "pixels as the network receives them"),
        )
    explained = "value of the state" if features.policy_output.is_continuous else "greedy action"
    images["cam.png"] = ReportImage(
        image_grid(game.heatmaps, zoom=1, columns=6),
        f"Grad-CAM heatmaps of the {explained} over the game",
        f"Red pixels are those that the {explained} depends on (Selvaraju et al. 2017).",
        _heat_scale(),
    )
    return images


def _filter_scale() -> ColorScale:
    """Return the scale of `draw_filters`."""
    colors = tuple(_color(color) for color in (BLUE, WHITE, RED))
    return ColorScale("-1", "1", colors, "weights, each filter divided by its largest absolute weight; white is 0")


def _map_scale(zoom: int) -> ColorScale:
    """Return the scale of `draw_feature_maps`, with nine colours of the colour map viridis."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)[None]
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[0]
    colors = tuple(_color(color[::-1]) for color in bgr)
    return ColorScale("0", "1", colors, f"each map divided by its largest value; a value is {zoom} x {zoom} pixels")


def _heat_scale() -> ColorScale:
    """Return the scale of `overlay_heatmap` on a grey image."""
    hottest = _color(np.array(GREY) * (1 - HEAT_OPACITY) + np.array(HEAT) * HEAT_OPACITY)
    return ColorScale("0", "1", (GREY, hottest), "saliency, each heatmap divided by its largest value")


def _color(values: NDArray[Any]) -> Color:
    """Return an array [3] as a colour."""
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _describe_channels(convolution: nn.Conv2d) -> str:
    """Return a description of the input channels of the first convolution."""
    if isinstance(convolution, DifferencesConv2d):
        return "channels: differences of successive frames, then the newest frame"
    return "channels: the stacked frames, oldest first"


def _write_files(images: dict[str, ReportImage], page: str, folder: Path) -> dict[Path, str]:
    """Write the images as PNG files, and the page beside them. Returns the description of each file."""
    page_path = folder / PAGE_NAME
    descriptions = {page_path: "all images with titles, scales and captions"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            path = folder / name
            if not cv2.imwrite(str(path), to_bgr(image.image)):
                raise OSError(f"{name} was not written")
            descriptions[path] = image.title
        page_path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise LabError(f"the images cannot be written to {folder}: {error}") from error
    return descriptions
