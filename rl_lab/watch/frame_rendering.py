"""The frame that a viewer shows: the screen of the game, and a panel with the agent's input and output."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.analysis.saliency import Heatmap
from rl_lab.watch.images import (
    BACKGROUND,
    TEXT,
    Color,
    RgbImage,
    draw_text,
    observation_to_rgb,
    overlay_heatmap,
    shorten,
    text_width,
)
from rl_lab.watch.player import PlayerStep

FRAME_WIDTH = 880  # even, because H.264 needs even sizes
FRAME_HEIGHT = 640
SCREEN_WIDTH = 500  # the left part of the frame, for the screen of the game
PANEL_LEFT = SCREEN_WIDTH + 16
PANEL_RIGHT = FRAME_WIDTH - 16

FAINT_TEXT: Color = (120, 126, 135)
GREEDY: Color = (86, 182, 120)  # the chosen action if it is the greedy one; the curve of V
EXPLORATORY: Color = (229, 152, 64)  # the chosen action if it is not the greedy one
RETURNS: Color = (229, 152, 64)  # the curve of the returns
BAR: Color = (92, 112, 148)

MAX_TITLE = 90  # characters; a longer title would be too small to read
MAX_ACTION_NAME = 14  # characters beside a bar

EMPTY_FRAME = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), BACKGROUND, np.uint8)  # a copy is faster than filling a new frame


class Box(NamedTuple):
    """A rectangle of pixels. `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


def render_frame(player_step: PlayerStep, screen: RgbImage, env_spec: EnvSpec, title: str) -> RgbImage:
    """Return the frame of a step.

    Args:
        player_step: The step, with the agent's input and output.
        screen: One of the screens of the step.
        env_spec: The environment that is played.
        title: First line of the panel.

    Returns:
        An image u8[FRAME_HEIGHT, FRAME_WIDTH, 3].
    """
    frame = EMPTY_FRAME.copy()
    heatmap = player_step.saliency
    shows_whole_screen = env_spec.view == "grey"  # the binary view is a part of the screen; a heatmap would not fit
    if heatmap is not None and shows_whole_screen:
        screen = overlay_heatmap(screen, heatmap)
    _draw_scaled(frame, screen, Box(0, 0, SCREEN_WIDTH, FRAME_HEIGHT))
    _draw_header(frame, player_step, title)
    y = 64
    if env_spec.max_pixel:
        y = _draw_observation(frame, player_step.stacked_obs, env_spec.max_pixel, heatmap, y)
    y = _draw_scores(frame, player_step, env_spec.actions, y + 18)
    if player_step.state_norm is not None:
        text = f"norm of the recurrent state |h| = {player_step.state_norm:.2f}"
        draw_text(frame, text, (PANEL_LEFT, y + 10), color=FAINT_TEXT)
        y += 20
    if player_step.distribution is not None:
        y = _draw_distribution(frame, player_step.distribution[player_step.greedy_action], y + 10)
    _draw_curves(frame, player_step, y + 12)
    return frame


def _draw_scaled(frame: RgbImage, image: RgbImage, box: Box) -> None:
    """Draw an image into the middle of a box, as large as it fits.

    An image that is enlarged at least twice is scaled by a whole number, so that its pixels stay sharp.
    """
    height, width = image.shape[:2]
    scale = min((box.right - box.left) / width, (box.bottom - box.top) / height)
    if scale >= 2:
        scale = int(scale)
    width = max(1, round(width * scale))  # a side of a long, thin image may become shorter than a pixel
    height = max(1, round(height * scale))
    interpolation = cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA
    x = (box.left + box.right - width) // 2
    y = (box.top + box.bottom - height) // 2
    frame[y : y + height, x : x + width] = cv2.resize(image, (width, height), interpolation=interpolation)


def _draw_header(frame: RgbImage, player_step: PlayerStep, title: str) -> None:
    """Draw the title, and a line with the game's number, step and score. A long title is drawn smaller."""
    size = 0.5
    title = shorten(title, MAX_TITLE)
    shrink = min(1.0, (PANEL_RIGHT - PANEL_LEFT) / max(1, text_width(title, size)))
    draw_text(frame, title, (PANEL_LEFT, 26), size=size * shrink)
    progress = "over" if player_step.is_last else f"step {player_step.step_number:,}"
    status = f"game {player_step.game_number}   {progress}   score {player_step.score:g}"
    draw_text(frame, status, (PANEL_LEFT, 48), size=size)


def _draw_observation(
    frame: RgbImage, stacked_obs: NDArray[np.generic], max_pixel: int, heatmap: Heatmap | None, top: int
) -> int:
    """Draw the stacked frames, oldest first, with the heatmap on the newest. Returns the y below them."""
    frames = np.asarray(stacked_obs, np.uint8)
    newest = len(frames) - 1
    size = min(88, (PANEL_RIGHT - PANEL_LEFT) // len(frames))
    for i, pixels in enumerate(frames):
        image = observation_to_rgb(pixels, max_pixel)
        if heatmap is not None and i == newest:
            image = overlay_heatmap(image, heatmap)
        left = PANEL_LEFT + i * size
        _draw_scaled(frame, image, Box(left, top, left + size - 4, top + size - 4))
    return top + size


def _draw_scores(frame: RgbImage, player_step: PlayerStep, action_names: tuple[str, ...], top: int) -> int:
    """Draw a bar with the Q value or the probability of each action. Returns the y below them."""
    scores = player_step.action_scores
    if player_step.is_policy:
        caption = "action probabilities"
        low, high = 0.0, 1.0
    else:
        caption = "action values Q(s, a)"
        low, high = float(scores.min()), float(scores.max())
    draw_text(frame, caption, (PANEL_LEFT, top), color=FAINT_TEXT)
    chosen = None if player_step.is_last else player_step.action
    chosen_color = GREEDY if player_step.action == player_step.greedy_action else EXPLORATORY
    row_height = min(22, 180 // len(scores))
    text_size = 0.42 if row_height >= 16 else 0.3
    left = PANEL_LEFT + 110
    for i, score in enumerate(scores):
        y = top + 8 + i * row_height
        baseline = y + row_height - 6
        share = (float(score) - low) / max(high - low, 1e-9)
        length = round((0.02 + 0.98 * share) * (PANEL_RIGHT - PANEL_LEFT - 190))
        bar_color = chosen_color if i == chosen else BAR
        name_color = TEXT if i == chosen else FAINT_TEXT
        cv2.rectangle(frame, (left, y + 2), (left + length, y + row_height - 3), bar_color, -1)
        name = shorten(action_names[i].lower(), MAX_ACTION_NAME)
        draw_text(frame, name, (PANEL_LEFT, baseline), size=text_size, color=name_color)
        draw_text(frame, f"{score:.3f}", (PANEL_RIGHT - 64, baseline), size=text_size)
    return top + 14 + len(scores) * row_height


def _draw_distribution(frame: RgbImage, probabilities: NDArray[np.float32], top: int) -> int:
    """Draw the return distribution of the greedy action, lowest atom on the left. Returns the y below it."""
    draw_text(frame, "return distribution of the greedy action", (PANEL_LEFT, top + 6), color=FAINT_TEXT)
    bottom = top + 52
    width = (PANEL_RIGHT - PANEL_LEFT) / len(probabilities)
    for i, share in enumerate(probabilities / probabilities.max()):
        left = round(PANEL_LEFT + i * width)
        right = round(left + width) - 1
        cv2.rectangle(frame, (left, bottom - round(38 * float(share))), (right, bottom), BAR, -1)
    return bottom + 2


def _draw_curves(frame: RgbImage, player_step: PlayerStep, top: int) -> None:
    """Draw V and the discounted returns of the latest rows of the game."""
    draw_text(frame, f"V = {player_step.values[-1]:.3f}", (PANEL_LEFT, top + 10), color=GREEDY)
    draw_text(frame, "discounted return", (PANEL_LEFT + 110, top + 10), color=RETURNS)
    box = Box(PANEL_LEFT, top + 20, PANEL_RIGHT, FRAME_HEIGHT - 14)
    cv2.rectangle(frame, (box.left, box.top), (box.right, box.bottom), FAINT_TEXT, 1)
    num_rows = len(player_step.values)
    if box.bottom - box.top < 20 or num_rows < 2:
        return
    both = np.concatenate([player_step.values, player_step.returns])
    low, high = float(both.min()), float(both.max())
    x = np.linspace(box.left, box.right, num_rows)
    for curve, color in ((player_step.returns, RETURNS), (player_step.values, GREEDY)):
        y = box.bottom - 4 - (curve - low) / max(high - low, 1e-6) * (box.bottom - box.top - 8)
        points = np.stack([x, y], 1).round().astype(np.int32)
        cv2.polylines(frame, [points], False, color, 1, cv2.LINE_AA)
    draw_text(frame, f"{high:.2f}", (box.left + 4, box.top + 12), size=0.35, color=FAINT_TEXT)
    draw_text(frame, f"{low:.2f}", (box.left + 4, box.bottom - 5), size=0.35, color=FAINT_TEXT)
