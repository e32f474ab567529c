"""Tests of Atari games: independent episodes, no-ops and sticky actions.

That episodes are independent is checked by comparing the complete states of the emulator.
"""

from dataclasses import replace
from typing import Any

import ale_py
import numpy as np
import pytest
from ale_py import roms
from numpy.typing import NDArray

from envs.atari import INDEPENDENT_GAMES, games, has_independent_episodes, make_vector_env
from envs.make import resolve
from envs.spec import EnvSpec

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


def frames_before_first_action(env_spec: EnvSpec, num_resets: int) -> set[int]:
    """Return the numbers of frames that the emulators of eight environments have run after each reset."""
    env = make_vector_env(env_spec, 8)
    _, info = env.reset(seed=0)
    frames = set(info["episode_frame_number"].tolist())
    for _ in range(num_resets - 1):
        _, info = env.reset()  # with a seed, the emulator would load the game again
        frames |= set(info["episode_frame_number"].tolist())
    env.close()
    return frames


def test_games_of_the_classic_protocol_start_with_0_to_29_no_ops():
    """Each number is missing with probability (29 / 30)^400, about 1e-6."""
    env_spec = resolve("Pong")
    assert frames_before_first_action(env_spec, 50) == set(range(30))
    assert "0 to 29 no-ops" in str(env_spec)


@pytest.mark.parametrize("protocol", ["machado", "v5"])
def test_games_of_other_protocols_start_at_once(protocol):
    env_spec = resolve("Pong", protocol)
    assert frames_before_first_action(env_spec, 2) == {0}
    assert "no-ops" not in str(env_spec)


def play(sticky: float, seed: int, actions: list[int]) -> NDArray[np.uint8]:
    """Return the last observation of Pong after these actions, without no-ops at the start."""
    env = make_vector_env(replace(resolve("Pong", "v5"), sticky=sticky), 1)
    obs, _ = env.reset(seed=seed)
    for action in actions:
        obs = env.step(np.array([action]))[0]
    env.close()
    return obs


def test_sticky_actions_repeat_the_previous_action_at_random():
    """Without sticky actions, only the actions decide. With probability 1, the no-op of the reset is repeated."""
    up_and_down = [2, 3] * 40
    assert np.array_equal(play(0.0, 1, up_and_down), play(0.0, 2, up_and_down))
    assert not np.array_equal(play(0.25, 1, up_and_down), play(0.25, 2, up_and_down))
    assert not np.array_equal(play(0.25, 1, up_and_down), play(0.0, 1, up_and_down))
    assert np.array_equal(play(1.0, 1, up_and_down), play(1.0, 2, [0] * 80))
