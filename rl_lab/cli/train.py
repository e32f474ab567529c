"""The command `train`."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from typing import Annotated

import tyro

from agents.core.settings import Count
from envs.spec import EnvSpec
from rl_lab.cli.parsing import value_of
from rl_lab.cli.printed_config import print_config, sources_of_settings
from rl_lab.cli.training_options import (
    OptionsField,
    args_of_jobs,
    canonical_training_args,
    parse_training_options,
    read_config_file,
)
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.registry import agents, is_resumable
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.system.cores import share_of_cores
from rl_lab.system.exit_codes import CommandExit, exit_with_error, prints_tracebacks
from rl_lab.system.portable_name import portable_name
from rl_lab.system.printable import print_line
from rl_lab.system.quiet_output import quiet_if_lost
from rl_lab.system.shell import PROG, VERBOSE, shell_command

Flag = tyro.conf.FlagCreatePairsOff[bool]
PROGRAM = [sys.executable, "-m", "rl_lab"]
SEEDS_HELP = "Train these seeds as one group of runs: 1..5 or 1,3,8."
JOBS_HELP = "Seeds that are trained side by side. They share the cores of the processor."
PRINT_CONFIG_HELP = "Print all settings as YAML, each with the layer that it comes from, and train nothing."
DRY_RUN_HELP = "Make environments and agent, print the settings, and end before the first step. Nothing is written."
TRAIN_OPTIONS = [
    OptionsField("seeds", Annotated[str, tyro.conf.arg(help=SEEDS_HELP)], ""),
    OptionsField("jobs", Annotated[Count, tyro.conf.arg(help=JOBS_HELP)], 1),
    OptionsField("print_config", Annotated[Flag, tyro.conf.arg(help=PRINT_CONFIG_HELP)], False),
    OptionsField("dry_run", Annotated[Flag, tyro.conf.arg(help=DRY_RUN_HELP)], False),
]


@quiet_if_lost()
def train_command(args: list[str]) -> None:
    """Train an agent on an environment, with one seed or with several."""
    usage = f"{PROG} train AGENT --env NAME [options]; AGENT is one of: {', '.join(sorted(agents()))}"
    if args and args[0] in ("-h", "--help"):
        print(f"usage: {usage}")
        print(f"{PROG} train AGENT --help shows the options of an agent")
        return
    if not args or args[0].startswith("-"):
        exit_with_error(f"which agent? {usage}")
    name, *args = args
    args = canonical_training_args(name, args, TRAIN_OPTIONS)
    file = read_config_file(args)
    options, config, env_spec = parse_training_options(name, args, TRAIN_OPTIONS, file=file)
    if options.print_config:
        print_config(config, sources_of_settings(config, env_spec, args, file))
        return
    if options.dry_run:
        from rl_lab.experiment import launch

        launch.dry_run(config, env_spec)
        return
    if options.jobs > 1 and not options.seeds:
        raise LabError(f"jobs is {options.jobs}; more than one job needs --seeds, such as --seeds 1..5")
    if options.seeds:
        with args_of_jobs(args, file) as job_args:
            _train_seeds(job_args, parse_seeds(options.seeds), options.jobs, config, env_spec)
        return
    from rl_lab.cli.interruption import exit_if_interrupted
    from rl_lab.experiment import launch

    with exit_if_interrupted():
        launch.train(config, env_spec)


def _train_seeds(args: list[str], seeds: list[int], jobs: int, config: Config, env_spec: EnvSpec) -> None:
    """Train several seeds as one group, with the other options unchanged.

    Args:
        args: The arguments of `train`, without the agent.
        seeds: The seeds.
        jobs: Seeds that are trained side by side.
        config: The configuration that the arguments give.
        env_spec: The environment.
    """
    from rl_lab.experiment.seed_group import GroupStopped, plan_jobs, train_group

    if value_of(args, "--seed") is not None:
        raise LabError("either --seed or --seeds, not both")
    job_args = ["train", config.agent, *_without_flags(args, ("--seeds", "--jobs", "--group", "--init-from"))]
    init_args = []
    if config.run.init_from:  # resolved once for all jobs: "latest" soon names another run
        source = str(Run.find(config.run.init_from, config.run.runs_dir))
        config = replace(config, run=replace(config.run, init_from=source))
        init_args = ["--init-from", source]
        job_args += init_args
    job_args += _measured_settings(config, env_spec, parallel=min(jobs, len(seeds)))
    group = value_of(args, "--group") or _default_group_name(config)
    config = replace(config, run=replace(config.run, group=group))
    program = [*PROGRAM, VERBOSE] if prints_tracebacks() else PROGRAM
    try:
        train_group(plan_jobs(program, job_args, seeds, config), parallel=jobs, group=group)
    except GroupStopped as stop:
        effect = "continues the group" if is_resumable(config.agent) else "trains the seeds that have not started"
        print_line(f"stopped and saved; the same command with {shlex.join(['--group', group, *init_args])} {effect}")
        raise CommandExit(128 + stop.signal) from None
    compare_args = ["compare", group]
    if config.run.runs_dir != "runs":
        compare_args += ["--runs-dir", config.run.runs_dir]
    print_line(f"next:  {shell_command(*compare_args)}")


def _measured_settings(config: Config, env_spec: EnvSpec, *, parallel: int) -> list[str]:
    """Return precision and threads as arguments of all jobs. They are measured once, because measurements vary.

    Args:
        config: The configuration of the jobs.
        env_spec: The environment.
        parallel: Jobs that are trained side by side.
    """
    import torch

    from rl_lab.experiment.training_plan import plan_training
    from rl_lab.system.update_speed import torch_threads

    if config.run.precision != "auto" and config.run.torch_threads:
        return []
    with torch_threads(min(torch.get_num_threads(), share_of_cores(runs=parallel))):
        run = plan_training(config, env_spec).config.run
    return ["--precision", run.precision, "--torch-threads", str(run.torch_threads)]


def _default_group_name(config: Config) -> str:
    """Return the name of a group: agent, environment and time."""
    return f"{config.agent}-{portable_name(config.run.env)}-{time.strftime('%Y%m%d-%H%M%S')}"


def _without_flags(args: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return the arguments without these flags and their values, written as `--flag value` or `--flag=value`."""
    kept = []
    for i, arg in enumerate(args):
        is_flag = arg.split("=")[0] in flags
        is_value = i > 0 and args[i - 1] in flags
        if not is_flag and not is_value:
            kept.append(arg)
    return kept
