"""The frame that a viewer shows: the screen of the game, and a panel with the agent's input and output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.options import parse_crop
from envs.spec import EnvSpec
from rl_lab.analysis.saliency import Heatmap
from rl_lab.watch.colored_planes import channel_colors, channel_names, color_planes
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
from rl_lab.watch.player import Action, PlayerStep
from rl_lab.watch.vector_entries import entry_names, entry_ranges, spatial_part, vector_part

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
MAX_STATE = 38  # characters of the numbers of discrete states
MAX_TILES = 8  # images or planes side by side
CHANNELS_SIDE = 130  # pixels of the picture of a grid game's channels, at least
LEGEND_HEIGHT = 14  # of the name of a channel
MAX_ENTRY_NAME = 16  # characters beside the bar of an entry of a vector

EMPTY_FRAME = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), BACKGROUND, np.uint8)  # a copy is faster than filling a new frame


class Box(NamedTuple):
    """A rectangle of pixels. `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


SCREEN_BOX = Box(0, 0, SCREEN_WIDTH, FRAME_HEIGHT)
"""The part of a frame in the middle of which the screen is drawn."""


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
    part = observed_part_of_screen(env_spec)
    if heatmap is not None and part is not None:
        screen = screen.copy()
        screen[part] = overlay_heatmap(screen[part], heatmap)
    draw_scaled(frame, screen, SCREEN_BOX)
    _draw_header(frame, player_step, title)
    y = HEADER_HEIGHT
    bottom = FRAME_HEIGHT - _height_below_observation(player_step)
    y = _draw_observation(frame, player_step, env_spec, Box(PANEL_LEFT, y, PANEL_RIGHT, bottom))
    draw_actions = _draw_continuous_action if env_spec.is_continuous else _draw_scores
    y = draw_actions(frame, player_step, env_spec, y + SCORES_GAP)
    if player_step.state_norm is not None:
        text = f"norm of the recurrent state |h| = {player_step.state_norm:.2f}"
        draw_text(frame, text, (PANEL_LEFT, y + 10), color=FAINT_TEXT)
        y += STATE_NORM_HEIGHT
    if player_step.distribution is not None:
        assert isinstance(player_step.greedy_action, int)  # distributions are of discrete actions
        y = _draw_distribution(frame, player_step.distribution[player_step.greedy_action], y + 10)
    _draw_curves(frame, player_step, y + 12)
    return frame


def observed_part_of_screen(env_spec: EnvSpec) -> tuple[slice, slice] | None:
    """Return the rows and columns of the screen that the observation shows, on which a heatmap fits.

    Atari's grey levels are the whole screen, and the view "pixels" is the screen or the part that `crop` selects. None
    for all others: Pong's binary view is not in the proportions of the screen, and other environments may render
    another picture than their observation. CarRacing does.
    """
    if env_spec.view == "pixels":
        return parse_crop(env_spec.options.crop)
    if env_spec.backend == "ale" and env_spec.view == "grey":
        return parse_crop("")
    return None


def _height_below_observation(player_step: PlayerStep) -> int:
    """Return the pixels that everything below the observation needs, with curves of a height that can be read."""
    num_rows = min(len(player_step.action_scores), MAX_ACTIONS + 1)
    height = SCORES_GAP + SCORES_CAPTION_HEIGHT + num_rows * _score_row_height(num_rows)
    if player_step.state_norm is not None:
        height += STATE_NORM_HEIGHT
    if player_step.distribution is not None:
        height += DISTRIBUTION_HEIGHT
    return height + MIN_CURVES_HEIGHT


def screen_part(screen: RgbImage) -> tuple[slice, slice]:
    """Return the rows and columns of a frame in which `render_frame` draws a screen."""
    box = _scaled_box(screen, SCREEN_BOX)
    return slice(box.top, box.bottom), slice(box.left, box.right)


def draw_scaled(frame: RgbImage, image: RgbImage, box: Box) -> None:
    """Draw an image into the middle of a box, as large as it fits."""
    part = _scaled_box(image, box)
    size = (part.right - part.left, part.bottom - part.top)
    interpolation = cv2.INTER_NEAREST if size[0] >= image.shape[1] else cv2.INTER_AREA
    frame[part.top : part.bottom, part.left : part.right] = cv2.resize(image, size, interpolation=interpolation)


def _scaled_box(image: RgbImage, box: Box) -> Box:
    """Return the box in the middle of `box` that an image fills, as large as it fits.

    An image that is enlarged at least twice is scaled by a whole number, so that its pixels stay sharp.
    """
    height, width = image.shape[:2]
    scale = min((box.right - box.left) / width, (box.bottom - box.top) / height)
    if scale >= 2:
        scale = int(scale)
    width = max(1, round(width * scale))  # a side of a long, thin image may become shorter than a pixel
    height = max(1, round(height * scale))
    x = (box.left + box.right - width) // 2
    y = (box.top + box.bottom - height) // 2
    return Box(x, y, x + width, y + height)


def _draw_header(frame: RgbImage, player_step: PlayerStep, title: str) -> None:
    """Draw the title, and a line with the game's number, step and score. A long title is drawn smaller."""
    size = 0.5
    title = shorten(title, MAX_TITLE)
    shrink = min(1.0, (PANEL_RIGHT - PANEL_LEFT) / max(1, text_width(title, size)))
    draw_text(frame, title, (PANEL_LEFT, 26), size=size * shrink)
    progress = "over" if player_step.is_last else f"step {player_step.step_number:,}"
    status = f"game {player_step.game_number}   {progress}   score {player_step.score:g}"
    draw_text(frame, status, (PANEL_LEFT, 48), size=size)


def _draw_observation(frame: RgbImage, player_step: PlayerStep, env_spec: EnvSpec, box: Box) -> int:
    """Draw the network's input: images or planes, and below them a state or a vector. Returns the y below them."""
    y = box.top
    newest = player_step.stacked_obs[-1]
    spatial = [spatial_part(env_spec, obs) for obs in player_step.stacked_obs]
    images = [part for part in spatial if part is not None]
    if images and _is_image(env_spec):
        y = _draw_images(frame, images, env_spec.max_pixel or 255, player_step.saliency, y)
    elif images:
        names = channel_names(env_spec, len(images[-1]))
        y = _draw_channels(frame, images[-1], names, y) if names else _draw_planes(frame, images[-1], y)
    vector = vector_part(env_spec, newest)
    if env_spec.state_sizes:
        y = _draw_state(frame, vector, env_spec.state_sizes, y)
    elif len(vector):
        y = _draw_vector(frame, player_step, env_spec, vector, box._replace(top=y))
    return y


def _is_image(env_spec: EnvSpec) -> bool:
    """Return True if the spatial part of an observation is an image, and not planes."""
    if env_spec.packed is not None:
        return env_spec.packed.spatial_kind == "image"
    return env_spec.obs_kind == "image"


def _draw_images(
    frame: RgbImage, images: Sequence[NDArray[Any]], max_pixel: int, heatmap: Heatmap | None, top: int
) -> int:
    """Draw the stacked images [H, W] or [C, H, W], oldest first, with the heatmap on the newest. Returns the y below.

    The channels of an image are colours if there are three, otherwise images of their own. The newest ones are shown if
    there are too many.
    """
    pictures: list[RgbImage] = []
    for image in images:
        if image.ndim == 3 and len(image) == 3:
            pictures.append(np.ascontiguousarray(image.transpose(1, 2, 0)))
            continue
        channels = image[None] if image.ndim == 2 else image
        pictures += [observation_to_rgb(channel, max_pixel) for channel in channels]
    if heatmap is not None:
        pictures[-1] = overlay_heatmap(pictures[-1], heatmap)
    return _draw_tiles(frame, pictures[-MAX_TILES:], top)


def _draw_planes(frame: RgbImage, planes: NDArray[Any], top: int) -> int:
    """Draw the first planes of planes [C, H, W], each from its lowest to its highest number. Returns the y below."""
    num_shown = min(len(planes), MAX_TILES)
    caption = f"{len(planes)} planes of {planes.shape[1]} x {planes.shape[2]}"
    if num_shown < len(planes):
        caption += f", the first {num_shown}"
    draw_text(frame, caption, (PANEL_LEFT, top + 10), color=FAINT_TEXT)
    numbers = planes[:num_shown].astype(np.float64)
    low = np.minimum(numbers.min((1, 2), keepdims=True), 0)
    high = numbers.max((1, 2), keepdims=True)
    grey = ((numbers - low) / np.maximum(high - low, 1e-9) * 255).astype(np.uint8)
    return _draw_tiles(frame, [observation_to_rgb(plane, 255) for plane in grey], top + 18)


def _draw_channels(frame: RgbImage, planes: NDArray[Any], names: Sequence[str], top: int) -> int:
    """Draw planes [C, H, W] as one picture, and beside it a legend of its channels. Returns the y below both."""
    size = max(CHANNELS_SIDE, LEGEND_HEIGHT * len(names))
    draw_scaled(frame, color_planes(planes), Box(PANEL_LEFT, top, PANEL_LEFT + size, top + size))
    left = PANEL_LEFT + size + 12
    for i, (name, color) in enumerate(zip(names, channel_colors(len(names)), strict=True)):
        y = top + i * LEGEND_HEIGHT
        frame[y + 1 : y + LEGEND_HEIGHT - 1, left : left + LEGEND_HEIGHT] = color
        draw_text(frame, name, (left + LEGEND_HEIGHT + 8, y + LEGEND_HEIGHT - 3), color=FAINT_TEXT)
    return top + size


def _draw_tiles(frame: RgbImage, pictures: Sequence[RgbImage], top: int) -> int:
    """Draw pictures side by side. Returns the y below them."""
    size = min(88, (PANEL_RIGHT - PANEL_LEFT) // len(pictures))
    for i, picture in enumerate(pictures):
        left = PANEL_LEFT + i * size
        draw_scaled(frame, picture, Box(left, top, left + size - 4, top + size - 4))
    return top + size


def _draw_state(frame: RgbImage, vector: NDArray[np.float32], sizes: tuple[int, ...], top: int) -> int:
    """Draw the numbers of discrete states, which are groups of a one-hot vector. Returns the y below them."""
    groups = np.split(vector, np.cumsum(sizes)[:-1])
    numbers = [
        str(int(group.argmax())) if group.any() else "hidden" for group in groups
    ]  # a blank group has only zeros
    text = f"state {', '.join(numbers)} of {' x '.join(map(str, sizes))}"
    draw_text(frame, shorten(text, MAX_STATE), (PANEL_LEFT, top + 14), size=0.5)
    return top + 20


def _draw_vector(
    frame: RgbImage, player_step: PlayerStep, env_spec: EnvSpec, obs: NDArray[np.float32], box: Box
) -> int:
    """Draw a bar for each entry of the newest vector, as many as fit into the box. Returns the y below them."""
    names = entry_names(env_spec, len(obs))
    ranges = entry_ranges(env_spec, player_step.obs_magnitudes)
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


def _draw_continuous_action(frame: RgbImage, player_step: PlayerStep, env_spec: EnvSpec, top: int) -> int:
    """Draw a bar for each entry of a continuous action. Returns the y below them.

    A bar reaches from the lower to the upper bound of the entry. A line marks the number that is taken. A band shows
    one standard deviation of the policy around its mean. The text is the number that the environment receives.
    """
    caption = "action and standard deviation" if player_step.action_std is not None else "action"
    draw_text(frame, caption, (PANEL_LEFT, top), color=FAINT_TEXT)
    action = np.clip(np.asarray(player_step.action), -1, 1)
    mean = player_step.action_scores
    std = np.zeros_like(mean) if player_step.action_std is None else player_step.action_std
    num_shown = len(mean) if len(mean) <= MAX_ACTIONS else MAX_ACTIONS - 1
    num_rows = min(len(mean), MAX_ACTIONS)
    row_height = _score_row_height(num_rows)
    left = PANEL_LEFT + NAME_WIDTH
    width = PANEL_RIGHT - VALUE_WIDTH - left

    def x_of(number: float) -> int:
        return left + round((min(max(number, -1.0), 1.0) + 1) / 2 * width)

    color = GREEDY if player_step.is_greedy else EXPLORATORY
    for i in range(num_shown):
        y = top + 8 + i * row_height
        baseline = y + row_height - (6 if row_height >= 16 else 2)
        middle = y + row_height // 2
        cv2.line(frame, (left, middle), (left + width, middle), FAINT_TEXT, 1)
        low_x, high_x = x_of(mean[i] - std[i]), x_of(mean[i] + std[i])
        cv2.rectangle(frame, (low_x, y + 4), (high_x, y + row_height - 5), BAR, -1)
        if not player_step.is_last:
            x = x_of(action[i])
            cv2.rectangle(frame, (x - 1, y + 1), (x + 1, y + row_height - 2), color, -1)
        low, high = env_spec.action_bounds[i]
        name = shorten(env_spec.actions[i].lower(), MAX_ACTION_NAME)
        draw_text(frame, name, (PANEL_LEFT, baseline), size=0.42, color=FAINT_TEXT)
        value = _format_entry(low + (float(action[i]) + 1) / 2 * (high - low))
        draw_text(frame, value, (PANEL_RIGHT - VALUE_WIDTH + 16, baseline), size=0.42)
    if num_shown < len(mean):
        baseline = top + 8 + num_rows * row_height - 2
        draw_text(frame, f"and {len(mean) - num_shown:,} more", (PANEL_LEFT, baseline), size=0.3, color=FAINT_TEXT)
    return top + SCORES_CAPTION_HEIGHT + num_rows * row_height


def score_rows(action: Action, action_parts: tuple[int, ...], *, is_policy: bool) -> list[int]:
    """Return the indices of the scores that belong to a discrete action.

    A policy with several parts has a probability for each action of each part, one part after the other. Otherwise the
    number of the action is the index of its score.
    """
    assert isinstance(action, int)
    if not (is_policy and action_parts):
        return [action]
    actions = np.unravel_index(action, action_parts)
    starts = np.cumsum((0, *action_parts[:-1]))
    return [int(start + action) for start, action in zip(starts, actions, strict=True)]


def action_label(env_spec: EnvSpec, index: int, *, is_policy: bool) -> str:
    """Return the name of the action to which a score belongs, or of a combination the names of its parts."""
    if is_policy or not env_spec.action_parts:
        return env_spec.actions[index]
    actions = np.unravel_index(index, env_spec.action_parts)
    starts = np.cumsum((0, *env_spec.action_parts[:-1]))
    return " ".join(env_spec.actions[start + action] for start, action in zip(starts, actions, strict=True))


def shown_rows(scores: NDArray[np.float32], chosen: Sequence[int]) -> list[int]:
    """Return the scores that have a bar, in order: all, or of many the chosen ones and the best others."""
    if len(scores) <= MAX_ACTIONS:
        return list(range(len(scores)))
    best = np.argsort(-scores, kind="stable")
    others = [int(i) for i in best if i not in chosen]
    return sorted([*chosen, *others][:MAX_ACTIONS])


def _scores_caption(scores: NDArray[np.float32], *, is_policy: bool) -> str:
    """Return the caption of the bars, for values with the distance of the best one to the next one.

    The bars begin at 0. So the distance cannot be seen if all values are large.
    """
    if is_policy:
        return "action probabilities"
    legal_scores = np.sort(scores[np.isfinite(scores)])
    if len(legal_scores) < 2:
        return "action values Q(s, a)"
    return f"action values Q(s, a), the best by {legal_scores[-1] - legal_scores[-2]:.3g}"


def _draw_best_mark(frame: RgbImage, middle: int) -> None:
    """Draw a triangle that points to the row of the greedy action, whose middle has this y."""
    left, right = PANEL_LEFT - 11, PANEL_LEFT - 4
    corners = np.array([(left, middle - 4), (left, middle + 4), (right, middle)], np.int32)
    cv2.fillPoly(frame, [corners], GREEDY, cv2.LINE_AA)


def _draw_scores(frame: RgbImage, player_step: PlayerStep, env_spec: EnvSpec, top: int) -> int:
    """Draw a bar with the Q value or the probability of each action. Returns the y below them.

    Bars begin at 0: negative values point to the left. A triangle marks the greedy action. Actions that are not allowed
    in this state have scores of -inf.
    """
    scores = player_step.action_scores
    is_policy = player_step.is_policy
    finite_scores = scores[np.isfinite(scores)]
    low = min(0.0, float(finite_scores.min(initial=0.0)))
    high = 1.0 if is_policy else max(0.0, float(finite_scores.max(initial=0.0)))
    draw_text(frame, _scores_caption(scores, is_policy=is_policy), (PANEL_LEFT, top), color=FAINT_TEXT)
    chosen = score_rows(player_step.action, env_spec.action_parts, is_policy=is_policy)
    best = score_rows(player_step.greedy_action, env_spec.action_parts, is_policy=is_policy)
    shown = shown_rows(scores, chosen)
    num_hidden = len(scores) - len(shown)
    num_rows = len(shown) + bool(num_hidden)
    chosen_color = GREEDY if player_step.is_greedy else EXPLORATORY
    row_height = _score_row_height(num_rows)
    text_size = 0.42 if row_height >= 16 else 0.3
    left = PANEL_LEFT + NAME_WIDTH
    width = PANEL_RIGHT - VALUE_WIDTH - left
    zero = left + round(-low / max(high - low, 1e-9) * width)
    for row, i in enumerate(shown):
        y = top + 8 + row * row_height
        baseline = y + row_height - (6 if row_height >= 16 else 2)
        is_chosen = i in chosen and not player_step.is_last
        is_legal = bool(np.isfinite(scores[i]))
        if is_legal:
            end = left + round((float(scores[i]) - low) / max(high - low, 1e-9) * width)
            bar_color = chosen_color if is_chosen else BAR
            cv2.rectangle(frame, (min(zero, end), y + 2), (max(zero, end), y + row_height - 3), bar_color, -1)
        cv2.line(frame, (zero, y + 1), (zero, y + row_height - 2), FAINT_TEXT, 1)
        if i in best and not player_step.is_last:
            _draw_best_mark(frame, y + row_height // 2)
        name = shorten(action_label(env_spec, i, is_policy=is_policy).lower(), MAX_ACTION_NAME)
        value = f"{scores[i]:.3f}" if is_legal else "not allowed"
        draw_text(frame, name, (PANEL_LEFT, baseline), size=text_size, color=TEXT if is_chosen else FAINT_TEXT)
        draw_text(frame, value, (PANEL_RIGHT - VALUE_WIDTH + 16, baseline), size=text_size)
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
