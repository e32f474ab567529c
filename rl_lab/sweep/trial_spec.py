"""The specification of a trial: everything that the driver of a sweep passes to a worker."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envs.spec import EnvSpec
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.suite.result_file import FinalEvaluation

SEARCH_SEEDS = 10**6
"""Trials of a search have seeds in [SEARCH_SEEDS, 2 * SEARCH_SEEDS), so that no grid shares seeds with a search."""


@dataclass(frozen=True)
class TrialSpec:
    """Everything that a worker needs to train the run of a trial."""

    config: Config
    env_spec: EnvSpec
    path: Path  # the run folder
    label: str = ""  # goes before the agent's name in tables
    final_evaluation: FinalEvaluation | None = None  # of a run of a suite

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-compatible values.

        All paths are absolute, because a worker may have another working directory. The keys are part of sweep.json.
        """
        run = replace(self.config.run, runs_dir=os.path.realpath(self.config.run.runs_dir))
        if run.init_from:
            run = replace(run, init_from=str(Run.find(run.init_from, run.runs_dir).path.resolve()))
        values = {
            "config": replace(self.config, run=run).to_dict(),
            "card": self.env_spec.to_dict(),
            "path": os.path.realpath(self.path),
            "label": self.label,
        }
        if self.final_evaluation is not None:
            values["final_evaluation"] = self.final_evaluation.to_dict()
        return values

    @classmethod
    def from_params(cls, params: dict[str, Any], trial_id: str) -> TrialSpec:
        """Return the spec of a Tune trial.

        Args:
            params: Parameters of the trial. "trial" is the dict from `to_dict`. Only a search has "settings": the
                values that the search chose for this trial.
            trial_id: Tune's id of the trial. In a search, the seed is derived from the id, and the name of the run
                folder ends with the id.
        """
        fields = params["trial"]
        config = configuration.from_dict(fields["config"], "the trial")
        path = Path(fields["path"])
        if "settings" in params:
            seed = SEARCH_SEEDS + zlib.crc32(trial_id.encode()) % SEARCH_SEEDS
            config = configuration.replace_settings(config, {**params["settings"], "seed": seed}, "the search")
            path = path.with_name(f"{path.name}-{trial_id}")
        request = fields.get("final_evaluation")
        final_evaluation = FinalEvaluation(**request) if request else None
        return cls(config, EnvSpec.from_dict(fields["card"]), path, fields["label"], final_evaluation)
