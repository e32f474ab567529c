"""The frame that a person sees who plays: the screen of the game, and a panel with the score and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from envs.spec import EnvSpec
from rl_lab.watch.frame_rendering import (
    BAR,
    EMPTY_FRAME,
    FAINT_TEXT,
    FRAME_HEIGHT,
    PANEL_LEFT,
    PANEL_RIGHT,
    SCREEN_BOX,
    draw_scaled,
)
from rl_lab.watch.images import TEXT, RgbImage, draw_text, shorten
from rl_lab.watch.play_keys import PlayKeys, action_names

CONTROL_KEYS = {
    "escape": "quit",
    "return": "restart with another game",
    "tab": "pause or resume",
    "+": "faster",
    "-": "slower",
}
"""Keys that do not belong to the game, in the names of pygame."""

KEYS_TOP = 110  # y of the first row of the list of keys
KEYS_HEIGHT = 380  # of the list of actions
MAX_ROW_HEIGHT = 24
NAME_LEFT = PANEL_LEFT + 150  # x of the names of the actions
MAX_KEYS = 20  # characters of the keys of an action
MAX_NAME = 24  # characters of the name of an action
MAX_SCORES = 6  # games whose scores are shown


@dataclass(frozen=True)
class PlayState:
    """What the panel shows."""

    game_number: int  # counted from 1
    step_number: int  # agent steps of the game
    score: float  # undiscounted sum of raw rewards
    action: int | None  # the last action, or None before the first one
    is_last: bool  # the game is over
    is_waiting: bool  # the environment waits for a key
    speed: float  # multiple of the game's own speed
    is_paused: bool
    scores: Sequence[float]  # of the games that are over


def render_play_frame(state: PlayState, screen: RgbImage, env_spec: EnvSpec, keys: PlayKeys) -> RgbImage:
    """Return the frame of a step: an image u8[FRAME_HEIGHT, FRAME_WIDTH, 3]."""
    frame = EMPTY_FRAME.copy()
    draw_scaled(frame, screen, SCREEN_BOX)
    draw_text(frame, shorten(f"you play {env_spec.name}", 40), (PANEL_LEFT, 26), size=0.5)
    progress = "over" if state.is_last else f"step {state.step_number:,}"
    draw_text(frame, f"game {state.game_number}   {progress}   score {state.score:g}", (PANEL_LEFT, 48), size=0.5)
    draw_text(frame, _mode_text(state), (PANEL_LEFT, 70), color=FAINT_TEXT)
    draw_text(frame, "keys", (PANEL_LEFT, KEYS_TOP - 10), color=FAINT_TEXT)
    _draw_actions(frame, state, env_spec, keys)
    y = FRAME_HEIGHT - 18 - 20 * len(CONTROL_KEYS)
    if state.scores:
        scores = ", ".join(f"{score:g}" for score in state.scores[-MAX_SCORES:])
        draw_text(frame, shorten(f"scores: {scores}", 44), (PANEL_LEFT, y - 12))
    for key, effect in CONTROL_KEYS.items():
        y += 20
        draw_text(frame, key, (PANEL_LEFT, y))
        draw_text(frame, effect, (NAME_LEFT, y), color=FAINT_TEXT)
    return frame


def _mode_text(state: PlayState) -> str:
    """Return pause, waiting or the speed."""
    if state.is_paused:
        return "paused"
    return "waits for a key" if state.is_waiting else f"speed {state.speed:g}"


def _draw_actions(frame: RgbImage, state: PlayState, env_spec: EnvSpec, keys: PlayKeys) -> None:
    """Draw a row with the keys and the name of each action. A bar lies behind the last action."""
    num_actions = env_spec.num_actions
    names = action_names(env_spec)
    row_height = min(MAX_ROW_HEIGHT, KEYS_HEIGHT // num_actions)
    size = 0.45 if row_height >= 16 else 0.32
    for action in range(num_actions):
        top = KEYS_TOP + action * row_height
        is_last_action = action == state.action
        if is_last_action:
            corner = (PANEL_RIGHT, top + row_height - 2)
            cv2.rectangle(frame, (PANEL_LEFT - 4, top), corner, BAR, -1)
        baseline = top + row_height - (7 if row_height >= 16 else 3)
        draw_text(frame, shorten(keys.keys_of(action), MAX_KEYS), (PANEL_LEFT, baseline), size=size)
        name = shorten(names[action], MAX_NAME)
        color = TEXT if is_last_action else FAINT_TEXT
        draw_text(frame, name, (NAME_LEFT, baseline), size=size, color=color)
