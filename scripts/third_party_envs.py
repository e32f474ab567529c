"""Environments that scripts/third_party.py trains on, with packages, options and agent steps."""

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

OUR_AGENTS = ("dqn", "dueling_double_dqn", "ppo")

DISCRETIZE = "gymnasium.wrappers:DiscretizeAction: {bins: 3, multidiscrete: true}"


@dataclass(frozen=True)
class ThirdPartyEnv:
    """An environment and the way in which it is trained on."""

    name: str  # of the file in results/third_party
    env: str  # the value of --env
    packages: tuple[str, ...]  # installed with --no-deps: all other packages that they need are ours
    flags: tuple[str, ...]  # options of the environment. All agents get the same
    agent_flags: tuple[str, ...]  # settings of our agents
    steps: int  # agent steps of a run
    agents: tuple[str, ...] = ("dqn",)  # our agents
    eval_episodes: int = 30
    transformations: tuple[str, ...] = ()  # texts that env.json must hold among its transformations


def _minatar(game: str, steps: int, agents: tuple[str, ...] = ("dqn",)) -> ThirdPartyEnv:
    """Return the entry of a game of MinAtar (Young and Tian 2019)."""
    return ThirdPartyEnv(
        f"minatar-{game.lower()}",
        f"minatar:MinAtar/{game}-v1",
        MINATAR,
        (),
        (),
        steps,
        agents,
        transformations=("planes: ",),
    )


def _minigrid(name: str, env: str, steps: int, agents: tuple[str, ...] = ("dqn",)) -> ThirdPartyEnv:
    """Return the entry of a grid of MiniGrid (Chevalier-Boisvert et al. 2023), without mission and direction."""
    return ThirdPartyEnv(
        name,
        f"minigrid:MiniGrid-{env}-v0",
        MINIGRID,
        ("--obs-key", "image"),
        ("--codes", "embed"),
        steps,
        agents,
        transformations=("image: planes: ",),
    )


_ENVIRONMENTS = (
    ThirdPartyEnv("cartpole", "CartPole-v0", (), (), (), 50_000, OUR_AGENTS),
    ThirdPartyEnv("acrobot", "Acrobot-v1", (), (), (), 60_000, OUR_AGENTS),
    ThirdPartyEnv("mountaincar", "MountainCar-v0", (), (), (), 120_000, OUR_AGENTS),
    ThirdPartyEnv("lunarlander", "LunarLander-v3", BOX2D, (), (), 200_000, OUR_AGENTS),
    ThirdPartyEnv("catch", "catch:Catch-v0", (), (), (), 30_000, OUR_AGENTS),
    ThirdPartyEnv(
        "frozenlake", "FrozenLake-v1", (), (), (), 50_000, OUR_AGENTS, transformations=("one-hot of 16 states",)
    ),
    ThirdPartyEnv(
        "taxi",
        "Taxi-v4",
        (),
        ("--no-action-masks",),
        (),
        100_000,
        OUR_AGENTS,
        transformations=("one-hot of 500 states",),
    ),
    _minatar("Breakout", 200_000, OUR_AGENTS),
    _minigrid("minigrid-empty", "Empty-5x5", 60_000, OUR_AGENTS),
    _minigrid("minigrid-doorkey", "DoorKey-5x5", 200_000, OUR_AGENTS),
    *(_minatar(game, 100_000) for game in ("Asterix", "Freeway", "Seaquest", "SpaceInvaders")),
    _minigrid("minigrid-multiroom", "MultiRoom-N2-S4", 100_000),
    ThirdPartyEnv(
        "minigrid-dict",
        "minigrid:MiniGrid-DoorKey-5x5-v0",
        MINIGRID,
        ("--obs-key", "image,direction"),
        ("--codes", "embed"),
        200_000,
        ("ppo",),
        transformations=("direction: one-hot of 4 states", "image: planes: "),
    ),
    ThirdPartyEnv(
        "crafter",
        "crafter_adapter:Crafter-v0",
        CRAFTER,
        (),
        (),
        30_000,
        eval_episodes=10,
        transformations=("grey from RGB", "resized from 64 x 64"),
    ),
    ThirdPartyEnv(
        "vizdoom-basic",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        VIZDOOM,
        ("--obs-key", "screen"),
        (),
        30_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "vizdoom-dict",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        VIZDOOM,
        (),
        (),
        30_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "vizdoom-multibinary",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-MultiBinary-v1",
        VIZDOOM,
        ("--obs-key", "screen"),
        (),
        30_000,
        transformations=("screen: grey from RGB", "screen: resized from 240 x 320"),
    ),
    ThirdPartyEnv(
        "carracing",
        "CarRacing-v3",
        BOX2D,
        ("--env-arg", "continuous=false"),
        (),
        30_000,
        eval_episodes=10,
        transformations=("grey from RGB", "resized from 96 x 96"),
    ),
    ThirdPartyEnv(
        "lunarlander-multidiscrete",
        "LunarLander-v3",
        BOX2D,
        ("--env-arg", "continuous=true", "--wrapper", DISCRETIZE),
        (),
        100_000,
    ),
    ThirdPartyEnv(
        "blackjack",
        "Blackjack-v1",
        (),
        (),
        (),
        100_000,
        eval_episodes=1_000,  # the score of an episode is -1, 0 or 1
        transformations=("0: one-hot of 32 states",),
    ),
    ThirdPartyEnv(
        "taxi-masked", "Taxi-v4", (), (), (), 100_000, transformations=("one-hot of 500 states", "action masks")
    ),
)

ENVIRONMENTS = {entry.name: entry for entry in _ENVIRONMENTS}
"""All entries by name."""


def all_packages() -> list[str]:
    """Return the packages of all environments, each once."""
    return list(dict.fromkeys(package for entry in _ENVIRONMENTS for package in entry.packages))
