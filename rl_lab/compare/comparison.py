"""A comparison of groups of runs. The runs of a group differ only in their seeds.

In the shapes below, [seeds] is one number per seed of a group, and [points] one number per point of a learning curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.compare.labels import group_labels
from rl_lab.compare.optima import known_optimum
from rl_lab.compare.run_result import RunResult, TargetTime
from rl_lab.compare.scores import score_scale
from rl_lab.compare.statistics import Estimate, Statistic, curve_band, estimate, iqm, mean, median
from rl_lab.tracking.metric_names import SCORE_METRIC, XAxis

Array = NDArray[np.float64]

CURVE_POINTS = 60  # points of a curve whose runs were logged at different steps
CURVE_DECIMALS = 4
RETURN_SUFFIXES = ("return", "return_mean", "return_100")  # metrics with these endings are scores
AGGREGATES: dict[str, Statistic] = {"IQM": iqm, "median": median, "mean": mean}
STATISTICS = {
    "final": "IQM",
    "best": "IQM",
    "normalised": "IQM",
    "regret": "IQM",
    "steps_to_target": "median",
    "minutes_to_target": "median",
    "steps_per_s": "median",
}
"""Field of `GroupSummary` -> the statistic over seeds that its value is."""


class Curve(NamedTuple):
    """The learning curve of a group: arrays [points], rounded to `CURVE_DECIMALS`."""

    x: Array  # agent steps, frames or minutes
    y: Array  # interquartile mean over seeds
    low: Array  # lower end of the 95% interval of y, NaN for a single seed
    high: Array  # upper end of the 95% interval of y, NaN for a single seed


@dataclass(frozen=True)
class GroupSummary:
    """One row of the table of a comparison."""

    agent: str  # label of the group
    env: str
    seeds: list[int]
    final: Estimate  # interquartile mean (IQM) over seeds of the last values of the metric
    best: Estimate  # IQM over seeds of the best values of the metric
    target: float | None  # target score
    reached: int  # number of seeds that reached the target
    steps_to_target: float | None  # median over seeds of the agent steps, None if not all seeds reached the target
    minutes_to_target: float | None  # median over seeds of the minutes, None if not all seeds reached the target
    steps_per_s: float  # median over seeds of the training speed in agent steps per second
    normalised: Estimate | None  # IQM of `RunGroup.normalised_scores`, None if there are none
    optimum: float | None  # expected score of an optimal policy, None if it is not known
    regret: Estimate | None  # optimum - final, None if the optimum is not known or episodes were cut


@dataclass(frozen=True)
class RunGroup:
    """The runs of one agent with equal settings on one environment. The runs differ in their seeds."""

    label: str  # the agent's name and the settings that distinguish the group from others
    env_spec: EnvSpec
    results: list[RunResult]  # one per seed
    metric: str  # name of the metric that is compared
    target: float | None  # target score, or None

    @property
    def agent(self) -> str:
        """Return the name of the agent."""
        return self.results[0].config.agent

    @cached_property
    def final_values(self) -> Array:
        """Return the last value of the metric for each seed, [seeds]."""
        return np.array([result.values[-1] for result in self.results])

    @cached_property
    def best_values(self) -> Array:
        """Return the highest value of the metric for each seed, [seeds].

        A maximum over many evaluations is biased: it favours agents with noisy scores.
        """
        return np.array([result.values.max() for result in self.results])

    def normalised_scores(self) -> Array | None:
        """Return the normalised last scores [seeds], or None if the metric is not a score or the scale is not known.

            normalised = (last - zero) / (one - zero)

        `ScoreScale` defines zero and one: on Atari, they are the scores of a random policy and of a human.
        """
        if not self.metric.endswith(RETURN_SUFFIXES):
            return None
        scale = score_scale(self.env_spec)
        if scale is None:
            return None
        return (self.final_values - scale.zero) / (scale.one - scale.zero)

    def optimum(self) -> float | None:
        """Return the expected score of an optimal policy. None if it is not known, or if the metric is not a score."""
        return known_optimum(self.env_spec) if self.metric.endswith(RETURN_SUFFIXES) else None

    def curve(self, axis: XAxis) -> Curve:
        """Return the learning curve over the range of x that all seeds cover. It is empty if there is no such range.

        The runs are interpolated linearly to a common grid. If all runs were logged at about the same x-coordinates
        (within 1%), the grid is the mean of these coordinates. Otherwise it has `CURVE_POINTS` equidistant points.
        """
        x_values = [result.x_values(axis) for result in self.results]
        start = max(float(x[0]) for x in x_values)
        end = min(float(x[-1]) for x in x_values)
        if end < start:
            empty = np.empty(0)
            return Curve(empty, empty, empty, empty)
        same_grid = all(len(x) == len(x_values[0]) and np.allclose(x, x_values[0], rtol=0.01) for x in x_values)
        grid = np.mean(x_values, 0) if same_grid else np.linspace(start, end, CURVE_POINTS)
        curves = np.stack([np.interp(grid, x, result.values) for x, result in zip(x_values, self.results, strict=True)])
        middle, low, high = curve_band(curves)
        return Curve(_rounded(grid), _rounded(middle), _rounded(low), _rounded(high))

    def summary(self) -> GroupSummary:
        """Return the row of the group in the table."""
        final = estimate([self.final_values], iqm)
        optimum = self.optimum()
        times = self._target_times()
        all_reached = len(times) == len(self.results)
        normalised = self.normalised_scores()
        return GroupSummary(
            agent=self.label,
            env=self.env_spec.name,
            seeds=sorted(result.seed for result in self.results),
            final=final,
            best=estimate([self.best_values], iqm),
            target=self.target,
            reached=len(times),
            steps_to_target=float(np.median([time.steps for time in times])) if all_reached else None,
            minutes_to_target=float(np.median([time.minutes for time in times])) if all_reached else None,
            steps_per_s=float(np.median([result.steps_per_s for result in self.results])),
            normalised=None if normalised is None else estimate([normalised], iqm),
            optimum=optimum,
            regret=None if optimum is None else self._regret(optimum, final),
        )

    def _regret(self, optimum: float, final: Estimate) -> Estimate | None:
        """Return optimum - final. None if episodes were cut, because the optimum is the score of whole episodes."""
        if any(result.has_cuts for result in self.results):
            return None
        return Estimate(optimum - final.value, optimum - final.high, optimum - final.low)

    def _target_times(self) -> list[TargetTime]:
        """Return the times of the seeds that reached the target."""
        if self.target is None:
            return []
        times = [result.time_to_target(self.target) for result in self.results]
        return [time for time in times if time is not None]


@dataclass(frozen=True)
class Comparison:
    """All groups that are compared."""

    groups: list[RunGroup]
    """The groups, ordered by the name of the environment, then by the order of their first runs on the command line."""
    metric: str
    """Name of the metric that is compared."""

    @classmethod
    def from_results(
        cls, results: Sequence[RunResult], metric: str, target: float | None = None, *, mix_lengths: bool = False
    ) -> Comparison:
        """Group the runs.

        Args:
            results: The runs.
            metric: The metric that is compared.
            target: Target score. None uses for each environment the `common_target` of its runs.
            mix_lengths: Runs of different length form one group (`group_labels`).
        """
        by_env_and_label: dict[tuple[str, str], list[RunResult]] = {}
        for label, result in zip(group_labels(results, mix_lengths=mix_lengths), results, strict=True):
            by_env_and_label.setdefault((result.env_spec.name, label), []).append(result)
        groups = []
        for env, label in sorted(by_env_and_label, key=lambda key: key[0]):
            in_group = by_env_and_label[env, label]
            group_target = common_target(results, env, metric) if target is None else target
            groups.append(RunGroup(label, in_group[0].env_spec, in_group, metric, group_target))
        return cls(groups, metric)

    @cached_property
    def envs(self) -> list[str]:
        """Return the names of the environments, in the order of the groups."""
        return list(dict.fromkeys(group.env_spec.name for group in self.groups))

    @cached_property
    def agents(self) -> list[str]:
        """Return the names of the agents, in the order of the groups."""
        return list(dict.fromkeys(group.agent for group in self.groups))

    def groups_on(self, env: str) -> list[RunGroup]:
        """Return the groups on an environment."""
        return [group for group in self.groups if group.env_spec.name == env]

    def normalised_scores(self) -> dict[str, list[Array]]:
        """Return the normalised last scores: agent -> one array [seeds] for each environment with normalised scores.

        An agent is left out unless it has exactly one group on each of these environments.
        """
        # For each environment with normalised scores: agent -> scores of the agent's groups.
        by_env: list[dict[str, list[Array]]] = []
        for env in self.envs:
            by_agent: dict[str, list[Array]] = {}
            for group in self.groups_on(env):
                scores = group.normalised_scores()
                if scores is not None:
                    by_agent.setdefault(group.agent, []).append(scores)
            if by_agent:
                by_env.append(by_agent)
        complete: dict[str, list[Array]] = {}
        for agent in self.agents:
            if by_env and all(len(by_agent.get(agent, [])) == 1 for by_agent in by_env):
                complete[agent] = [by_agent[agent][0] for by_agent in by_env]
        return complete

    def aggregates(self) -> dict[str, dict[str, Estimate]]:
        """Return statistics of the normalised scores over environments and seeds: agent -> "IQM", ... -> estimate."""
        aggregates: dict[str, dict[str, Estimate]] = {}
        for agent, scores in self.normalised_scores().items():
            aggregates[agent] = {name: estimate(scores, statistic) for name, statistic in AGGREGATES.items()}
        return aggregates

    def differing_settings(self) -> dict[str, list[str]]:
        """Return the settings in which groups differ: name -> one value per group, "" if a group lacks the setting."""
        settings = [group.results[0].settings for group in self.groups]
        names = sorted({name for each in settings for name in each})
        differing: dict[str, list[str]] = {}
        for name in names:
            values = [str(each.get(name, "")) for each in settings]
            if len(set(values)) > 1:
                differing[name] = values
        return differing


def common_target(results: Sequence[RunResult], env: str, metric: str) -> float | None:
    """Return the setting `target` that the runs on an environment have in common. Runs without a target do not count.

    None if no run has a target, if the targets differ, or if the metric is not the evaluation score.
    """
    targets = {result.config.run.target for result in results if result.env_spec.name == env} - {None}
    if len(targets) != 1 or metric != SCORE_METRIC:
        return None
    return targets.pop()


def _rounded(values: Array) -> Array:
    """Return the values rounded to `CURVE_DECIMALS`."""
    return np.array([round(float(value), CURVE_DECIMALS) for value in values])
