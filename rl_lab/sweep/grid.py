"""A grid: every agent on every environment with every seed.

No run is stopped early, because early stopping would bias the comparison of agents. Only `stop_at_target` ends
a run before it has all its steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ray import tune

from envs.spec import EnvSpec
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial import train_trial
from rl_lab.sweep.trial_spec import TrialSpec
from rl_lab.sweep.tuner import new_tuner, restore_tuner, run_tuner


class GridCell(NamedTuple):
    """One agent with its settings on one environment. The label distinguishes cells that differ in settings only."""

    config: Config
    env_spec: EnvSpec
    label: str = ""


def grid_trials(sweep: Sweep, cells: Sequence[GridCell], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the trials of a grid, as `TrialSpec.to_dict` returns them, cell after cell and seed after seed.

    The runs belong to the group of the sweep. Their folders are named <time>-<number of the cell>-s<seed>.
    """
    trials = []
    for number, (config, env_spec, label) in enumerate(cells, 1):
        for seed in seeds:
            trial_config = replace(config, run=replace(config.run, seed=seed, group=sweep.group))
            path = Run.folder_of(trial_config, env_spec) / f"{sweep.started}-{number}-s{seed}"
            trials.append(TrialSpec(trial_config, env_spec, path, label).to_dict())
    return trials


def run_grid(sweep: Sweep) -> None:
    """Run the trials of a grid, or continue an interrupted grid. Raises SweepStopped and Fault as `run_tuner`."""
    tuner = restore_tuner(sweep, train_trial)
    if tuner is None:
        tuner = new_tuner(sweep, train_trial, {"trial": tune.grid_search(list(sweep.request["trials"]))})
    run_tuner(tuner)
