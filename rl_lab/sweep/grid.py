"""A grid: every agent on every environment with every seed. Nothing is pruned, for that would bias what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ray import tune

from envs.spec import EnvSpec
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.sweep.sweep import Sweep, carry_out
from rl_lab.sweep.trial import plain, train_trial


class Cell(NamedTuple):
    """One agent on one environment; `label` tells it from another with the same of both."""

    config: Config
    env_spec: EnvSpec
    label: str = ""


def trials(sweep: Sweep, cells: Sequence[Cell], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Each cell with each seed, in the sweep's group. The cell's number is in the name of the run folder."""
    made = []
    for number, (config, env_spec, label) in enumerate(cells, 1):
        for seed in seeds:
            its = replace(config, run=replace(config.run, seed=seed, group=sweep.group))
            path = Run.folder_of(its, env_spec) / f"{sweep.began}-{number}-s{seed}"
            made.append(plain(its, env_spec, path, label))
    return made


def grid(sweep: Sweep, made: Sequence[dict[str, Any]]) -> None:
    """Carry the trials out, or go on with them. Raises Stopped and Fault."""
    tuner = sweep.restored(train_trial) or sweep.tuner(train_trial, {"trial": tune.grid_search(list(made))})
    carry_out(tuner)
