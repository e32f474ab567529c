"""The command `look`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from agents.core.settings import Count, Positive, Range, check_fields
from rl_lab import api
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.errors import LabError
from rl_lab.experiment.run import DEMO, Run
from rl_lab.watch.game import Game
from rl_lab.watch.player import Player


@dataclass(frozen=True)
class LookOptions(PlayOptions):
    out: str = ""
    """Folder for the pictures; the run's look/ unless given."""
    step: Count = 200
    """Agent steps into the game at which its feature maps are drawn."""
    units: Annotated[int, Range(1, 64)] = 8
    """Units of each convolution to find the exciting inputs of."""
    attack: tuple[Literal["fgsm"], Positive] | None = None
    """Instead of pictures: play with each observation perturbed, `--attack fgsm 0.01`, by so much of its range (of 255 for
    images; the observation's own unit for vectors), and print how far the score falls (Huang et al. 2017)."""
    episodes: Count = 10
    """Whole games to play under attack."""


def look_command(args: list[str]) -> None:
    chosen = parse(LookOptions, args, "look", "See what a run's network has learned, or how far it can be fooled.")
    check_fields(chosen)
    from rl_lab.analysis import attack, feature_visualization

    run = Run.find(chosen.run, chosen.runs_dir)
    if chosen.attack is not None:
        size = chosen.attack[1]
        if not 0 < size < float("inf"):
            raise LabError(f"attack is fgsm {size:g}; its size must be greater than 0")
        for name, result in attack.scores(
            run, size, episodes=chosen.episodes, seed=chosen.seed, which=chosen.which
        ).items():
            print(f"{name:<22} {result}")
        return
    agent = api.load(run, which=chosen.which)
    player = Player(agent, run.config, Game(run.env_spec), epsilon=run.config.run.eval_epsilon, seed=chosen.seed)
    out = Path(chosen.out or ("look-demo" if run.path == DEMO else run.path / "look"))
    for path, what in feature_visualization.draw(player, out, step=chosen.step, units=chosen.units).items():
        print(f"{path}: {what}")
