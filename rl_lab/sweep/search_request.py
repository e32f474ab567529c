"""The request of a search: the entry "asked" in its sweep.json."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from envs.spec import EnvSpec
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config

Scheduler = Literal["none", "asha", "pbt"]
Objective = Literal["mean", "best", "final"]


@dataclass(frozen=True)
class SearchRequest:
    """The options of `sweep search` that decide what the search does."""

    trial: dict[str, Any]  # `TrialSpec.to_dict` of a trial with the agent's own settings
    trials: int  # number of trials
    scheduler: Scheduler
    space: str  # YAML file of the settings to vary, "" for configs/search.yaml
    objective: Objective
    search_seed: int  # seed of the search algorithm
    check_seeds: str  # seeds of the final check, such as "1..3"
    finalists: int = 1  # files of older sweeps have no finalists: the best trial wins
    final_seeds: int = 0  # further seeds with which each finalist is trained

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SearchRequest:
        """Return the request from sweep.json. Other entries, such as the resources of a run, are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    @property
    def config(self) -> Config:
        """Return the configuration with the agent's own settings."""
        return configuration.from_dict(self.trial["config"], "the search")

    @property
    def env_spec(self) -> EnvSpec:
        """Return the environment spec."""
        return EnvSpec.from_dict(self.trial["card"])
