"""The command `look`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.core.settings import Count, Positive, Range, check_fields
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.errors import LabError
from rl_lab.experiment.demo_agents import DEFAULT_DEMO
from rl_lab.experiment.run import Run
from rl_lab.system.printable import print_line


@dataclass(frozen=True)
class LookOptions(PlayOptions):
    """Options of `look`."""

    out: str = ""
    """Folder for the page and the images. By default the folder look/ of the run."""
    step: Count = 200
    """Agent step of the game whose feature maps are drawn."""
    units: Annotated[int, Range(1, 64)] = 8
    """Units of each convolution whose preferred inputs are drawn."""
    attack: Annotated[
        tuple[Literal["fgsm"], Positive] | None, tyro.conf.arg(metavar="fgsm FLOAT", help_behavior_hint="")
    ] = None
    """Draw no images. Play with perturbed observations and print the scores (Huang et al. 2017): `--attack fgsm 0.01`.
    The number is the size of the perturbation: for images a share of the pixel range, for vectors in the unit of the
    observation."""
    episodes: Count = 10
    """Whole games to play with --attack."""


def look_command(args: list[str]) -> None:
    """Run the command `look`."""
    options = parse(LookOptions, args, "look", "Draw what a run's network has learned, or attack the network.")
    check_fields(options)
    run = Run.find(options.run, options.runs_dir)
    if options.attack is not None:
        _, size = options.attack
        _print_attack(run, size, options)
    else:
        _write_report(run, options)


def _print_attack(run: Run, size: float, options: LookOptions) -> None:
    """Print the scores without and with perturbations."""
    from rl_lab.analysis.attack import evaluate_attack

    if not 0 < size < float("inf"):
        raise LabError(f"attack is fgsm {size:g}; its size must be greater than 0")
    results = evaluate_attack(run, size, episodes=options.episodes, seed=options.seed, which=options.which)
    for name, result in results.items():
        print_line(f"{name:<22} {result}")


def _write_report(run: Run, options: LookOptions) -> None:
    """Write the page and the images, and print their paths."""
    from rl_lab import api, checkpoint
    from rl_lab.analysis.network_report import write_network_report
    from rl_lab.watch.player import Player
    from rl_lab.watch.rendered_env import RenderedEnv

    agent = api.load_agent(run, which=options.which)
    epsilon = run.config.run.eval_epsilon
    player = Player(agent, run.config, RenderedEnv(run.env_spec), epsilon=epsilon, seed=options.seed)
    folder = checkpoint.find(run.path, options.which)
    step = checkpoint.read_state(folder)["steps"]
    facts = [f"{run}, checkpoint {folder.name} of step {step:,}, seed {options.seed}, epsilon {epsilon:g}"]
    descriptions = write_network_report(
        player,
        _output_folder(run, options),
        step=options.step,
        units=options.units,
        title=f"{run.config.agent} on {run.env_spec.name}",
        facts=facts,
    )
    for path, description in descriptions.items():
        print_line(f"{path}: {description}")


def _output_folder(run: Run, options: LookOptions) -> Path:
    if options.out:
        return Path(options.out)
    if run.is_demo:  # a demo is part of the installed package
        return Path("look-demo" if run.path.name == DEFAULT_DEMO else f"look-demo-{run.path.name}")
    return run.path / "look"
