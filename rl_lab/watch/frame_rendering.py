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
from rl_lab.watch.vector_entries import entry_names, entry_ranges, is_vector

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

HEADER_HEIGHT = 64  # pixels from the top of the frame to the observation
SCORES_GAP = 18  # pixels between the observation and the baseline of the caption of the scores
SCORES_CAPTION_HEIGHT = 14
STATE_NORM_HEIGHT = 20
DISTRIBUTION_HEIGHT = 64
MIN_CURVES_HEIGHT = 140
ENTRY_HEIGHT = 16  # of an entry of a vector
NAME_WIDTH = 110  # of the names beside bars
VALUE_WIDTH = 80  # of the values beside bars
MAX_ACTIONS = 18  # actions with a bar of their own

MAX_TITLE = 90  # characters; a longer title would be too small to read
MAX_ACTION_NAME = 14  # characters beside a bar
MAX_ENTRY_NAME = 16  # characters beside the bar of an entry of a vector

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
    if heatmap is not None and screen_shows_observation(env_spec):
        screen = overlay_heatmap(screen, heatmap)
    _draw_scaled(frame, screen, Box(0, 0, SCREEN_WIDTH, FRAME_HEIGHT))
    _draw_header(frame, player_step, title)
    y = HEADER_HEIGHT
    if env_spec.max_pixel:
        y = _draw_observation(frame, player_step.stacked_obs, env_spec.max_pixel, heatmap, y)
    elif env_spec.one_hot:
        y = _draw_state(frame, player_step.stacked_obs[-1], y)
    elif is_vector(env_spec):
        bottom = FRAME_HEIGHT - _height_below_observation(player_step)
        y = _draw_vector(frame, player_step, env_spec, Box(PANEL_LEFT, y, PANEL_RIGHT, bottom))
    y = _draw_scores(frame, player_step, env_spec.actions, y + SCORES_GAP)
    if player_step.state_norm is not None:
        text = f"norm of the recurrent state |h| = {player_step.state_norm:.2f}"
        draw_text(frame, text, (PANEL_LEFT, y + 10), color=FAINT_TEXT)
        y += STATE_NORM_HEIGHT
    if player_step.distribution is not None:
        y = _draw_distribution(frame, player_step.distribution[player_step.greedy_action], y + 10)
    _draw_curves(frame, player_step, y + 12)
    return frame


def screen_shows_observation(env_spec: EnvSpec) -> bool:
    """Return True if the screen and the observation are the same picture, so that a heatmap fits on both.

    Atari's grey levels are the whole screen, and the view "pixels" is the screen itself. Pong's binary view is a part
    of the screen, and other environments may render another picture than their observation: CarRacing does.
    """
    if env_spec.view == "pixels":
        return True
    return env_spec.backend == "ale" and env_spec.view == "grey"


def _height_below_observation(player_step: PlayerStep) -> int:
    """Return the pixels that everything below the observation needs, with curves of a height that can be read."""
    num_rows = min(len(player_step.action_scores), MAX_ACTIONS + 1)
    height = SCORES_GAP + SCORES_CAPTION_HEIGHT + num_rows * _score_row_height(num_rows)
    if player_step.state_norm is not None:
        height += STATE_NORM_HEIGHT
    if player_step.distribution is not None:
        height += DISTRIBUTION_HEIGHT
    return height + MIN_CURVES_HEIGHT


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


def _draw_state(frame: RgbImage, obs: NDArray[np.generic], top: int) -> int:
    """Draw the number of a discrete state, which is a one-hot vector. Returns the y below it."""
    state = str(int(obs.argmax())) if obs.any() else "hidden"  # all entries of a blank observation are 0
    draw_text(frame, f"state {state} of {obs.size:,}", (PANEL_LEFT, top + 14), size=0.5)
    return top + 20


