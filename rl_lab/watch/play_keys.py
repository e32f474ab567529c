"""The keys with which a person plays: which keys stand for which action, and which keys are pressed.

Keys have the names of pygame in lower case: "a", "1", "space", "left".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from envs import gymnasium_envs
from envs.errors import EnvError
from envs.spec import EnvSpec
from rl_lab.errors import LabError
from rl_lab.watch.frame_rendering import action_label

Combination = frozenset[str]
"""Keys that are pressed together."""

NAMES_OF_CODES = {
    ord(" "): "space",
    # Arrow keys: their numbers in pygame 1, which some environments still have, and in pygame 2.
    **{273: "up", 274: "down", 275: "right", 276: "left"},
    **{1073741906: "up", 1073741905: "down", 1073741903: "right", 1073741904: "left"},
}
ARROWS = {"w": "up", "a": "left", "s": "down", "d": "right"}
"""Letter -> the arrow key that stands for it too, if the environment does not use arrow keys."""

VERTICAL = {"d": "w", "a": "s"}
"""Letters of "right" and "left" -> letters of the directions in which the racket of Pong moves with these actions."""

# Name of a Gymnasium id without its version -> names of the actions, from the Gymnasium documentation.
ACTION_NAMES: dict[str, tuple[str, ...]] = {
    "Acrobot": ("torque -1", "torque 0", "torque 1"),
    "CartPole": ("left", "right"),
    "CliffWalking": ("up", "right", "down", "left"),
    "FrozenLake": ("left", "down", "right", "up"),
    "LunarLander": ("nothing", "left engine", "main engine", "right engine"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}

DIRECTIONS = {
    **{"left": "left", "right": "right", "up": "up", "down": "down", "forward": "up"},
    **{"west": "left", "east": "right", "north": "up", "south": "down"},
}
"""Name of an action -> the arrow key that stands for it, if the environment names no keys."""

NUMBER_KEYS = "1234567890abcdefghijklmnopqrstuvwxyz"
"""Keys of the first, second, ... action of an environment that names no keys."""

IDLE_NAMES = ("noop", "none", "no-op", "nop", "idle", "nothing", "do nothing", "stay", "still", "wait")
"""Names of actions that do nothing, in lower case."""


@dataclass(frozen=True)
class PlayKeys:
    """The keys of an environment."""

    combinations: Mapping[Combination, int]
    """Combinations of keys -> the number of the agent's action."""
    idle_action: int
    """The action while none of these keys is pressed."""

    def action(self, pressed: Combination) -> int | None:
        """Return the action of the largest combination that is pressed, or None if there is none."""
        matching = [combination for combination in self.combinations if combination and combination <= pressed]
        return self.combinations[max(matching, key=len)] if matching else None

    def keys_of(self, action: int) -> str:
        """Return the first keys of an action as text, such as "space + up", "no key" or "1 or no key"."""
        texts = [" + ".join(sorted(keys)) for keys, number in self.combinations.items() if keys and number == action]
        del texts[1:]
        if action == self.idle_action:
            texts.append("no key")
        return " or ".join(texts)


def keys_of_env(env_spec: EnvSpec, idle_action: int | None = None) -> PlayKeys:
    """Return the keys of an environment: those of its `get_keys_to_action`, otherwise one key for each action.

    Args:
        env_spec: The environment.
        idle_action: The action while no key is pressed. None is the one that the environment names, an action whose
            name says that it does nothing, or else the first one.

    Raises:
        LabError: The actions are continuous, or there are more of them than keys.
    """
    if env_spec.is_continuous:
        raise LabError(f"play needs discrete actions; those of {env_spec.name} are continuous")
    if idle_action is not None and not 0 <= idle_action < env_spec.num_actions:
        raise LabError(f"idle is {idle_action}; {env_spec.name} has the actions 0 to {env_spec.num_actions - 1}")
    combinations = _combinations_of_env(env_spec)
    if re.search(r"\bPong", env_spec.id):
        combinations = _translated(combinations, VERTICAL) | combinations
    combinations = _with_arrows(combinations)
    if not combinations:
        if env_spec.num_actions > len(NUMBER_KEYS):
            raise LabError(
                f"{env_spec.name} has {env_spec.num_actions} actions; there are keys for {len(NUMBER_KEYS)} of them"
            )
        names = action_names(env_spec)
        combinations = {frozenset({DIRECTIONS[name]}): i for i, name in enumerate(names) if name in DIRECTIONS}
        combinations |= {frozenset({NUMBER_KEYS[i]}): i for i in range(env_spec.num_actions)}
    if idle_action is None:
        idle_action = combinations.get(frozenset(), _idle_by_name(env_spec))
    return PlayKeys(combinations, idle_action)


