"""The command `sweep suite`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.core.settings import check_fields
from rl_lab.cli.parsing import parse
from rl_lab.cli.sweep_options import SweepOptions, new_sweep, with_request
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.printable import print_line
from rl_lab.system.shell import PROG, shell_command


@dataclass(frozen=True)
class SuiteOptions(SweepOptions):
    """The options of `sweep suite`."""

    suite: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[SUITE]")] = ""
    """Name of a suite, or the path of a YAML file."""
    agents: str = ""
    """Agents of the suite to train, separated by commas. Default: all."""
    envs: str = ""
    """Environments of the suite to train on, separated by commas. Default: all."""
    seeds: str = ""
    """Seeds of each agent on each environment: 1..5 or 1,3,8. Default: those of the suite."""
    results_dir: str = "results"
    """Folder of the result files, RESULTS_DIR/SUITE/AGENT/ENV/SEED.json. Runs whose file exists are not trained."""
    group: str = ""
    """Name of the sweep and of the group of its runs."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device of networks and replay, as for `train`."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases, as for `train`."""
    runs_dir: str = "runs"
    """Folder of the run folders."""


def sweep_suite_command(args: list[str]) -> None:
    """Run the command `sweep suite`."""
    description = "Train the agents of a suite, evaluate them, and write their result files (docs/suites.md)."
    options = parse(SuiteOptions, args, "sweep suite", description)
    check_fields(options)
    from rl_lab.cli.sweep_resume import run_sweep
    from rl_lab.suite.suite import read_suite, suite_names
    from rl_lab.sweep.suite import suite_cells, suite_trials

    if not options.suite:
        exit_with_error(f"which suite? {PROG} sweep suite NAME; the suites are {', '.join(suite_names())}")
    suite = read_suite(options.suite)
    seeds = parse_seeds(options.seeds or suite.seeds)
    agents = suite.choose_agents(options.agents)
    envs = suite.choose_envs(options.envs)
    machine = {"device": options.device, "wandb": options.wandb, "runs_dir": options.runs_dir}
    cells = suite_cells(suite, agents, envs, machine)
    sweep = new_sweep("grid", options, options.group, options.runs_dir)
    if not options.group:
        sweep = replace(sweep, group=f"{suite.name}-{sweep.started}")
    trials = suite_trials(sweep, suite, cells, seeds, Path(options.results_dir))
    num_done = len(cells) * len(seeds) - len(trials)
    if num_done:
        print_line(
            f"{num_done} of {len(cells) * len(seeds)} runs have a result file in {options.results_dir}/{suite.name} and"
            " are not trained again; remove a file to repeat its run"
        )
    if trials:
        sweep = with_request(sweep, {"trials": trials})
        sweep.write()
        run_sweep(sweep, options.address)
    results_dir = [] if options.results_dir == "results" else ["--results-dir", options.results_dir]
    print_line(f"next:  {shell_command('results', options.suite, *results_dir)}")
