"""What a name given to --env resolves to."""

import numpy as np
import pytest

from envs.atari import games
from envs.gymnasium_envs import trainable_ids
from envs.make import adapt, make_stream, resolve
from envs.spec import EnvError, EnvSpec


@pytest.mark.parametrize("name", ["Pong", "pong", "PONG", "PongNoFrameskip-v4"])
def test_the_bare_game_is_the_classic_protocol(name):
    env_spec = resolve(name)
    assert (env_spec.name, env_spec.protocol, env_spec.sticky, env_spec.frame_skip, env_spec.noop_max) == (
        "Pong",
        "classic",
        0.0,
        4,
        30,
    )
    assert env_spec.life_loss
    assert env_spec.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")


def test_the_other_protocols():
    v5, machado = resolve("ALE/Pong-v5"), resolve("Pong", "machado")
    assert (v5.protocol, v5.sticky, v5.num_actions, v5.life_loss, v5.noop_max) == ("v5", 0.25, 6, False, 0)
    assert (machado.protocol, machado.sticky, machado.num_actions, machado.life_loss) == ("machado", 0.25, 18, False)
    assert resolve("ALE/Pong-v5", "classic") == resolve("Pong")
    assert resolve("PongNoFrameskip-v0").sticky == 0.25


def test_an_id_that_draws_its_frame_skip_is_played_as_it_says():
    env_spec = resolve("Pong-v4")
    assert (env_spec.family, env_spec.backend, env_spec.frame_skip, env_spec.sticky) == (
        "atari",
        "gymnasium",
        None,
        0.0,
    )
    stream = make_stream(env_spec, 2, vectorization="sync")
    row = stream.reset(1)
    assert row.obs.shape == (2, 84, 84)
    assert row.obs.std() > 1
    stream.close()


def test_vectors_and_every_atari_name():
    env_spec = resolve("CartPole-v1")
    assert (env_spec.family, env_spec.frame, env_spec.num_actions, env_spec.dtype) == ("vector", (4,), 2, "float32")
    assert len(games()) > 100
    assert resolve("ms_pacman").name == "MsPacman"
    others = set(trainable_ids())
    assert {"CartPole-v1", "MountainCar-v0"} <= others
    assert not {"Pendulum-v1", "GymV26Environment-v0"} & others, "what the lab refuses is not offered"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pogn", "unknown environment 'Pogn'; nearest: Pong"),
        ("cartpole", "nearest: CartPole-v1"),
        ("zzzzzzzz", "see `list envs`"),
        ("Pendulum-v1", "action space Box.*; agents need a Discrete one"),
        ("Blackjack-v1", "observation space Tuple.*; agents need a Box"),
        ("CarRacing-v3", "CarRacing-v3 cannot be made"),
        ("nothing:There-v0", "cannot be made"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(name, message):
    with pytest.raises(EnvError, match=message) as error:
        resolve(name)
    assert "\n" not in str(error.value)


def test_a_protocol_is_for_atari_only():
    with pytest.raises(EnvError, match="protocol machado is for Atari games"):
        resolve("CartPole-v1", "machado")
    with pytest.raises(EnvError, match="the id Pong-v4 has settings of its own; for the protocol classic use --env Pong"):
        resolve("Pong-v4", "classic")
    assert resolve("Pong-v4").max_frames == 108_000


@pytest.mark.parametrize("name", ["Pong", "Pong-v4", "CartPole-v1"])
def test_the_card_survives_json(name):
    import json

    env_spec = resolve(name)
    assert EnvSpec.from_dict(json.loads(json.dumps(env_spec.to_dict()))) == env_spec


def test_what_is_adapted_stands_on_the_card():
    env_spec = adapt(resolve("CartPole-v1"), flicker=0.5, mask_velocity=True)
    assert (env_spec.flicker, env_spec.masked) == (0.5, (1, 3))
    assert "50% of the observations blank, entries 1, 3 masked" in str(env_spec)
    assert type(env_spec).from_dict(env_spec.to_dict()) == env_spec
    with pytest.raises(EnvError, match="mask_velocity is for CartPole-v1, .*; the velocities of Pong are not known"):
        adapt(resolve("Pong"), mask_velocity=True)


def test_the_binary_view_of_pong_and_two_actions():
    """Ball and paddles are 1, everything else 0; RIGHT and LEFT move the right paddle up and down."""
    env_spec = adapt(resolve("Pong"), view="binary", actions="RIGHT,LEFT")
    assert (env_spec.frame, env_spec.num_actions, env_spec.action_numbers) == ((80, 80), 2, (2, 3))
    assert EnvSpec.from_dict(env_spec.to_dict()) == env_spec
    stream = make_stream(env_spec, 2)
    row = stream.reset(seed=1)
    places = []
    for t in range(60):
        stream.send(np.array([0, 1]) if t < 40 else np.array([1, 0]))
        row = stream.recv()
        assert row.obs.shape == (2, 80, 80)
        assert set(np.unique(row.obs)) <= {0, 1}
        rows, columns = np.nonzero(row.obs[:, :, 70:72].any(2))
        places.append([columns[rows == i].mean() for i in (0, 1)])
    stream.close()
    up, down = np.array(places).T
    assert up[39] < 20 < 60 < down[39]
    assert up[59] > down[59]
    for wrong in ({"actions": "RIGHT,UP"}, {"actions": "LEFT,LEFT"}):
        with pytest.raises(EnvError, match="it must be some of NOOP, FIRE, RIGHT, LEFT"):
            adapt(resolve("Pong"), **wrong)
    with pytest.raises(EnvError, match="view binary is only for Pong"):
        adapt(resolve("Breakout"), view="binary")
