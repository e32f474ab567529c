"""Atari 2600 games: their names, their protocols, and ALE's vector environment.

A protocol is a set of emulator settings. Scores are comparable only under the same protocol.

    classic   0 to 29 no-ops at the start, minimal action set, no sticky actions; a lost life stops bootstrapping. This
              is the protocol of Mnih et al. 2015, and of ids such as PongNoFrameskip-v4 with the usual wrappers. Both
              start with 1 to 30 no-ops; ALE's vector environment draws one less.
    machado   sticky actions with probability 0.25, all 18 actions, no signal of lost lives (Machado et al. 2018).
    v5        sticky actions with probability 0.25, minimal action set, no signal of lost lives. These are the settings
              of ids such as ALE/Pong-v5.

A no-op lasts one frame. With a sticky action, the emulator repeats its previous action. The minimal action set has only
the actions that have an effect in the game. All protocols repeat an action for 4 frames (frame skip). By default, an
observation is the maximum of the last two of these frames, pixel by pixel, scaled to 84 x 84 grey levels. Episodes are
truncated after 108,000 frames (30 minutes at 60 frames per second).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

import ale_py
import gymnasium
import numpy as np
from ale_py import AtariVectorEnv, roms
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.options import DEFAULT_OPTIONS, IMAGE_SIZE, EnvOptions
from envs.spec import AtariProtocol, EnvSpec

gymnasium.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


@dataclass(frozen=True)
class ProtocolSettings:
    """The settings in which protocols differ, besides the action set. `EnvSpec` explains fields of the same names."""

    sticky: float
    noop_max: int
    life_loss: bool


PROTOCOLS: dict[AtariProtocol, ProtocolSettings] = {
    "classic": ProtocolSettings(sticky=0.0, noop_max=30, life_loss=True),
    "machado": ProtocolSettings(sticky=0.25, noop_max=0, life_loss=False),
    "v5": ProtocolSettings(sticky=0.25, noop_max=0, life_loss=False),
}
FRAME_SKIP = 4  # frames for which the emulator repeats an action
MAX_FRAMES = 108_000  # frames after which an episode is truncated
SCREEN = (210, 160)  # height and width of the emulator's screen in pixels

# Games in which the emulator's state at the start of an episode depends neither on earlier episodes nor on the contents
# of the memory before the reset. tests/envs/test_atari.py checks each of these games.
INDEPENDENT_GAMES = frozenset(
    """
    AirRaid Amidar Asterix Atlantis Atlantis2 BasicMath BattleZone Blackjack Bowling Breakout Carnival Casino Centipede
    Defender DonkeyKong DoubleDunk Et FlagCapture Frogger Gopher Jamesbond JourneyEscape KeystoneKapers KingKong Koolaid
    LostLuggage MrDo MsPacman NameThisGame Othello Pacman Pong Qbert RoadRunner Robotank Skiing SpaceInvaders Tetris
    TicTacToe3D Trondead Turmoil VideoCheckers VideoChess VideoPinball WizardOfWor WordZapper
    """.split()
)

PONG_BACKGROUNDS = (0, 87, 107)  # grey levels of black, and of the browns whose red channel is 144 and 109


@cache
def games() -> dict[str, str]:
    """Return all Atari games as a mapping from names to ROM ids: {"MsPacman": "ms_pacman", ...}."""
    rom_ids = {_normalized(rom_id): rom_id for rom_id in roms.get_all_rom_ids()}
    found = {}
    for env_id in sorted(gymnasium.registry):
        match = re.fullmatch(r"ALE/(\w+)-v5", env_id)
        if match and _normalized(match[1]) in rom_ids:
            found[match[1]] = rom_ids[_normalized(match[1])]
    return found


def find_game(name: str) -> str | None:
    """Return the game called `name`, or None. Case and separators do not matter: "ms_pacman" is "MsPacman"."""
    for game in games():
        if _normalized(game) == _normalized(name):
            return game
    return None


def _normalized(name: str) -> str:
    """Return the lower-case letters and the digits of a name."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def resolve(name: str, protocol: AtariProtocol | None) -> EnvSpec | None:
    """Return the spec of an Atari game, or None if `name` has none of the forms below.

    Args:
        name: The name of a game, which implies the protocol "classic"; ALE/<game>-v5, which implies "v5"; or
            <game>NoFrameskip-v<n>, which implies "classic" with the sticky actions of this id.
        protocol: Protocol to use instead of the one that the name implies.
    """
    game = find_game(name)
    implied_protocol: AtariProtocol = "classic"
    implied_sticky = None
    if game is None:
        match = re.fullmatch(r"ALE/(\w+)-v5|(\w+)NoFrameskip-v\d", name)
        if match is None or name not in gymnasium.registry:
            return None
        game = find_game(match[1] or match[2])
        if match[1]:
            implied_protocol = "v5"
        else:  # the versions v0 and v4 differ in their sticky actions
            implied_sticky = gymnasium.spec(name).kwargs.get("repeat_action_probability")
    if game is None:
        return None
    if protocol is None:
        return _spec(game, implied_protocol, implied_sticky)
    return _spec(game, protocol)


def _spec(game: str, protocol: AtariProtocol, sticky: float | None = None) -> EnvSpec:
    """Return the spec of a game. `sticky` replaces the protocol's probability of sticky actions."""
    settings = PROTOCOLS[protocol]
    return EnvSpec(
        name=game,
        id=f"ALE/{game}-v5",
        family="atari",
        backend="ale",
        protocol=protocol,
        frame=(84, 84),
        dtype="uint8",
        obs_kind="image",
        actions=action_names(game, full=protocol == "machado"),
        frame_skip=FRAME_SKIP,
        sticky=settings.sticky if sticky is None else sticky,
        noop_max=settings.noop_max,
        life_loss=settings.life_loss,
        max_frames=MAX_FRAMES,
        transformations=("maximum of two frames", "grey", f"resized from {SCREEN[0]} x {SCREEN[1]}"),
    )


