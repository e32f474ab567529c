"""The picture of a moment: the game, what the network gets of it, and what it makes of that."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.analysis.saliency import Heat
from rl_lab.watch.game import Screen
from rl_lab.watch.player import Moment

WIDTH, HEIGHT = 880, 640  # even, as video wants them
GAME_WIDTH = 500
BACKGROUND, TEXT, FAINT = (24, 26, 31), (225, 228, 232), (120, 126, 135)
CHOSEN, EXPLORED, BAR, REALISED = (86, 182, 120), (229, 152, 64), (92, 112, 148), (229, 152, 64)
HOT = (255, 60, 40)
EMPTY = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)  # copied for each picture: filling one takes longer
LEFT, RIGHT = GAME_WIDTH + 16, WIDTH - 16  # of the panel


def compose(moment: Moment, screen: Screen, env_spec: EnvSpec, title: str) -> Screen:
    """One picture, u8[640, 880, 3]: `screen` is one of the moment's."""
    canvas = EMPTY.copy()
    heat = moment.saliency
    if heat is not None and env_spec.view == "grey":  # the other view is a part of the screen
        screen = warmed(screen, heat)
    _place(canvas, screen, (0, 0, GAME_WIDTH, HEIGHT))
    (wide, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    _text(canvas, title, (LEFT, 26), size=0.5 * min(1.0, (RIGHT - LEFT) / wide))
    state = "over" if moment.over else f"step {moment.step:,}"
    _text(canvas, f"game {moment.game}   {state}   score {moment.score:g}", (LEFT, 48), size=0.5)
    top = 64
    if env_spec.max_pixel:
        top = _frames(canvas, moment.seen, env_spec.max_pixel, heat, top)
    top = _bars(canvas, moment, env_spec, top + 18)
    if moment.state_norm is not None:
        _text(canvas, f"size of the memory |h| = {moment.state_norm:.2f}", (LEFT, top + 10), color=FAINT)
        top += 20
    if moment.distribution is not None:
        top = _distribution(canvas, moment.distribution[moment.greedy], top + 10)
    _curves(canvas, moment, top + 12)
    return canvas


def _text(
    canvas: Screen,
    words: str,
    at: tuple[int, int],
    *,
    size: float = 0.42,
    color: tuple[int, int, int] = TEXT,
) -> None:
    cv2.putText(canvas, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def _place(canvas: Screen, image: Screen, box: tuple[int, int, int, int]) -> None:
    """Put an image into a box (left, top, right, bottom), as large as it fits, in the middle; small ones keep sharp pixels."""
    left, top, right, bottom = box
    scale = min((right - left) / image.shape[1], (bottom - top) / image.shape[0])
    if scale >= 2:
        scale = int(scale)
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    sized = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA)
    x, y = (left + right - width) // 2, (top + bottom - height) // 2
    canvas[y : y + height, x : x + width] = sized


def warmed(image: Screen, heat: Heat) -> Screen:
    """An image with a map from 0 to 1 over it, both of the same view: the more, the redder."""
    strength = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[:, :, None] * 0.6
    return np.asarray(image * (1 - strength) + np.array(HOT) * strength, np.uint8)


def _frames(canvas: Screen, seen: NDArray[np.generic], white: int, heat: Heat | None, top: int) -> int:
    """The stack, oldest frame first, with the saliency on the newest; returns where it ends."""
    grey = np.asarray(seen, np.uint8) * (255 // white)
    size = min(88, (RIGHT - LEFT) // len(grey))
    for i, frame in enumerate(grey):
        box = (LEFT + i * size, top, LEFT + (i + 1) * size - 4, top + size - 4)
        image = np.repeat(frame[:, :, None], 3, 2)
        _place(canvas, warmed(image, heat) if heat is not None and i == len(grey) - 1 else image, box)
    return top + size


def _bars(canvas: Screen, moment: Moment, env_spec: EnvSpec, top: int) -> int:
    """A bar for each action's Q or probability; the one it did is green, or orange where it explored."""
    scores, actions = moment.scores, len(moment.scores)
    low, high = (0.0, 1.0) if moment.is_policy else (float(scores.min()), float(scores.max()))
    _text(canvas, "probability of each action" if moment.is_policy else "Q of each action", (LEFT, top), color=FAINT)
    height = min(22, 180 // actions)
    for i, score in enumerate(scores):
        y = top + 8 + i * height
        share = (float(score) - low) / max(high - low, 1e-9)
        length = round((0.02 + 0.98 * share) * (RIGHT - LEFT - 190))
        did = i == moment.action and not moment.over
        color = (EXPLORED if moment.action != moment.greedy else CHOSEN) if did else BAR
        cv2.rectangle(canvas, (LEFT + 110, y + 2), (LEFT + 110 + length, y + height - 3), color, -1)
        size = 0.42 if height >= 16 else 0.3
        _text(canvas, env_spec.actions[i].lower(), (LEFT, y + height - 6), size=size, color=TEXT if did else FAINT)
        _text(canvas, f"{score:.3f}", (RIGHT - 64, y + height - 6), size=size)
    return top + 14 + actions * height


def _distribution(canvas: Screen, probabilities: NDArray[np.float32], top: int) -> int:
    """How probable the greedy action's returns are, from the lowest atom to the highest."""
    _text(canvas, "distribution of its return", (LEFT, top + 6), color=FAINT)
    width = (RIGHT - LEFT) / len(probabilities)
    for i, p in enumerate(probabilities / probabilities.max()):
        x = round(LEFT + i * width)
        cv2.rectangle(canvas, (x, top + 52 - round(38 * float(p))), (round(x + width) - 1, top + 52), BAR, -1)
    return top + 54


def _curves(canvas: Screen, moment: Moment, top: int) -> None:
    """V over the last rows of the game, and the discounted returns that came."""
    _text(canvas, f"V = {moment.values[-1]:.3f}", (LEFT, top + 10), color=CHOSEN)
    _text(canvas, "discounted return that came", (LEFT + 110, top + 10), color=REALISED)
    top, bottom = top + 20, HEIGHT - 14
    both = np.concatenate([moment.values, moment.realised])
    low, high = float(both.min()), float(both.max())
    cv2.rectangle(canvas, (LEFT, top), (RIGHT, bottom), FAINT, 1)
    if bottom - top < 20 or len(moment.values) < 2:
        return
    x = np.linspace(LEFT, RIGHT, len(moment.values))
    for curve, color in ((moment.realised, REALISED), (moment.values, CHOSEN)):
        y = bottom - 4 - (curve - low) / max(high - low, 1e-6) * (bottom - top - 8)
        points = np.stack([x, y], 1).round().astype(np.int32)
        cv2.polylines(canvas, [points], False, color, 1, cv2.LINE_AA)
    for value, y in ((high, top + 12), (low, bottom - 5)):
        _text(canvas, f"{value:.2f}", (LEFT + 4, y), size=0.35, color=FAINT)