def _draw_vector(frame: RgbImage, player_step: PlayerStep, env_spec: EnvSpec, box: Box) -> int:
    """Draw a bar for each entry of the newest observation, as many as fit into the box. Returns the y below them."""
    obs = np.asarray(player_step.stacked_obs[-1], np.float64).ravel()
    names = entry_names(env_spec)
    ranges = entry_ranges(env_spec, player_step.obs_magnitudes.ravel())
    num_stacked = len(player_step.stacked_obs)
    caption = "observation" if num_stacked == 1 else f"newest observation of {num_stacked}"
    draw_text(frame, caption, (PANEL_LEFT, box.top + 10), color=FAINT_TEXT)
    top = box.top + 18
    num_rows = max((box.bottom - top) // ENTRY_HEIGHT, 1)
    num_shown = len(obs) if len(obs) <= num_rows else num_rows - 1  # the last row counts the others
    for i in range(num_shown):
        row = Box(box.left, top + i * ENTRY_HEIGHT, box.right, top + (i + 1) * ENTRY_HEIGHT)
        value = "masked" if i in env_spec.masked else _format_entry(float(obs[i]))
        _draw_entry(frame, shorten(names[i], MAX_ENTRY_NAME), float(obs[i]), value, ranges[i], row)
    bottom = top + num_shown * ENTRY_HEIGHT
    num_hidden = len(obs) - num_shown
    if num_hidden:
        draw_text(frame, f"and {num_hidden:,} more", (box.left, bottom + 11), size=0.38, color=FAINT_TEXT)
        bottom += ENTRY_HEIGHT
    return bottom


def _draw_entry(
    frame: RgbImage, name: str, number: float, value: str, number_range: NDArray[np.float64], row: Box
) -> None:
    """Draw one entry of a vector: its name, a bar from zero to the number within the range, and its value as text.

    If zero is not in the range, the bar begins at the nearer end of the range.
    """
    low, high = float(number_range[0]), float(number_range[1])
    left = row.left + NAME_WIDTH
    width = row.right - VALUE_WIDTH - left

    def x_of(position: float) -> int:
        share = (min(max(position, low), high) - low) / (high - low)
        return left + round(share * width)

    zero, end = x_of(0.0), x_of(number)
    middle = (row.top + row.bottom) // 2
    cv2.line(frame, (left, middle), (left + width, middle), FAINT_TEXT, 1)
    cv2.rectangle(frame, (min(zero, end), row.top + 3), (max(zero, end), row.bottom - 3), BAR, -1)
    cv2.line(frame, (zero, row.top + 1), (zero, row.bottom - 1), TEXT, 1)
    baseline = row.bottom - 4
    draw_text(frame, name, (row.left, baseline), size=0.38, color=FAINT_TEXT)
    draw_text(frame, value, (row.right - VALUE_WIDTH + 16, baseline), size=0.38)


def _format_entry(number: float) -> str:
    """Return a number with three digits after the point, or a large one with three digits in all."""
    return f"{number:.3f}" if abs(number) < 1000 else f"{number:.3g}"


def _score_row_height(num_rows: int) -> int:
    """Return the height of the row of an action."""
    return min(22, 180 // num_rows)


def _shown_actions(scores: NDArray[np.float32], action: int) -> list[int]:
    """Return the actions that have a bar, in order: all, or of many the chosen one and those with the best scores."""
    if len(scores) <= MAX_ACTIONS:
        return list(range(len(scores)))
    best = np.argsort(-scores, kind="stable")
    others = [int(i) for i in best if i != action]
    return sorted([action, *others[: MAX_ACTIONS - 1]])


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
    shown = _shown_actions(scores, player_step.action)
    num_hidden = len(scores) - len(shown)
    num_rows = len(shown) + bool(num_hidden)
    chosen = None if player_step.is_last else player_step.action
    chosen_color = GREEDY if player_step.action == player_step.greedy_action else EXPLORATORY
    row_height = _score_row_height(num_rows)
    text_size = 0.42 if row_height >= 16 else 0.3
    left = PANEL_LEFT + NAME_WIDTH
    for row, i in enumerate(shown):
        y = top + 8 + row * row_height
        baseline = y + row_height - (6 if row_height >= 16 else 2)
        share = (float(scores[i]) - low) / max(high - low, 1e-9)
        length = round((0.02 + 0.98 * share) * (PANEL_RIGHT - left - VALUE_WIDTH))
        bar_color = chosen_color if i == chosen else BAR
        name_color = TEXT if i == chosen else FAINT_TEXT
        cv2.rectangle(frame, (left, y + 2), (left + length, y + row_height - 3), bar_color, -1)
        name = shorten(action_names[i].lower(), MAX_ACTION_NAME)
        draw_text(frame, name, (PANEL_LEFT, baseline), size=text_size, color=name_color)
        draw_text(frame, f"{scores[i]:.3f}", (PANEL_RIGHT - VALUE_WIDTH + 16, baseline), size=text_size)
    if num_hidden:
        baseline = top + 8 + num_rows * row_height - 2
        draw_text(frame, f"and {num_hidden:,} more", (PANEL_LEFT, baseline), size=text_size, color=FAINT_TEXT)
    return top + SCORES_CAPTION_HEIGHT + num_rows * row_height


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
