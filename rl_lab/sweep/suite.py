"""The trials of a suite: every agent on every environment with every seed, each with its result file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from agents.core.settings import ConfigError
from envs.errors import EnvError
from envs.spec import EnvSpec
from rl_lab import api
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.suite.result_file import FinalEvaluation, result_path
from rl_lab.suite.suite import Suite, SuiteAgent
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial_spec import TrialSpec

ONE_THREAD = {"torch_threads": 1, "emulator_threads": 1}
"""Settings of every run of a suite: its runs train side by side, one on each core."""


class SuiteCell(NamedTuple):
    """One agent on one environment. Both names are those in the suite."""

    config: Config
    env_spec: EnvSpec
    agent: str
    env: str

    @property
    def label(self) -> str:
        """Return the names that the settings of the runs do not tell, for tables."""
        own_names = (self.config.agent, self.config.run.env)
        return " ".join(name for name in (self.agent, self.env) if name not in own_names)


def suite_cells(
    suite: Suite, agents: dict[str, SuiteAgent], envs: Sequence[str], machine: dict[str, Any]
) -> list[SuiteCell]:
    """Return one cell for each agent on each of its environments.

    Later settings override earlier ones: those of every suite, of the suite, of the agent, of the environment, and of
    the machine.

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
            settings = {**ONE_THREAD, **_steps(suite), **suite.settings, **agent.settings, **_protocol(suite)}
            settings |= {**suite.settings_on(env), **machine}
            settings |= {"eval_epsilon": suite.evaluation.epsilon, "eval_max_steps": suite.evaluation.cut}
            try:
                config, env_spec = api.resolve_run(agent.agent, settings["env"], settings, preset=agent.preset)
            except (LabError, ConfigError, EnvError) as error:
                raise LabError(f"{name} on {env} in the suite {suite.name}: {error}") from error
            cells.append(SuiteCell(config, env_spec, name, env))
    if not cells:
        raise LabError(f"in the suite {suite.name}, {', '.join(agents)} do not train on {', '.join(envs)}")
    return cells


def suite_trials(
    sweep: Sweep, suite: Suite, cells: Sequence[SuiteCell], seeds: Sequence[int], results_dir: Path
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
    evaluation = suite.evaluation
    for number, cell in enumerate(cells, 1):
        for seed in seeds:
            config = replace(cell.config, run=replace(cell.config.run, seed=seed, group=sweep.group))
            path = os.path.realpath(result_path(results_dir, suite.name, cell.agent, cell.env, seed))
            if os.path.exists(path):
                continue
            run_path = Run.folder_of(config, cell.env_spec) / f"{sweep.started}-{number}-s{seed}"
            request = FinalEvaluation(path, cell.agent, cell.env, evaluation.games, evaluation.epsilon, evaluation.cut)
            trials.append(TrialSpec(config, cell.env_spec, run_path, cell.label, request).to_dict())
    return trials


def _steps(suite: Suite) -> dict[str, int]:
    """Return the setting `steps`, unless each agent has its own."""
    return {} if suite.steps is None else {"steps": suite.steps}


def _protocol(suite: Suite) -> dict[str, str]:
    """Return the setting `protocol`, which only Atari games have, if the suite has one."""
    return {} if suite.protocol == "auto" else {"protocol": suite.protocol}
