"""The command `sweep search`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from agents.core.settings import ConfigError, Count
from rl_lab.cli.sweep_options import (
    SETTINGS_HELP,
    SweepOptions,
    new_sweep,
    parse_sweep_options,
    reject_collectors,
    reject_flags,
    with_request,
)
from rl_lab.cli.training_options import parse_training_options
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_config import Seed
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.sweep.search_request import Objective, Scheduler
from rl_lab.sweep.trial_spec import SEARCH_SEEDS, TrialSpec
from rl_lab.system.exit_codes import exit_with_error
from rl_lab.system.shell import PROG


@dataclass(frozen=True)
class SearchOptions(SweepOptions):
    """The options of `sweep search`."""

    trials: Count = 20
    """Number of trials. The first one has the agent's own settings."""
    scheduler: Scheduler = "asha"
    """"asha" stops bad trials early (Li et al. 2020), "pbt" is population-based training (Jaderberg et al. 2017)."""
    space: str = ""
    """YAML file of the settings to vary. By default the agent's section of configs/search.yaml."""
    objective: Objective = "mean"
    """Score to maximise: "mean" of all evaluations (area under the learning curve), or the "best" or "final" one."""
    finalists: Count = 3
    """Best trials that are trained with more seeds before the winner is chosen. 1 chooses by the trials alone."""
    final_seeds: Count = 3
    """Number of seeds with which each finalist is trained."""
    search_seed: Seed = 0
    """Seed of the search algorithm."""
    check_seeds: str = "1..3"
    """Fresh seeds, below 1,000,000, of the final check of the winning settings against the agent's own settings."""


def sweep_search_command(args: list[str]) -> None:
    """Run the command `sweep search`."""
    agent = ""
    if args and not args[0].startswith("-"):
        agent, *args = args
    elif not {"-h", "--help"} & set(args):
        exit_with_error(f"which agent? {PROG} sweep search AGENT --env E")
    description = f"Search for settings of an agent on an environment. {SETTINGS_HELP}"
    options, settings = parse_sweep_options(SearchOptions, args, "sweep search", description)
    reject_flags(settings, {"--seed": "search_seed"})
    from rl_lab.cli.sweep_resume import run_sweep
    from rl_lab.sweep.space import read_space

    training = parse_training_options(agent, settings, command="sweep search")
    config = training.config
    _check_evaluations(config)
    reject_collectors(config)
    if max(parse_seeds(options.check_seeds)) >= SEARCH_SEEDS:
        raise LabError(
            f"check_seeds is {options.check_seeds!r}; seeds from {SEARCH_SEEDS:,} on are reserved for the search itself"
        )
    # An invalid space is an error before the sweep's folder exists.
    read_space(config, options.space, only_changeable=options.scheduler == "pbt")
    sweep = new_sweep("search", options, config.run.group, config.run.runs_dir)
    config = replace(config, run=replace(config.run, group=sweep.group))
    path = Run.folder_of(config, training.env_spec) / sweep.started
    trial = TrialSpec(config, training.env_spec, path).to_dict()
    sweep = with_request(sweep, {**asdict(options), "trial": trial})
    sweep.write()
    run_sweep(sweep, options.address)


def _check_evaluations(config: Config) -> None:
    """Raise ConfigError if a run would have no evaluation, or might end early: a search compares evaluations."""
    if not config.run.eval_every:
        raise ConfigError("eval_every is 0; a search compares evaluations, so it must be at least 1")
    if config.run.stop_at_target:
        raise ConfigError("stop_at_target is true; a search compares runs with equal numbers of steps: leave it out")
    if config.run.eval_every > config.run.steps:
        raise ConfigError(
            f"eval_every is {config.run.eval_every}; for a search it must be at most steps, {config.run.steps}"
        )