def with_options(env_spec: EnvSpec, options: EnvOptions) -> EnvSpec:
    """Return the spec of a game with other images.

    Raises:
        EnvError: An option is not for the games that ALE's vector environment runs.
    """
    if replace(options, image="grey", image_size=IMAGE_SIZE, action_masks=True) != DEFAULT_OPTIONS:
        raise EnvError(
            f"{env_spec.name} takes the options image and image_size only, because ALE's vector environment runs it;"
            f" an id such as {env_spec.name}-v4 takes all of them"
        )
    size = options.image_size
    frame = (size, size)
    colors = "grey"
    if options.image == "rgb":
        frame = (3, size, size)
        colors = "RGB"
    changes = ("maximum of two frames", colors, f"resized from {SCREEN[0]} x {SCREEN[1]}")
    return replace(env_spec, frame=frame, transformations=changes, options=options)


def has_independent_episodes(env_spec: EnvSpec) -> bool:
    """Return True if an episode depends only on the seed, on the number of episodes before it, and on its own actions.

    With sticky actions, the result is always False: their random generator advances in every frame. So its state
    depends on the length of earlier episodes.
    """
    return env_spec.backend == "ale" and env_spec.sticky == 0 and env_spec.name in INDEPENDENT_GAMES


@cache
def action_names(game: str, *, full: bool) -> tuple[str, ...]:
    """Return the names of a game's actions in order: the minimal set, or all 18 if `full`."""
    ale = ale_py.ALEInterface()
    rom = roms.get_rom_path(games()[game])
    assert rom is not None
    ale.loadROM(str(rom))
    actions = ale.getLegalActionSet() if full else ale.getMinimalActionSet()
    return tuple(action.name for action in actions)


def make_vector_env(env_spec: EnvSpec, num_envs: int, threads: int = 1) -> AtariVectorEnv:
    """Return ALE's vector environment with the settings of `env_spec`.

    Args:
        env_spec: A spec whose backend is "ale".
        num_envs: Number of environments.
        threads: Number of emulator threads. At most `num_envs` are created.

    Returns:
        The environment. Its observations are grey levels u8[N, 1, H, W]: of preprocessed images, or for the view
        "binary" of the last frame's whole screen, from which `pong_playing_field` computes the view.
    """
    assert env_spec.frame_skip is not None
    is_grey = env_spec.view == "grey"
    height, width = env_spec.frame[-2:] if is_grey else SCREEN
    return _vector_env(
        env_spec,
        num_envs,
        threads=min(threads, num_envs),
        size=(height, width),
        grayscale=len(env_spec.frame) == 2,
        frame_skip=env_spec.frame_skip,
        maxpool=is_grey,
    )


def make_screen_env(env_spec: EnvSpec) -> AtariVectorEnv:
    """Return one environment whose observations are the emulator's screen in colour, without frame skip.

    With the same seed, the game equals that of `make_vector_env(env_spec, 1)` if every action is sent for each frame of
    the frame skip.
    """
    return _vector_env(env_spec, 1, threads=1, size=SCREEN, grayscale=False, frame_skip=1, maxpool=False)


def _vector_env(
    env_spec: EnvSpec,
    num_envs: int,
    *,
    threads: int,
    size: tuple[int, int],
    grayscale: bool,
    frame_skip: int,
    maxpool: bool,
) -> AtariVectorEnv:
    """Return an AtariVectorEnv with the game settings of `env_spec`, and the image settings of the other arguments.

    All settings are given explicitly, because the defaults of AtariVectorEnv clip rewards and use all cores.

    Args:
        env_spec: A spec whose backend is "ale".
        num_envs: Number of environments.
        threads: Number of emulator threads.
        size: Height and width of an image in pixels.
        grayscale: Return grey levels. False means colours.
        frame_skip: Frames for which an action is repeated.
        maxpool: Return the maximum of the last two frames of a frame skip. False means the last frame.
    """
    assert env_spec.max_frames is not None
    return AtariVectorEnv(
        games()[env_spec.name],
        num_envs,
        num_threads=threads,
        max_num_frames_per_episode=env_spec.max_frames,
        repeat_action_probability=env_spec.sticky,
        full_action_space=env_spec.protocol == "machado",
        autoreset_mode=AutoresetMode.NEXT_STEP,
        img_height=size[0],
        img_width=size[1],
        grayscale=grayscale,
        stack_num=1,
        frameskip=frame_skip,
        maxpool=maxpool,
        noop_max=env_spec.noop_max,
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
        use_fire_reset=False,
    )


def channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images u8[N, H, W, C] as u8[N, C, H, W]."""
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def pong_playing_field(screens: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the playing field of Pong at half resolution: 1 for the ball and the paddles, 0 for the background.

    This is the network's input in Karpathy 2016, "Deep Reinforcement Learning: Pong from Pixels". He computes it from
    the red channel, this function from grey levels.

    Args:
        screens: Grey levels u8[N, 210, 160].

    Returns:
        u8[N, 80, 80].
    """
    field = screens[:, 35:195:2, ::2]  # without the score above the field and the border below
    return (~np.isin(field, PONG_BACKGROUNDS)).astype(np.uint8)
