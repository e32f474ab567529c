"""The agent's input and output as lines of text, which a terminal shows beside the picture of the game."""

from __future__ import annotations

import numpy as np
from rich.cells import set_cell_size

from envs.spec import EnvSpec
from rl_lab.system.printable import printable, wrapped
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.frame_rendering import action_label, score_rows, shown_rows
from rl_lab.watch.player import PlayerStep
from rl_lab.watch.vector_entries import entry_names, entry_ranges, spatial_part, vector_part

NAME_WIDTH = 14  # columns of the name before a bar
VALUE_WIDTH = 9  # columns of the number after a bar
MAX_ENTRIES = 12  # entries of a vector that are shown
BLOCK = "█"
EMPTY = "·"

SHORT_KEYS = {
    " ": "pause",
    ".": "one step",
    "+": "faster",
    "-": "slower",
    "r": "restart",
    "s": "saliency",
    "c": "next checkpoint",
    "q": "quit",
}
"""What each of `KEYS` does, in a word or two."""
assert SHORT_KEYS.keys() == KEYS.keys()


def panel_lines(player_step: PlayerStep, env_spec: EnvSpec, title: str, controls: Controls, width: int) -> list[str]:
    """Return the lines of the panel. No line is longer than `width` columns, and no text is broken inside a word.

    Args:
        player_step: The step, with the agent's input and output.
        env_spec: The environment.
        title: Agent, environment and checkpoint.
        controls: The requests of the person who watches: speed, pause.
        width: Columns of the panel.
    """
    progress = "over" if player_step.is_last else f"step {player_step.step_number:,}"
    speed = "paused" if controls.paused else f"speed {controls.speed:g}"
    lines = [
        *wrapped(title, width),
        "",
        f"game {player_step.game_number}, {progress}, {speed}",
        f"score {player_step.score:g}",
        f"V {player_step.values[-1]:.3f}",
        "",
        *_observation_lines(player_step, env_spec, width),
        "",
        *_action_lines(player_step, env_spec, width),
        "",
        *_key_lines(width),
    ]
    return [set_cell_size(printable(line), width).rstrip() for line in lines]


def bar(number: float, low: float, high: float, width: int) -> str:
    """Return a bar of `width` characters from zero to a number within a range.

    If zero is not in the range, the bar begins at the nearer end of the range.
    """
    if not high > low:
        return EMPTY * width

    def position(value: float) -> int:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(share * width)

    if not np.isfinite(number):
        return EMPTY * width
    start, end = sorted((position(0.0), position(number)))
    if start == end:
        start, end = (start - 1, end) if start == width else (start, end + 1)
    return EMPTY * start + BLOCK * (end - start) + EMPTY * (width - end)


def _observation_lines(player_step: PlayerStep, env_spec: EnvSpec, width: int) -> list[str]:
    """Describe images and planes by their sizes, and show states by number and vectors by a bar for each entry."""
    newest = player_step.stacked_obs[-1]
    spatial = spatial_part(env_spec, newest)
    lines = []
    if spatial is not None:
        sides = " x ".join(map(str, spatial.shape))
        lines.append(f"observation {sides}, {len(player_step.stacked_obs)} stacked")
    vector = vector_part(env_spec, newest)
    if env_spec.state_sizes:
        groups = np.split(vector, np.cumsum(env_spec.state_sizes)[:-1])
        numbers = [str(int(group.argmax())) if group.any() else "hidden" for group in groups]
        lines.append(f"state {', '.join(numbers)} of {' x '.join(map(str, env_spec.state_sizes))}")
    elif len(vector):
        lines.append("observation")
        names = entry_names(env_spec, len(vector))
        ranges = entry_ranges(env_spec, player_step.obs_magnitudes)
        for name, number, (low, high) in list(zip(names, vector, ranges, strict=True))[:MAX_ENTRIES]:
            lines.append(_bar_line("   ", name, float(number), float(low), float(high), width))
        if len(vector) > MAX_ENTRIES:
            lines.append(f"  and {len(vector) - MAX_ENTRIES:,} more")
    return lines


def _action_lines(player_step: PlayerStep, env_spec: EnvSpec, width: int) -> list[str]:
    """Show a bar for each action: its value or probability, or the number of an entry of a continuous action.

    The action that is taken has the mark ">", the greedy one the mark "*". Of many actions, the one that is taken and
    the best others are shown.
    """
    scores = player_step.action_scores
    is_policy = player_step.is_policy
    if env_spec.is_continuous:
        caption = "action"
        low, high = -1.0, 1.0
        scores = np.clip(np.asarray(player_step.action, np.float32), -1, 1)
    elif is_policy:
        caption = "probability of each action"
        low, high = 0.0, 1.0
    else:
        caption = "Q of each action"
        finite = scores[np.isfinite(scores)]
        low = min(0.0, float(finite.min(initial=0.0)))
        high = max(0.0, float(finite.max(initial=0.0)))
    taken: list[int] = []
    best: list[int] = []
    if not env_spec.is_continuous and not player_step.is_last:
        taken = score_rows(player_step.action, env_spec.action_parts, is_policy=is_policy)
        best = score_rows(player_step.greedy_action, env_spec.action_parts, is_policy=is_policy)
    shown = shown_rows(scores, taken)
    if len(shown) < len(scores):
        caption += f", {len(shown)} of {len(scores)}"
    lines = [caption]
    for i in shown:
        taken_mark = ">" if i in taken else " "
        best_mark = "*" if i in best else " "
        mark = f"{taken_mark}{best_mark} "
        name = action_label(env_spec, i, is_policy=is_policy).lower()
        lines.append(_bar_line(mark, name, float(scores[i]), low, high, width))
    if not player_step.is_greedy and not player_step.is_last:
        lines.append("a random action, not the greedy one")
    return lines


def _bar_line(mark: str, name: str, number: float, low: float, high: float, width: int) -> str:
    """Return a mark, a name, a bar and a number in one line."""
    bar_width = max(width - len(mark) - NAME_WIDTH - VALUE_WIDTH, 0)
    if number == -np.inf:
        return f"{mark}{set_cell_size(name, NAME_WIDTH - 1)} {'not allowed':>{bar_width + VALUE_WIDTH}}"
    value = f"{number:.3f}" if abs(number) < 1000 else f"{number:.3g}"
    return f"{mark}{set_cell_size(name, NAME_WIDTH - 1)} {bar(number, low, high, bar_width)}{value:>{VALUE_WIDTH}}"


def _key_lines(width: int) -> list[str]:
    """Return the keys in as few lines as possible; no key is separated from what it does."""
    names = {" ": "space"}
    lines = [""]
    for key, action in [*SHORT_KEYS.items(), ("Ctrl-C", "stops")]:
        text = f"{names.get(key, key)} {action}"
        separated = f"{lines[-1]}, {text}" if lines[-1] else text
        if len(separated) <= width:
            lines[-1] = separated
        else:
            lines.append(text)
    return lines
