"""What a name given to --env resolves to."""

import pytest

from envs.atari import games
from envs.card import EnvCard, EnvError
from envs.gym import other_ids
from envs.make import make_stream, obscure, resolve


@pytest.mark.parametrize("name", ["Pong", "pong", "PONG", "PongNoFrameskip-v4"])
def test_the_bare_game_is_the_classic_protocol(name):
    card = resolve(name)
    assert (card.name, card.protocol, card.sticky, card.frame_skip, card.noop_max) == ("Pong", "classic", 0.0, 4, 30)
    assert card.life_loss
    assert card.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")


def test_the_other_protocols():
    v5, machado = resolve("ALE/Pong-v5"), resolve("Pong", "machado")
    assert (v5.protocol, v5.sticky, v5.num_actions, v5.life_loss, v5.noop_max) == ("v5", 0.25, 6, False, 0)
    assert (machado.protocol, machado.sticky, machado.num_actions, machado.life_loss) == ("machado", 0.25, 18, False)
    assert resolve("ALE/Pong-v5", "classic") == resolve("Pong")
    assert resolve("PongNoFrameskip-v0").sticky == 0.25


def test_an_id_that_draws_its_frame_skip_is_played_as_it_says():
    card = resolve("Pong-v4")
    assert (card.family, card.backend, card.frame_skip, card.sticky) == ("atari", "gymnasium", None, 0.0)
    stream = make_stream(card, 2, vectorization="sync")
    row = stream.reset(1)
    assert row.obs.shape == (2, 84, 84)
    assert row.obs.std() > 1
    stream.close()


def test_vectors_and_every_atari_name():
    card = resolve("CartPole-v1")
    assert (card.family, card.frame, card.num_actions, card.dtype) == ("vector", (4,), 2, "float32")
    assert len(games()) > 100
    assert resolve("ms_pacman").name == "MsPacman"
    assert {"CartPole-v1", "MountainCar-v0"} <= set(other_ids())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pogn", "unknown environment 'Pogn'; nearest: Pong"),
        ("cartpole", "nearest: CartPole-v1"),
        ("zzzzzzzz", "see `list envs`"),
        ("Pendulum-v1", "action space Box.*; the lab's agents need a Discrete one"),
        ("Blackjack-v1", "observation space Tuple.*; the lab's agents need a Box"),
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


@pytest.mark.parametrize("name", ["Pong", "Pong-v4", "CartPole-v1"])
def test_the_card_survives_json(name):
    import json

    card = resolve(name)
    assert EnvCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_what_is_obscured_stands_on_the_card():
    card = obscure(resolve("CartPole-v1"), flicker=0.5, mask_velocity=True)
    assert (card.flicker, card.masked) == (0.5, (1, 3))
    assert "50% of the observations blank, entries 1, 3 masked" in str(card)
    assert type(card).from_dict(card.to_dict()) == card
    with pytest.raises(EnvError, match="mask_velocity is for CartPole-v1, .*; what are speeds in Pong is not known"):
        obscure(resolve("Pong"), mask_velocity=True)
