"""Environments of other projects that scripts/third_party.py trains on, with packages, options and agent steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "custom_env"
"""Folder of modules that some environments need on the module path."""

MINATAR = ("minatar==1.0.15",)
MINIGRID = ("minigrid==3.2.0",)
VIZDOOM = ("vizdoom==1.3.2",)
BOX2D = ("Box2D==2.3.10",)
CRAFTER = ("crafter==1.8.3", "imageio==2.38.1", "opensimplex==0.4.5.1", "ruamel.yaml==0.19.1")

DISCRETIZE = "gymnasium.wrappers:DiscretizeAction: {bins: 3, multidiscrete: true}"


@dataclass(frozen=True)
class ThirdPartyEnv:
    """An environment and the way in which it is trained on."""

    name: str  # of the file in results/third_party
    env: str  # the value of --env
    packages: tuple[str, ...]  # installed with --no-deps: all other packages that they need are ours
    flags: tuple[str, ...]  # options of the environment. All agents get the same
    agent_flags: tuple[str, ...]  # settings of our agent
    steps: int  # agent steps of a run
    agent: str = "dqn"
    eval_episodes: int = 30
    transformations: tuple[str, ...] = ()  # texts that env.json must hold among its transformations


def _minatar(game: str) -> ThirdPartyEnv:
    """Return the entry of a game of MinAtar (Young and Tian 2019)."""
    env = f"minatar:MinAtar/{game}-v1"
    return ThirdPartyEnv(f"minatar-{game.lower()}", env, MINATAR, (), (), 300_000, transformations=("planes: ",))


def _minigrid(name: str, env: str, steps: int) -> ThirdPartyEnv:
    """Return the entry of a grid of MiniGrid (Chevalier-Boisvert et al. 2023), without mission and direction."""
    env = f"minigrid:MiniGrid-{env}-v0"
    flags = ("--obs-key", "image")
    return ThirdPartyEnv(name, env, MINIGRID, flags, ("--codes", "embed"), steps, transformations=("image: planes: ",))


_ENVIRONMENTS = (
    *(_minatar(game) for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")),
    _minigrid("minigrid-empty", "Empty-5x5", 30_000),
    _minigrid("minigrid-doorkey", "DoorKey-5x5", 200_000),
    _minigrid("minigrid-multiroom", "MultiRoom-N2-S4", 200_000),
    ThirdPartyEnv(
        "minigrid-dict",
        "minigrid:MiniGrid-DoorKey-5x5-v0",
        MINIGRID,
        ("--obs-key", "image,direction"),
        ("--codes", "embed"),
        200_000,
        transformations=("direction: one-hot of 4 states", "image: planes: "),
    ),
    ThirdPartyEnv(
        "crafter",
        "crafter_adapter:Crafter-v0",
        CRAFTER,
        (),
        (),
        100_000,
        eval_episodes=20,
        transformations=("grey from RGB", "resized from 64 x 64"),
    ),
    ThirdPartyEnv(
        "vizdoom-basic",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        VIZDOOM,
        ("--obs-key", "screen"),
        (),
        50_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "vizdoom-dict",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        VIZDOOM,
        (),
        (),
        50_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "vizdoom-multibinary",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-MultiBinary-v1",
        VIZDOOM,
        ("--obs-key", "screen"),
        (),
        50_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "carracing",
        "CarRacing-v3",
        BOX2D,
        ("--env-arg", "continuous=false"),
        (),
        100_000,
        eval_episodes=10,
        transformations=("grey from RGB", "resized from 96 x 96"),
    ),
    ThirdPartyEnv("lunarlander", "LunarLander-v3", BOX2D, (), (), 100_000),
    ThirdPartyEnv(
        "lunarlander-multidiscrete",
        "LunarLander-v3",
        BOX2D,
        ("--env-arg", "continuous=true", "--wrapper", DISCRETIZE),
        (),
        100_000,
    ),
    ThirdPartyEnv("blackjack", "Blackjack-v1", (), (), (), 100_000, transformations=("0: one-hot of 32 states",)),
    ThirdPartyEnv("taxi", "Taxi-v4", (), (), (), 100_000, transformations=("one-hot of 500 states", "action masks")),
    ThirdPartyEnv(
        "taxi-unmasked",
        "Taxi-v4",
        (),
        ("--no-action-masks",),
        (),
        100_000,
        transformations=("one-hot of 500 states",),
    ),
)

ENVIRONMENTS = {entry.name: entry for entry in _ENVIRONMENTS}
"""All entries by name."""


def all_packages() -> list[str]:
    """Return the packages of all environments, each once."""
    return list(dict.fromkeys(package for entry in _ENVIRONMENTS for package in entry.packages))
