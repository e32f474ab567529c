"""Atari 2600 games: their names, their protocols, and the fast vector environment that runs them.

    classic   up to 30 no-ops, minimal action set, frame skip 4, no sticky actions, a lost life stops bootstrapping: the
              protocol of Mnih et al. 2015 and of PongNoFrameskip-v4 under the usual wrappers
    machado   sticky actions .25, all 18 actions, no life signal (Machado et al. 2018)
    v5        what the id ALE/Pong-v5 says: sticky actions .25, minimal action set, no life signal

All three max-pool the last two frames of a skip, scale to 84 x 84 grey levels and cut games at 108,000 frames (30 minutes).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import ale_py
import gymnasium
import numpy as np
from ale_py import AtariVectorEnv, roms
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.spec import EnvSpec, Protocol

gymnasium.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

PROTOCOLS: dict[Protocol, dict[str, float | bool | int]] = {
    "classic": {"sticky": 0.0, "noop_max": 30, "life_loss": True},
    "machado": {"sticky": 0.25, "noop_max": 0, "life_loss": False},
    "v5": {"sticky": 0.25, "noop_max": 0, "life_loss": False},
}
FRAME_SKIP = 4
MAX_FRAMES = 108_000
SCREEN = (210, 160)
# At these games' start nothing of the machine depends on the games before, whatever was in its memory.
INDEPENDENT = frozenset(
    """
    AirRaid Amidar Asterix Atlantis Atlantis2 BasicMath BattleZone Blackjack Bowling Breakout Carnival Casino Centipede
    Defender DonkeyKong DoubleDunk Et FlagCapture Frogger Gopher Jamesbond JourneyEscape KeystoneKapers KingKong Koolaid
    LostLuggage MrDo MsPacman NameThisGame Othello Pacman Pong Qbert RoadRunner Robotank Skiing SpaceInvaders Tetris
    TicTacToe3D Trondead Turmoil VideoCheckers VideoChess VideoPinball WizardOfWor WordZapper
    """.split()
)
PONG_BACKGROUNDS = (0, 87, 107)  # grey levels of black and of the browns 144 and 109 of the red channel


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def games() -> dict[str, str]:
    """The games by the names people know them by, each with its ROM: {"MsPacman": "ms_pacman", ...}."""
    ids = {_plain(rom): rom for rom in roms.get_all_rom_ids()}
    names = (m[1] for m in (re.fullmatch(r"ALE/(\w+)-v5", i) for i in gymnasium.registry) if m)
    return {name: ids[_plain(name)] for name in sorted(names) if _plain(name) in ids}


def find_game(name: str) -> str | None:
    """The game called `name`, whatever its case and separators: "pong", "ms_pacman" and "MsPacman" all do."""
    return next((game for game in games() if _plain(game) == _plain(name)), None)


def resolve(name: str, protocol: Protocol | None) -> EnvSpec | None:
    """The card of a game's name, of ALE/<game>-v5 or of <game>NoFrameskip-v<n>; None for any other name.

    A protocol given by name overrules the one that the name implies.
    """
    game, implied, sticky = find_game(name), "classic", None
    if game is None:
        match = re.fullmatch(r"ALE/(\w+)-v5|(\w+)NoFrameskip-v\d", name)
        if match is None or name not in gymnasium.registry:
            return None
        game = find_game(match[1] or match[2])
        if match[1]:
            implied = "v5"
        else:
            sticky = gymnasium.spec(name).kwargs.get("repeat_action_probability")
    if game is None:
        return None
    chosen = protocol or implied
    settings = PROTOCOLS[chosen]
    if protocol is None and sticky is not None:
        settings = {**settings, "sticky": sticky}
    return EnvSpec(
        name=game,
        id=f"ALE/{game}-v5",
        family="atari",
        backend="ale",
        protocol=chosen,
        frame=(84, 84),
        dtype="uint8",
        actions=action_names(game, full=chosen == "machado"),
        frame_skip=FRAME_SKIP,
        max_frames=MAX_FRAMES,
        **settings,  # type: ignore[arg-type]
    )


def has_independent_episodes(env_spec: EnvSpec) -> bool:
    """Whether a game follows from the seed, the number of games before it, and its own actions.

    Sticky actions are drawn from a generator that moves on at every frame, so with them it does not.
    """
    return env_spec.backend == "ale" and env_spec.sticky == 0 and env_spec.name in INDEPENDENT


@cache
def action_names(game: str, *, full: bool) -> tuple[str, ...]:
    """The names of a game's actions in order: the minimal set, or all 18."""
    ale = ale_py.ALEInterface()
    rom = roms.get_rom_path(games()[game])
    assert rom is not None
    ale.loadROM(rom)  # type: ignore[arg-type]  # its stub knows no paths
    return tuple(a.name for a in (ale.getLegalActionSet() if full else ale.getMinimalActionSet()))


def make_vector_env(env_spec: EnvSpec, num_envs: int, threads: int = 1) -> AtariVectorEnv:
    """ALE's own vector environment as the card says, with so many emulator threads, but never more than environments."""
    assert env_spec.frame_skip is not None
    height, width = env_spec.frame if env_spec.view == "grey" else SCREEN
    return _vector_env(
        env_spec,
        num_envs,
        num_threads=min(threads, num_envs),
        img_height=height,
        img_width=width,
        grayscale=True,
        frameskip=env_spec.frame_skip,
        maxpool=env_spec.view == "grey",
    )


def make_screen_env(env_spec: EnvSpec) -> AtariVectorEnv:
    """One environment of the card that sends every frame of the emulator's screen in colour: same seed, same game."""
    height, width = SCREEN
    return _vector_env(
        env_spec, 1, num_threads=1, img_height=height, img_width=width, grayscale=False, frameskip=1, maxpool=False
    )


def _vector_env(env_spec: EnvSpec, num_envs: int, **picture: Any) -> AtariVectorEnv:
    """AtariVectorEnv with every setting given: its defaults clip rewards and take all host cores."""
    assert env_spec.max_frames is not None
    return AtariVectorEnv(
        games()[env_spec.name],
        num_envs,
        max_num_frames_per_episode=env_spec.max_frames,
        repeat_action_probability=env_spec.sticky,
        full_action_space=env_spec.protocol == "machado",
        autoreset_mode=AutoresetMode.NEXT_STEP,
        stack_num=1,
        noop_max=env_spec.noop_max,
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
        use_fire_reset=False,
        **picture,
    )


def playing_field(screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pong between its walls, every second pixel, 1 where there is a ball or a paddle: u8[N, 210, 160] -> u8[N, 80, 80].

    The picture of Karpathy 2016, "Deep reinforcement learning: Pong from pixels" (from grey levels instead of the red channel).
    """
    field = screen[:, 35:195:2, ::2]
    return (~np.isin(field, PONG_BACKGROUNDS)).astype(np.uint8)