def action_names(env_spec: EnvSpec) -> list[str]:
    """Return a name for each discrete action, in lower case: "action 0" if nothing is known about it."""
    labels = [action_label(env_spec, i, is_policy=False).lower() for i in range(env_spec.num_actions)]
    if not all(label.isdigit() for label in labels):
        return labels
    match = re.fullmatch(r"(\w+)-v\d+", env_spec.id)
    known = ACTION_NAMES.get(match[1], ()) if match else ()
    if len(known) == len(labels):
        return list(known)
    return [f"action {label}" for label in labels]


def _combinations_of_env(env_spec: EnvSpec) -> dict[Combination, int]:
    """Return the combinations that the environment names, with the agent's numbers of actions. Empty if it names none.

    The names of keys come from code of other people. What does not describe keys is ignored.
    """
    if env_spec.options.wrappers or env_spec.action_parts:  # a wrapper may change the meaning of the actions
        return {}
    try:
        env = _make_env(env_spec)
    except (EnvError, gymnasium.error.Error):
        return {}
    try:
        keys_to_action: Mapping[Any, Any] = env.get_wrapper_attr("get_keys_to_action")()
        named = {_combination(keys): int(action) for keys, action in keys_to_action.items()}
    except Exception:  # the method is missing, or it does not return what Gymnasium's documentation describes
        return {}
    finally:
        env.close()
    numbers = env_spec.action_numbers or tuple(range(env_spec.num_actions))
    return {keys: numbers.index(action) for keys, action in named.items() if action in numbers}


def _make_env(env_spec: EnvSpec) -> gymnasium.Env:
    """Return the environment as Gymnasium makes it."""
    if env_spec.backend == "ale":
        return gymnasium.make(env_spec.id, full_action_space=False)
    return gymnasium_envs.recipe_of(env_spec).make_guarded()


def _combination(keys: Any) -> Combination:
    """Return a key or a tuple of keys, given as characters or numbers of pygame, as names."""
    names = set()
    for key in keys if isinstance(keys, tuple | list) else (keys,):
        code = ord(key) if isinstance(key, str) else int(key)
        names.add(NAMES_OF_CODES.get(code) or chr(code).lower())
    return frozenset(names)


def _with_arrows(combinations: dict[Combination, int]) -> dict[Combination, int]:
    """Add combinations in which arrow keys stand for the letters w, a, s and d. They come first."""
    used = frozenset().union(*combinations)
    if used & set(ARROWS.values()) or not used & ARROWS.keys():
        return combinations
    return _translated(combinations, ARROWS) | combinations


def _translated(combinations: Mapping[Combination, int], names: Mapping[str, str]) -> dict[Combination, int]:
    """Return the combinations with other names for some keys."""
    return {frozenset(names.get(key, key) for key in keys): action for keys, action in combinations.items()}


def _idle_by_name(env_spec: EnvSpec) -> int:
    """Return the first action whose name says that it does nothing, or the first action."""
    return next((i for i, name in enumerate(action_names(env_spec)) if name in IDLE_NAMES), 0)


class Keyboard:
    """The keys that are pressed. A key that was pressed and released between two steps counts for the next step."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._tapped: set[str] = set()

    def press(self, key: str) -> None:
        """Handle a key that goes down."""
        self._held.add(key)
        self._tapped.add(key)

    def release(self, key: str) -> None:
        """Handle a key that goes up."""
        self._held.discard(key)

    @property
    def pressed(self) -> Combination:
        """Return the keys that are down, or were since the last call of `take`."""
        return frozenset(self._held | self._tapped)

    def take(self) -> Combination:
        """Return the keys for a step."""
        pressed = self.pressed
        self._tapped.clear()
        return pressed
