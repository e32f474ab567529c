"""Tests of `resolve`, `adapt` and `make_stream`: from names of environments to streams."""

import json
import re

import gymnasium
import numpy as np
import pytest

from envs.atari import games
from envs.errors import EnvError
from envs.gymnasium_envs import trainable_ids
from envs.make import adapt, make_stream, resolve
from envs.spec import EnvSpec


@pytest.mark.parametrize("name", ["Pong", "pong", "PONG", "PongNoFrameskip-v4"])
def test_name_of_a_game_means_the_classic_protocol(name):
    env_spec = resolve(name)
    assert env_spec.name == "Pong"
    assert env_spec.protocol == "classic"
    assert env_spec.sticky == 0.0
    assert env_spec.frame_skip == 4
    assert env_spec.noop_max == 30
    assert env_spec.life_loss
    assert env_spec.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")


def test_settings_of_the_protocols_v5_and_machado():
    v5 = resolve("ALE/Pong-v5")
    machado = resolve("Pong", "machado")
    assert (v5.protocol, v5.sticky, v5.num_actions, v5.life_loss, v5.noop_max) == ("v5", 0.25, 6, False, 0)
    assert (machado.protocol, machado.sticky, machado.num_actions, machado.life_loss) == ("machado", 0.25, 18, False)
    assert resolve("ALE/Pong-v5", "classic") == resolve("Pong")
    assert resolve("PongNoFrameskip-v0").sticky == 0.25


def test_atari_id_with_random_frame_skip_uses_gymnasiums_environment():
    env_spec = resolve("Pong-v4")
    assert env_spec.family == "atari"
    assert env_spec.backend == "gymnasium"
    assert env_spec.frame_skip is None
    assert env_spec.sticky == 0.0
    assert env_spec.max_frames == 108_000
    stream = make_stream(env_spec, 2, vectorization="sync")
    row = stream.reset(1)
    assert row.obs.shape == (2, 84, 84)
    assert row.obs.std() > 1
    stream.close()


def test_spec_of_an_environment_with_vector_observations():
    env_spec = resolve("CartPole-v1")
    assert (env_spec.family, env_spec.frame, env_spec.num_actions, env_spec.dtype) == ("vector", (4,), 2, "float32")


def test_atari_games_are_found_by_their_rom_ids():
    assert len(games()) > 100
    assert resolve("ms_pacman").name == "MsPacman"


def test_trainable_ids_omit_unsupported_environments():
    ids = set(trainable_ids())
    assert {"CartPole-v1", "MountainCar-v0", "Pendulum-v1"} <= ids
    assert "GymV26Environment-v0" not in ids


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pogn", "unknown environment 'Pogn'; nearest: Pong"),
        ("cartpole", "nearest: CartPole-v1, CartPole-v0"),
        ("zzzzzzzz", "see `list envs`"),
        ("nothing:There-v0", "there is no module nothing"),
    ],
)
def test_resolve_raises_one_line_for_unsupported_environments(name, message):
    with pytest.raises(EnvError, match=message) as error:
        resolve(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["FakeGrid-DoorKey-5x5-v0", "FakeGrid/Breakout-v1", "fakegrid"])
def test_unknown_id_of_an_installed_package_is_suggested_with_its_module(name, tmp_path, monkeypatch):
    (tmp_path / "fakegrid.py").write_text("raise RuntimeError('it must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        EnvError, match=f"unknown environment .*; if the package fakegrid registers it, write fakegrid:{name}(;|$)"
    ):
        resolve(name)


def test_suggested_id_of_a_package_works(tmp_path, monkeypatch):
    source = 'import gymnasium\nimport odd_envs\ngymnasium.register("FakeWorld-Small-v0", odd_envs.Plain)\n'
    (tmp_path / "fakeworld.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvError) as error:
        resolve("FakeWorld-Small-v0")
    suggested = re.findall(r"write ([^ ;]+)", str(error.value))
    assert suggested == ["fakeworld:FakeWorld-Small-v0"]
    assert resolve(suggested[0]).num_actions == 2
    del gymnasium.registry["FakeWorld-Small-v0"]


@pytest.mark.parametrize("name", ["NoSuchPackage-v0", "json-v0", "Random/Walk-v0", "__main__", "-v0", "Ü-v0"])
def test_unknown_id_without_an_installed_package_is_not_suggested_with_a_module(name):
    with pytest.raises(EnvError, match="unknown environment") as error:
        resolve(name)
    assert "package" not in str(error.value)


def test_resolve_raises_if_the_protocol_does_not_apply():
    with pytest.raises(EnvError, match="protocol machado is for Atari games"):
        resolve("CartPole-v1", "machado")
    with pytest.raises(
        EnvError, match="the id Pong-v4 has settings of its own; for the protocol classic use --env Pong"
    ):
        resolve("Pong-v4", "classic")


@pytest.mark.parametrize("name", ["Pong", "Pong-v4", "CartPole-v1"])
def test_spec_is_unchanged_after_writing_and_reading_json(name):
    env_spec = resolve(name)
    assert EnvSpec.from_dict(json.loads(json.dumps(env_spec.to_dict()))) == env_spec


def test_spec_records_flicker_and_masked_velocities():
    env_spec = adapt(resolve("CartPole-v1"), flicker=0.5, mask_velocity=True)
    assert (env_spec.flicker, env_spec.masked) == (0.5, (1, 3))
    assert "50% of the observations blank, entries 1, 3 masked" in str(env_spec)
    assert EnvSpec.from_dict(env_spec.to_dict()) == env_spec


def test_adapt_raises_if_velocities_are_unknown():
    with pytest.raises(EnvError, match="mask_velocity is for CartPole-v1, .*; the velocities of Pong are not known"):
        adapt(resolve("Pong"), mask_velocity=True)


def test_binary_view_shows_paddles_and_two_actions_move_the_right_one():
    """Ball and paddles are 1, all else is 0. RIGHT moves the right paddle up, LEFT moves it down."""
    env_spec = adapt(resolve("Pong"), view="binary", actions="RIGHT,LEFT")
    assert (env_spec.frame, env_spec.num_actions, env_spec.action_numbers) == ((80, 80), 2, (2, 3))
    assert EnvSpec.from_dict(env_spec.to_dict()) == env_spec
    stream = make_stream(env_spec, 2)
    stream.reset(seed=1)
    heights = []
    for t in range(60):
        stream.send(np.array([0, 1]) if t < 40 else np.array([1, 0]))
        row = stream.recv()
        assert row.obs.shape == (2, 80, 80)
        assert set(np.unique(row.obs)) <= {0, 1}
        envs, heights_of_pixels = np.nonzero(row.obs[:, :, 70:72].any(2))
        heights.append([heights_of_pixels[envs == i].mean() for i in (0, 1)])
    stream.close()
    first, second = np.array(heights).T
    assert first[39] < 20 < 60 < second[39]
    assert first[59] > second[59]


@pytest.mark.parametrize("actions", ["RIGHT,UP", "LEFT,LEFT"])
def test_adapt_raises_for_unknown_or_repeated_actions(actions):
    with pytest.raises(EnvError, match="it must be some of NOOP, FIRE, RIGHT, LEFT"):
        adapt(resolve("Pong"), actions=actions)


def test_adapt_raises_if_the_binary_view_is_not_available():
    with pytest.raises(EnvError, match="view binary is only for Pong"):
        adapt(resolve("Breakout"), view="binary")
