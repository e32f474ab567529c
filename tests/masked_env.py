"""An environment with action masks, and its optimal values."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

NUM_STATES = 6
NUM_ACTIONS = 4  # left, right, jump two states to the right, and a cheat that pays 100
GAMMA = 0.9


def legal(state: int) -> np.ndarray:
    """Return the action mask of a state. The cheat is legal nowhere, and at most one other action is illegal."""
    mask = np.ones(NUM_ACTIONS, np.int8)
    mask[3] = 0
    if state == 0:
        mask[0] = 0
    if state % 2:
        mask[2] = 0
    return mask


def transition(state: int, action: int) -> tuple[int, float, bool]:
    """Return the next state, the reward, and whether the episode ends. The goal is the last state."""
    if action == 3:
        return state, 100.0, False
    next_state = min(max(state + (-1, 1, 2)[action], 0), NUM_STATES - 1)
    is_goal = next_state == NUM_STATES - 1
    return next_state, 1.0 if is_goal else -0.1, is_goal


def optimal_q() -> np.ndarray:
    """Return Q*(s, a) of all states but the last, with the maximum over legal actions (dynamic programming)."""
    q = np.zeros((NUM_STATES, NUM_ACTIONS))
    for _ in range(200):
        for state in range(NUM_STATES - 1):
            for action in range(NUM_ACTIONS):
                next_state, reward, is_goal = transition(state, action)
                best = 0.0 if is_goal else max(q[next_state][a] for a in range(NUM_ACTIONS) if legal(next_state)[a])
                q[state][action] = reward + GAMMA * best
    return q


class IllegalAction(Exception):
    """An action was taken that the mask forbids."""


class Masked(gymnasium.Env):
    """A corridor whose state is a Discrete number, with `info["action_mask"]`. An illegal action raises."""

    observation_space: gymnasium.Space[Any] = Discrete(NUM_STATES)
    action_space = Discrete(NUM_ACTIONS)

    def __init__(self) -> None:
        self.state = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(NUM_STATES - 1))
        return self.obs(), {"action_mask": legal(self.state)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not legal(self.state)[action]:
            raise IllegalAction(f"action {action} in state {self.state}")
        self.state, reward, is_goal = transition(self.state, int(action))
        # The state behind the last action has no legal action.
        mask = np.zeros(NUM_ACTIONS, np.int8) if is_goal else legal(self.state)
        return self.obs(), reward, is_goal, False, {"action_mask": mask}

    def obs(self) -> Any:
        """Return the observation."""
        return self.state


class MaskedPlanes(Masked):
    """`Masked` with planes as observations."""

    observation_space = Box(0, 1, (1, NUM_STATES, 2), np.uint8)

    def obs(self) -> Any:
        planes = np.zeros((1, NUM_STATES, 2), np.uint8)
        planes[0, self.state, self.state % 2] = 1
        return planes


class MaskedVector(Masked):
    """`Masked` with unbounded vectors as observations."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)

    def obs(self) -> Any:
        return np.array([self.state / NUM_STATES, self.state % 2], np.float32)


def register() -> None:
    """Register the environments."""
    for cls in (Masked, MaskedPlanes, MaskedVector):
        gymnasium.register(f"{cls.__name__}-v0", entry_point=f"masked_env:{cls.__name__}", max_episode_steps=50)


register()
