"""The trials of a suite: every agent on every environment with every seed, each with its result file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.core.settings import ConfigError
from envs.errors import EnvError
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.suite.result_file import FinalEvaluation, result_path
from rl_lab.suite.suite import Suite, SuiteAgent
from rl_lab.sweep.grid import GridCell
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial_spec import TrialSpec

ONE_THREAD = {"torch_threads": 1, "emulator_threads": 1}
"""Settings of every run of a suite: its runs train side by side, one on each core."""


def suite_cells(
    suite: Suite, agents: dict[str, SuiteAgent], envs: Sequence[str], machine: dict[str, Any]
) -> list[GridCell]:
    """Return one cell for each agent on each of its environments. The label of a cell is the agent's name in the suite.

    Later settings override earlier ones: those of every suite, of the suite, of the agent, and of the machine.

    Args:
        suite: The suite.
        agents: The agents to train, by their names in the suite.
        envs: The environments.
        machine: Settings that belong to the machine, such as `runs_dir`.

    Raises:
        LabError: An environment is missing, or an agent does not support it (the message names both); or none of the
            agents trains on one of the environments.
    """
    cells = []
    for name, agent in agents.items():
        for env in envs:
            if not agent.trains_on(env):
                continue
            settings = {**ONE_THREAD, **suite.settings, **agent.settings, **_protocol(suite), **machine}
            settings |= {"eval_epsilon": suite.evaluation.epsilon, "eval_max_steps": suite.evaluation.cut}
            steps = suite.steps_on(env)
            if steps is not None:
                settings["steps"] = steps
            try:
                config, env_spec = api.resolve_run(agent.agent, env, {"env": env, **settings}, preset=agent.preset)
            except (LabError, ConfigError, EnvError) as error:
                raise LabError(f"{name} on {env} in the suite {suite.name}: {error}") from error
            cells.append(GridCell(config, env_spec, name))
    if not cells:
        raise LabError(f"in the suite {suite.name}, {', '.join(agents)} do not train on {', '.join(envs)}")
    return cells


def suite_trials(
    sweep: Sweep, suite: Suite, cells: Sequence[GridCell], seeds: Sequence[int], results_dir: Path
) -> list[dict[str, Any]]:
    """Return the trials of a suite whose result files do not exist, as `TrialSpec.to_dict` returns them.

    Args:
        sweep: The sweep.
        suite: The suite.
        cells: The result of `suite_cells`.
        seeds: The seeds of each cell.
        results_dir: Folder of all suites' result files.
    """
    trials = []
    for number, (config, env_spec, name) in enumerate(cells, 1):
        for seed in seeds:
            trial_config = replace(config, run=replace(config.run, seed=seed, group=sweep.group))
            path = os.path.realpath(result_path(results_dir, suite.name, name, config.run.env, seed))
            if os.path.exists(path):
                continue
            run_path = Run.folder_of(trial_config, env_spec) / f"{sweep.started}-{number}-s{seed}"
            evaluation = suite.evaluation
            request = FinalEvaluation(path, name, config.run.env, evaluation.games, evaluation.epsilon, evaluation.cut)
            label = "" if name == config.agent else name
            trials.append(TrialSpec(trial_config, env_spec, run_path, label, request).to_dict())
    return trials


def _protocol(suite: Suite) -> dict[str, str]:
    """Return the setting `protocol`, which only Atari games have, if the suite has one."""
    return {} if suite.protocol == "auto" else {"protocol": suite.protocol}
