"""What the stream takes for granted of the games, against the whole state of their machines."""

import ale_py
import numpy as np
import pytest
from ale_py import roms

from envs.atari import INDEPENDENT_GAMES, games, has_independent_episodes
from envs.make import resolve

FRAMES, RESETS = range(8, 12), range(6790, 6794)  # the bytes of a state that count all frames, and all resets
MEMORY = 128  # bytes


def starts(game, n=12):
    """The machine's state at the start of n games, each after random actions and every second one after random memory."""
    ale, rng = ale_py.ALEInterface(), np.random.default_rng(0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(games()[game]))
    actions, found = ale.getMinimalActionSet(), []
    for i in range(n):
        ale.reset_game()
        found.append(np.frombuffer(ale.cloneState().__getstate__(), np.uint8).copy())
        found[-1][[*FRAMES, *RESETS]] = 0
        for _ in range(rng.integers(1, 40)):
            ale.act(actions[rng.integers(len(actions))])
        if i % 2:
            for byte in range(MEMORY):
                ale.setRAM(byte, int(rng.integers(256)))
    return found


@pytest.mark.parametrize("game", sorted(INDEPENDENT_GAMES))
def test_a_game_starts_the_same_whatever_was_before_it(game):
    first, *others = starts(game)
    for other in others:
        assert np.array_equal(first, other)


@pytest.mark.parametrize("game", ["Seaquest", "Freeway", "BeamRider"])
def test_other_games_remember_something(game):
    first, *others = starts(game)
    assert not all(np.array_equal(first, other) for other in others)


def test_only_these_games_and_without_sticky_actions():
    assert has_independent_episodes(resolve("Pong"))
    assert not has_independent_episodes(resolve("ALE/Pong-v5"))
    assert not has_independent_episodes(resolve("Seaquest"))
    assert not has_independent_episodes(resolve("CartPole-v1"))
