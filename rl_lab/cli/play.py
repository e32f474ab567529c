"""The command `play`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from agents.core.settings import Count, Range, check_fields
from rl_lab.cli.parsing import parse
from rl_lab.errors import LabError

EnvName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]


@dataclass(frozen=True)
class HumanPlayOptions:
    """Options of `play`."""

    env: EnvName
    """The name of an Atari game, or a Gymnasium id."""
    protocol: Literal["auto", "classic", "machado", "v5"] = "auto"
    """Protocol of an Atari game. "auto" is the protocol that the name of the environment implies."""
    seed: Annotated[int | None, Range(0, 2**31 - 1)] = None
    """Seed of the games. By default a new one each time."""
    episodes: Count | None = None
    """Games to play. By default there is no limit."""
    speed: float = 1.0
    """Multiple of the game's own speed: 0.1, 0.25, 0.5, 1, 2, 4 or 8. The keys + and - change it."""
    wait: tyro.conf.FlagCreatePairsOff[bool] = False
    """Wait for a key before each step. Environments with discrete states, such as FrozenLake-v1, always wait."""
    idle: Annotated[int | None, Range(0)] = None
    """Number of the action that is taken while no key is pressed. By default an action that does nothing, or else the
    first one."""
    runs_dir: str = "runs"
    """Folder of the runs. The scores go to its file human/ENV.jsonl."""


def play_command(args: list[str]) -> None:
    """Run the command `play`."""
    options = parse(HumanPlayOptions, args, "play", "Play an environment at the keyboard, in a window.")
    check_fields(options)
    from envs.make import resolve
    from rl_lab.experiment.registry import load_env_plugins
    from rl_lab.watch.controls import SPEEDS
    from rl_lab.watch.play_env import PlaySettings, play_env

    if options.speed not in SPEEDS:
        raise LabError(f"speed is {options.speed:g}; it must be one of {', '.join(f'{speed:g}' for speed in SPEEDS)}")
    load_env_plugins()
    env_spec = resolve(options.env, None if options.protocol == "auto" else options.protocol)
    settings = PlaySettings(
        runs_dir=options.runs_dir,
        seed=options.seed,
        episodes=options.episodes,
        speed=options.speed,
        wait=options.wait,
        idle_action=options.idle,
    )
    play_env(env_spec, settings)
