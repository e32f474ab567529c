"""Draw what a convolutional network has learned: filters, feature maps, and inputs that activate its units.

A unit is one output channel of a convolution; "channel" alone means an input channel. The receptive field of a unit at
one position of its feature map is a square of input pixels, and `size` is the side of this square in pixels. The
convolutions have no padding. So the receptive field at position (y, x) begins at pixel (y * stride, x * stride).

The agent and all tensors are on the CPU. `rl_lab.analysis.network_report` draws all images of an agent.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from agents.core.agent import Agent
from rl_lab.analysis.feature_maps import receptive_field, record_stack_feature_maps
from rl_lab.analysis.image_grid import add_caption, image_grid
from rl_lab.watch.images import RgbImage, observation_to_rgb

ASCENT_STEPS = 100
ASCENT_STEP_SIZE = 0.08  # largest change of a pixel in the first step, as a share of the pixel range
EXAMPLES_PER_UNIT = 3  # inputs from the game that are drawn beside the synthetic input of a unit
BATCH_SIZE = 64  # stacks in a forward pass
UNIT_PIXELS = 72  # approximate side of a drawn receptive field; a field that is larger than this is not enlarged

WHITE = np.array((245, 245, 245))
RED = np.array((200, 30, 40))
BLUE = np.array((40, 80, 200))


def draw_filters(convolution: nn.Conv2d) -> RgbImage:
    """Return an image of all filters of a convolution.

    Each filter is drawn as the weights of its channels side by side: negative weights blue, positive weights red. The
    weights of each filter are divided by their largest absolute value.
    """
    weights = convolution.weight.detach().float().cpu()
    weights = weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    tiles: list[RgbImage] = []
    for filter_weights in weights:
        channels = [_diverging_colors(channel) for channel in filter_weights]
        tiles.append(image_grid(channels, zoom=6, columns=len(channels), gap=1))
    return image_grid(tiles, zoom=1, columns=4)


def draw_feature_maps(maps: Tensor, *, zoom: int) -> RgbImage:
    """Return an image of the feature maps of one convolution.

    Args:
        maps: The feature map of each unit after its ReLU, [C, h, w]. Each is divided by its largest value.
        zoom: Side in pixels of the square that is drawn for one value.
    """
    return image_grid([_sequential_colors(x / x.max().clamp_min(1e-6)) for x in maps], zoom=zoom)


def draw_preferred_inputs(agent: Agent, stacks: Tensor, layer: int, num_units: int, max_pixel: int) -> RgbImage:
    """Return an image of the inputs that most activate the units of a convolution.

    The image has one row for each unit: first the synthetic input of `maximize_activation`, then the receptive fields
    of the unit with its largest activations in the game. Each input is drawn as its k frames, oldest first.

    Args:
        agent: The agent.
        stacks: Stacked frames of a game, u8[T, k, H, W].
        layer: Index of the convolution among those that the policy uses.
        num_units: Number of units. The function draws the units with the largest activations in the game.
        max_pixel: Largest possible pixel value of a frame: 255, or 1 if the frames are binary.
    """
    maps = _layer_maps(agent, stacks, layer)
    strongest_units = maps.amax((0, 2, 3)).topk(min(num_units, maps.shape[1])).indices.tolist()
    convolutions = _used_convolutions(agent, stacks)
    size, stride, _ = receptive_field(convolutions[: layer + 1])
    zoom = max(1, UNIT_PIXELS // size)
    rows: list[RgbImage] = []
    for unit in strongest_units:
        inputs = [maximize_activation(agent, stacks, layer, unit, max_pixel)]
        inputs += _most_activating_inputs(stacks, maps[:, unit], size, stride)
        tiles = [observation_to_rgb(frame.numpy(), max_pixel) for stack in inputs for frame in stack]
        rows.append(image_grid(tiles, zoom=zoom, columns=len(tiles), gap=1))
    caption = f"units {', '.join(map(str, strongest_units))}"
    return add_caption(image_grid(rows, zoom=1, columns=1), caption)


def maximize_activation(agent: Agent, stacks: Tensor, layer: int, unit: int, max_pixel: int) -> Tensor:
    """Return an input that maximises the activation of a unit.

    Activation maximisation by gradient ascent (Erhan et al. 2009, "Visualizing higher-layer features of a deep
    network"). The input x starts as the mean stack of the game, and step i of the ascent is

        x <- clip(x + eta_i g / max|g|, 0, max_pixel),    g = dh/dx,    eta_i = eta_0 (1 - i / ASCENT_STEPS)

    where eta_0 = ASCENT_STEP_SIZE * max_pixel, and h is the output of the convolution, before normalisation and ReLU,
    for this unit at the position in the middle of the feature map.

    Args:
        agent: The agent.
        stacks: Stacked frames of a game, u8[T, k, H, W].
        layer: Index of the convolution among those that the policy uses.
        unit: Index of the unit.
        max_pixel: Largest possible pixel value of a frame: 255, or 1 if the frames are binary.

    Returns:
        The part of x that h depends on, the receptive field of the middle position: u8[k, size, size].
    """
    convolutions = _used_convolutions(agent, stacks)
    size, stride, _ = receptive_field(convolutions[: layer + 1])
    outputs: list[Tensor] = []

    def record_output(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)

    x = stacks.float().mean(0, keepdim=True)  # [1, k, H, W]
    y_position, x_position = 0, 0
    # Record the output of the convolution itself: behind its ReLU, an inactive unit has no gradient.
    hook = convolutions[layer].register_forward_hook(record_output)
    try:
        for i in range(ASCENT_STEPS):
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                outputs.clear()
                record_stack_feature_maps(agent, x)
                output = outputs[0]  # [1, C, h, w]
                y_position = output.shape[2] // 2
                x_position = output.shape[3] // 2
                (gradient,) = torch.autograd.grad(output[0, unit, y_position, x_position], x)
            step_size = ASCENT_STEP_SIZE * max_pixel * (1 - i / ASCENT_STEPS)
            x = (x + step_size * gradient / gradient.abs().max().clamp_min(1e-12)).clamp(0, max_pixel)
    finally:
        hook.remove()
    top = y_position * stride
    left = x_position * stride
    return x.detach()[0, :, top : top + size, left : left + size].round().to(torch.uint8)


@torch.no_grad()
def _used_convolutions(agent: Agent, stacks: Tensor) -> list[nn.Conv2d]:
    """Return the convolutions that the policy uses, in the order of their use."""
    return record_stack_feature_maps(agent, stacks[:1]).convolutions


@torch.no_grad()
def _layer_maps(agent: Agent, stacks: Tensor, layer: int) -> Tensor:
    """Return the feature maps [T, C, h, w] of one convolution, after their ReLU."""
    return torch.cat([record_stack_feature_maps(agent, batch).maps[layer] for batch in stacks.split(BATCH_SIZE)])


def _most_activating_inputs(stacks: Tensor, unit_maps: Tensor, size: int, stride: int) -> list[Tensor]:
    """Return the receptive fields u8[k, size, size] in which a unit is most active, each from another stack.

    Args:
        stacks: Stacked frames of a game, u8[T, k, H, W].
        unit_maps: The unit's feature map after its ReLU for each stack, [T, h, w].
        size: Side of the receptive field, in pixels.
        stride: Distance between the receptive fields of neighbouring positions, in pixels.

    Returns:
        At most EXAMPLES_PER_UNIT receptive fields, the one with the largest activation first.
    """
    activations = unit_maps.flatten(1)  # [T, h * w]
    best_stacks = activations.amax(1).topk(min(EXAMPLES_PER_UNIT, len(stacks))).indices.tolist()
    inputs: list[Tensor] = []
    for t in best_stacks:
        y_position, x_position = divmod(int(activations[t].argmax()), unit_maps.shape[2])
        top = y_position * stride
        left = x_position * stride
        inputs.append(stacks[t, :, top : top + size, left : left + size])
    return inputs


def _diverging_colors(values: Tensor) -> RgbImage:
    """Return an image u8[H, W, 3] of values [H, W]: -1 is blue, 0 is white, and 1 is red."""
    x = values.numpy()[:, :, None]
    positive = x.clip(0, 1)
    negative = (-x).clip(0, 1)
    return np.asarray(WHITE - positive * (WHITE - RED) - negative * (WHITE - BLUE), np.uint8)


def _sequential_colors(values: Tensor) -> RgbImage:
    """Return an image u8[H, W, 3] of values [H, W] in the colour map viridis: 0 is dark, and 1 is bright."""
    levels = (values.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)
    return np.asarray(bgr[:, :, ::-1], np.uint8)
