"""What a convolutional network has learned, as pictures: filters, feature maps, what excites its units, where it looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core.agent import Agent
from agents.nn.encoders import Differences
from rl_lab.analysis.saliency import receptive_field, saliencies, with_feature_maps
from rl_lab.errors import LabError
from rl_lab.watch.game import Screen
from rl_lab.watch.picture import BACKGROUND, TEXT, warmed
from rl_lab.watch.player import Moment, Player

GAP = 4  # pixels between two tiles
ASCENT_STEPS, ASCENT_SIZE = 100, 0.08  # of the search for an exciting input: steps, and shares of white of each
FRAMES_KEPT, MOMENTS_KEPT = 600, 24

Item = TypeVar("Item")


class Thinned(Generic[Item]):
    """A sample of a sequence of unknown length, evenly over it: at least `count` items of it, and less than twice as many."""

    def __init__(self, count: int) -> None:
        self.items: list[Item] = []
        self.count, self.every, self.seen = count, 1, 0

    def add(self, item: Item) -> None:
        if self.seen % self.every == 0:
            self.items.append(item)
            if len(self.items) == 2 * self.count:
                self.items, self.every = self.items[::2], 2 * self.every
        self.seen += 1


def draw(player: Player, out: Path, *, step: int, units: int) -> dict[Path, str]:
    """Play one game and draw its pictures into a folder; returns the files and what they show.

    `step`: the agent step whose feature maps are drawn (the last one of a game that is shorter); `units`: the most excited ones
    of each convolution. Raises LabError where the network has no convolutions, or the folder cannot be written.
    """
    agent, env_spec, white = player.agent, player.game.env_spec, player.game.env_spec.max_pixel
    if white is None or "grad-cam" not in saliencies(agent, env_spec):
        raise LabError(
            f"look draws what convolutions have learned, and {type(agent).__name__} on {env_spec.name} has none"
        )
    player.saliency = "grad-cam"
    stacks, moments = Thinned[NDArray[np.uint8]](FRAMES_KEPT), Thinned[tuple[Screen, Moment]](MOMENTS_KEPT)
    at_step = np.zeros(0, np.uint8)
    for moment in player:
        seen = np.asarray(moment.seen, np.uint8)
        at_step = seen if moment.step <= step else at_step
        stacks.add(seen)
        looked_at = moment.screens[-1] if env_spec.view == "grey" else _grey(torch.from_numpy(seen[-1]), white)
        moments.add((looked_at, moment))
        if moment.over:
            break
    player.game.close()
    frames = torch.from_numpy(np.stack(stacks.items))
    pictures: dict[str, tuple[Screen, str]] = {}
    first = convolutions(agent, frames)[0]
    channels = "differences of frames, and the newest one" if isinstance(first, Differences) else "frames, oldest first"
    pictures["filters.png"] = (filters(first), f"the filters of the first convolution, over {channels}")
    maps = feature_maps(agent, torch.from_numpy(at_step)[None])
    for i, layer in enumerate(maps):
        name = f"what convolution {i + 1} makes of step {step}"
        pictures[f"maps-{i + 1}.png"] = (
            grid([_colored(m / m.max().clamp_min(1e-6)) for m in layer[0]], zoom=4 + 2 * i),
            name,
        )
    for i in range(len(maps)):
        name = f"what excites units of convolution {i + 1} most: made for it, and seen in the game"
        pictures[f"units-{i + 1}.png"] = (exciting(agent, frames, i, units, white), name)
    shown = moments.items[:: max(1, len(moments.items) // MOMENTS_KEPT)]
    pictures["cam.png"] = (
        _activation_maps(shown),
        "where the best action's value comes from, over the game (Grad-CAM)",
    )
    files = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, (picture, what) in pictures.items():
            if not cv2.imwrite(str(out / name), picture[:, :, ::-1]):
                raise OSError(f"{name} was not written")
            files[out / name] = what
    except OSError as error:
        raise LabError(f"the pictures cannot be written to {out}: {error}") from error
    return files


def filters(conv: nn.Conv2d) -> Screen:
    """Each filter of a convolution, its input channels side by side: blue below 0, red above."""
    weights = conv.weight.detach().float().cpu()
    weights = weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    rows = [grid([_diverging(channel) for channel in one], zoom=6, columns=len(one), gap=1) for one in weights]
    return grid(rows, zoom=1, columns=4)


def think_of(agent: Agent, stacks: Tensor) -> list[Tensor]:
    """The feature maps of stacks [B, k, H, W], in the order of the convolutions."""
    n = len(stacks)
    carry = (stacks[:, :-1], *agent.initial_carry(n)[1:])
    return with_feature_maps(agent, stacks[:, -1], torch.zeros(n, dtype=torch.bool), carry)[2]


def feature_maps(agent: Agent, stacks: Tensor) -> list[Tensor]:
    """The same, without gradients."""
    with torch.no_grad():
        return think_of(agent, stacks)


def convolutions(agent: Agent, stacks: Tensor) -> list[nn.Conv2d]:
    """Those that such a stack goes through."""
    with torch.no_grad():
        carry = (stacks[:1, :-1], *agent.initial_carry(1)[1:])
        return with_feature_maps(agent, stacks[:1, -1], torch.zeros(1, dtype=torch.bool), carry)[1]


def exciting(agent: Agent, frames: Tensor, layer: int, units: int, white: int) -> Screen:
    """A row for each unit: the input made to excite it (its frames, oldest first), and the three of the game that do most."""
    size, stride, _ = receptive_field(convolutions(agent, frames)[: layer + 1])
    batches = [feature_maps(agent, part)[layer] for part in frames.split(64)]
    maps = torch.cat(batches)  # [T, C, h, w]
    strongest = maps.amax((0, 2, 3)).topk(min(units, maps.shape[1])).indices.tolist()
    zoom = max(1, 72 // size)
    rows = []
    for unit in strongest:
        tiles = [_grey(frame, white) for frame in made_to_excite(agent, frames, layer, unit, white)]
        by_frame = maps[:, unit].flatten(1)
        for t in by_frame.amax(1).topk(min(3, len(frames))).indices.tolist():
            y, x = divmod(int(by_frame[t].argmax()), maps.shape[3])
            crop = frames[t, :, y * stride : y * stride + size, x * stride : x * stride + size]
            tiles += [_grey(frame, white) for frame in crop]
        rows.append(grid(tiles, zoom=zoom, columns=len(tiles), gap=1))
    return _titled(grid(rows, zoom=1, columns=1), f"units {', '.join(map(str, strongest))}")


def made_to_excite(agent: Agent, frames: Tensor, layer: int, unit: int, white: int) -> Tensor:
    """The pixels u8[k, size, size] that a unit in the middle of its map sees, after gradient ascent on its activation.

    From the game's mean frames, along the gradient's direction (Erhan et al. 2009), within 0 to `white`.
    """
    convs = convolutions(agent, frames)
    size, stride, _ = receptive_field(convs[: layer + 1])
    raw: list[Tensor] = []  # before its ReLU, which has no gradient where the unit is silent

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        raw.append(output)

    hook = convs[layer].register_forward_hook(keep)
    x = frames.float().mean(0, keepdim=True)
    y = z = 0
    try:
        for i in range(ASCENT_STEPS):
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                raw.clear()
                think_of(agent, x)
                y, z = raw[0].shape[2] // 2, raw[0].shape[3] // 2
                (gradient,) = torch.autograd.grad(raw[0][0, unit, y, z], x)
            pace = ASCENT_SIZE * white * (1 - i / ASCENT_STEPS)
            x = (x + pace * gradient / gradient.abs().max().clamp_min(1e-12)).clamp(0, white)
    finally:
        hook.remove()
    return x.detach()[0, :, y * stride : y * stride + size, z * stride : z * stride + size].round().to(torch.uint8)


def _activation_maps(moments: list[tuple[Screen, Moment]]) -> Screen:
    tiles = []
    for screen, moment in moments:
        assert moment.saliency is not None
        tiles.append(_titled(warmed(screen, moment.saliency), f"step {moment.step}"))
    return grid(tiles, zoom=1, columns=6)


# --- tiles --------------------------------------------------------------------------------------------------------


def grid(tiles: list[Screen], *, zoom: int, columns: int | None = None, gap: int = GAP) -> Screen:
    """Tiles of one size in rows, each pixel `zoom` pixels wide; even in both directions."""
    columns = columns or int(np.ceil(np.sqrt(len(tiles))))
    height, width = (zoom * side + gap for side in tiles[0].shape[:2])
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * height + gap, columns * width + gap, 3), BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = gap + i // columns * height, gap + i % columns * width
        canvas[y : y + height - gap, x : x + width - gap] = tile.repeat(zoom, 0).repeat(zoom, 1)
    return canvas


def _titled(picture: Screen, words: str) -> Screen:
    canvas = np.full((picture.shape[0] + 18, picture.shape[1], 3), BACKGROUND, np.uint8)
    canvas[18:] = picture
    cv2.putText(canvas, words, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, TEXT, 1, cv2.LINE_AA)
    return canvas


def _grey(frame: Tensor, white: int) -> Screen:
    return frame.numpy()[:, :, None].repeat(3, 2) * (255 // white)


def _diverging(values: Tensor) -> Screen:
    """-1 blue, 0 white, 1 red."""
    v = values.numpy()[:, :, None]
    ends: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda x: x.clip(0, 1)  # noqa: E731
    white = np.array((245, 245, 245))
    return np.asarray(white - ends(v) * (white - (200, 30, 40)) - ends(-v) * (white - (40, 80, 200)), np.uint8)


def _colored(values: Tensor) -> Screen:
    """0 dark, 1 bright (viridis)."""
    levels = (values.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, :, ::-1], np.uint8)
