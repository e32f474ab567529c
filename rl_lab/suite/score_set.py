"""The scores of one agent on the environments of a suite: of our result files, or published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rl_lab.compare.scores import named_scale
from rl_lab.compare.statistics import Estimate, Statistic, estimate, iqm, mean, median
from rl_lab.suite.result_file import SuiteResult
from rl_lab.suite.suite import Suite

Array = NDArray[np.float64]

AGGREGATES: dict[str, Statistic] = {"IQM": iqm, "median": median, "mean": mean}
"""Statistics of the normalised scores of all environments, by their names in tables and JSON."""


@dataclass(frozen=True)
class ScoreSet:
    """The scores of one agent."""

    name: str
    """Name in tables."""
    scores: dict[str, Array]
    """Environment -> scores [runs] of single runs, or [1], the published mean of several runs."""
    is_published: bool = False
    is_recalled: bool = False
    """The scores were transcribed from memory and agree with the published mean and median."""
    are_means: bool = False
    """The scores are means of several runs: there are no intervals, and no statistic of single runs."""
    source: str = ""
    quoted: Mapping[str, float] = field(default_factory=dict)
    """Published values of `AGGREGATES`, for those that cannot be computed from means."""
    results: Sequence[SuiteResult] = ()
    """The result files, for scores of our own."""

    @property
    def label(self) -> str:
        """Return the name, with an asterisk for recalled scores."""
        return f"{self.name}*" if self.is_recalled else self.name

    def runs_text(self, envs: Sequence[str]) -> str:
        """Return the number of runs on each of several environments, such as "3" or "1 to 3"."""
        if self.are_means:
            return "mean scores"
        counts = sorted({len(self.scores[env]) for env in envs})
        return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))

    def estimate(self, env: str) -> Estimate | None:
        """Return the mean over runs on an environment with its interval, None if there are no scores."""
        if env not in self.scores:
            return None
        return estimate([self.scores[env]], mean)

    def normalised(self, envs: Sequence[str]) -> list[Array] | None:
        """Return the normalised scores, one array [runs] for each environment; None if any has no score or no scale."""
        arrays = []
        for env in envs:
            scale = named_scale(env)
            if scale is None or env not in self.scores:
                return None
            arrays.append((self.scores[env] - scale.zero) / (scale.one - scale.zero))
        return arrays if arrays else None

    def aggregate(self, statistic: str, envs: Sequence[str], *, may_quote: bool) -> Estimate | None:
        """Return a statistic of the normalised scores of several environments, or None if it is not known.

        Args:
            statistic: A key of `AGGREGATES`.
            envs: The environments.
            may_quote: `envs` are all environments of the suite, to which `quoted` belongs.
        """
        if self.are_means and statistic == "IQM":
            if may_quote and statistic in self.quoted:
                return Estimate(self.quoted[statistic], np.nan, np.nan)
            return None
        scores = self.normalised(envs)
        return None if scores is None else estimate(scores, AGGREGATES[statistic])


def why_unusable(suite: Suite, result: SuiteResult) -> str:
    """Return why a result does not belong to the suite of today, or "" if it does."""
    if result.agent not in suite.agents:
        return f"the suite {suite.name} has no agent {result.agent!r}"
    if result.env not in suite.envs:
        return f"the suite {suite.name} has no environment {result.env!r}"
    if not suite.agents[result.agent].trains_on(result.env):
        return f"in the suite {suite.name}, the agent does not train on this environment"
    steps = suite.steps_on(result.env)
    if steps is not None and result.steps != steps:
        return f"it has {result.steps:,} agent steps, those of the suite have {steps:,}"
    if len(result.final.returns) != suite.evaluation.games:
        return (
            f"it was evaluated for {len(result.final.returns)} games, those of the suite for {suite.evaluation.games}"
        )
    return ""


def score_sets_of(results: Sequence[SuiteResult]) -> list[ScoreSet]:
    """Return a score set for each agent of result files. The score of a run is the mean of its final evaluation."""
    by_agent: dict[str, list[SuiteResult]] = {}
    for result in results:
        by_agent.setdefault(result.agent, []).append(result)
    score_sets = []
    for agent, of_agent in by_agent.items():
        by_env: dict[str, list[float]] = {}
        for result in of_agent:
            by_env.setdefault(result.env, []).append(result.final.mean)
        scores = {env: np.array(values, float) for env, values in by_env.items()}
        score_sets.append(ScoreSet(agent, scores, results=of_agent))
    return score_sets
