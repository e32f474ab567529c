"""The command `sweep grid`."""

from __future__ import annotations

from dataclasses import dataclass

from rl_lab.cli.sweep_options import (
    SETTINGS_HELP,
    SweepOptions,
    new_sweep,
    parse_sweep_options,
    reject_collectors,
    reject_flags,
    with_request,
)
from rl_lab.cli.training_options import parse_training_options, read_config_file
from rl_lab.errors import LabError
from rl_lab.experiment.seed_list import parse_seeds


@dataclass(frozen=True)
class GridOptions(SweepOptions):
    """The options of `sweep grid`."""

    agents: str = ""
    """Agents, separated by commas: dqn,double_dqn."""
    envs: str = ""
    """Environments, separated by commas: Pong,CartPole-v1."""
    seeds: str = "1..5"
    """Seeds of each agent on each environment: 1..5 or 1,3,8."""


def sweep_grid_command(args: list[str]) -> None:
    """Run the command `sweep grid`."""
    description = f"Train every agent on every environment with every seed. No run is stopped early. {SETTINGS_HELP}"
    options, settings = parse_sweep_options(GridOptions, args, "sweep grid", description)
    seeds = parse_seeds(options.seeds)
    from rl_lab.cli.sweep_resume import run_sweep
    from rl_lab.sweep.grid import GridCell, grid_trials

    reject_flags(settings, {"--env": "envs", "--seed": "seeds"})
    file = read_config_file(settings)
    cells = []
    for agent in _split_names(options.agents, "agents"):
        for env in _split_names(options.envs, "envs"):
            training = parse_training_options(agent, ["--env", env, *settings], file=file, command="sweep grid")
            cells.append(GridCell(training.config, training.env_spec))
    config = cells[0].config
    reject_collectors(config)
    sweep = new_sweep("grid", options, config.run.group, config.run.runs_dir)
    sweep = with_request(sweep, {"trials": grid_trials(sweep, cells, seeds)})
    sweep.write()
    run_sweep(sweep, options.address)


def _split_names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise LabError(f"{option} is {text!r}; it must be different names, separated by commas")
    return names
