"""Tests that episodes of `INDEPENDENT_GAMES` are independent, by comparing the complete states of the emulator."""

from typing import Any

import ale_py
import numpy as np
import pytest
from ale_py import roms
from numpy.typing import NDArray

from envs.atari import INDEPENDENT_GAMES, games, has_independent_episodes
from envs.make import resolve

FRAME_COUNTER = range(8, 12)  # bytes of a state that count frames over all episodes
RESET_COUNTER = range(6790, 6794)  # bytes of a state that count resets
MEMORY_BYTES = 128


def start_states(game: str, num_episodes: int = 12) -> list[NDArray[np.uint8]]:
    """Return the emulator's state at the start of each episode, without its counters.

    Each episode is preceded by random actions, and every second one also by random contents of the memory.
    """
    ale = ale_py.ALEInterface()
    rng = np.random.default_rng(0)
    ale.setFloat("repeat_action_probability", 0.0)
    rom = roms.get_rom_path(games()[game])
    assert rom is not None
    ale.loadROM(str(rom))
    actions = ale.getMinimalActionSet()
    states = []
    for i in range(num_episodes):
        ale.reset_game()
        serialized: Any = ale.cloneState().__getstate__()  # bytes, although annotated as a tuple
        state = np.frombuffer(serialized, np.uint8).copy()
        state[[*FRAME_COUNTER, *RESET_COUNTER]] = 0
        states.append(state)
        for _ in range(rng.integers(1, 40)):
            ale.act(actions[rng.integers(len(actions))])
        if i % 2:
            for byte in range(MEMORY_BYTES):
                ale.setRAM(byte, int(rng.integers(256)))
    return states


@pytest.mark.parametrize("game", sorted(INDEPENDENT_GAMES))
def test_start_of_episode_does_not_depend_on_earlier_episodes(game):
    first, *others = start_states(game)
    for other in others:
        assert np.array_equal(first, other)


@pytest.mark.parametrize("game", ["Seaquest", "Freeway", "BeamRider"])
def test_start_of_episode_depends_on_earlier_episodes_in_other_games(game):
    first, *others = start_states(game)
    assert not all(np.array_equal(first, other) for other in others)


def test_episodes_are_independent_only_in_listed_games_without_sticky_actions():
    assert has_independent_episodes(resolve("Pong"))
    assert not has_independent_episodes(resolve("ALE/Pong-v5"))
    assert not has_independent_episodes(resolve("Seaquest"))
    assert not has_independent_episodes(resolve("CartPole-v1"))
