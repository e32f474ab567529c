"""A comparison: runs in groups of the same agent and settings on one environment, and what can be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.spec import EnvSpec
from rl_lab.compare import scores as known_scores
from rl_lab.compare.runs import Result, labels
from rl_lab.compare.statistics import Estimate, band, estimate, iqm, mean, median
from rl_lab.tracking.tracker import SCORE

Array = NDArray[np.float64]
AXES = ("steps", "frames", "minutes")
POINTS = 60  # of a curve whose runs were not logged at the same places


@dataclass(frozen=True)
class Group:
    """The seeds of one agent with the same settings on one environment."""

    label: str
    env_spec: EnvSpec
    results: list[Result]
    metric: str
    target: float | None
    """The score whose first evaluation is looked for."""

    @cached_property
    def final(self) -> Array:
        """The last value of each seed."""
        return np.array([r.scores[-1] for r in self.results])

    @cached_property
    def best(self) -> Array:
        """The best value of each seed: the maximum of several evaluations, so it flatters noisy runs."""
        return np.array([r.scores.max() for r in self.results])

    def normalised(self) -> Array | None:
        """The final scores on the scale of the environment, where there is one, and they are scores."""
        scale = (
            known_scores.scale(self.env_spec) if self.metric.endswith(("return", "return_mean", "return_100")) else None
        )
        return None if scale is None else (self.final - scale[0]) / (scale[1] - scale[0])

    def curve(self, x: str) -> dict[str, list[float]]:
        """The interquartile mean over seeds and its interval against an axis, as far as all seeds have come."""
        axes = [r.axis(x) for r in self.results]
        end = min(float(a[-1]) for a in axes)
        start = max(float(a[0]) for a in axes)
        if end < start:  # one began to be logged after another had ended
            return {"x": [], "y": [], "low": [], "high": []}
        same = all(len(a) == len(axes[0]) and np.allclose(a, axes[0], rtol=0.01) for a in axes)
        grid = np.mean(axes, 0) if same else np.linspace(start, end, POINTS)
        curves = np.stack([np.interp(grid, a, r.scores) for a, r in zip(axes, self.results, strict=True)])
        middle, low, high = band(curves)
        names = ("x", "y", "low", "high")
        return {
            n: [None if np.isnan(v) else round(float(v), 4) for v in values]
            for n, values in zip(names, (grid, middle, low, high), strict=True)
        }  # type: ignore[misc]

    def row(self) -> dict[str, Any]:
        """The group's line of the table."""
        reached = [r.reached(self.target) for r in self.results] if self.target is not None else []
        hits = [hit for hit in reached if hit is not None]
        normalised = self.normalised()
        return {
            "agent": self.label,
            "env": self.env_spec.name,
            "seeds": sorted(r.seed for r in self.results),
            "final": estimate([self.final], iqm),
            "best": estimate([self.best], iqm),
            "target": self.target,
            "reached": len(hits),
            "steps_to_target": float(np.median([h[0] for h in hits])) if len(hits) == len(reached) and hits else None,
            "minutes_to_target": float(np.median([h[1] for h in hits])) if len(hits) == len(reached) and hits else None,
            "steps_per_s": float(np.median([r.steps_per_s for r in self.results])),
            "normalised": None if normalised is None else estimate([normalised], iqm),
        }


def own_target(results: Sequence[Result], env: str, metric: str) -> float | None:
    """The score that the runs on an environment were to reach, where they name one and the same, and scores are compared."""
    named = {r.config.run.target for r in results if r.env_spec.name == env} - {None}
    return named.pop() if len(named) == 1 and metric == SCORE else None


@dataclass(frozen=True)
class Comparison:
    """Groups by environment, and on each in the order in which their runs were named."""

    groups: list[Group]
    metric: str

    @classmethod
    def of(cls, results: Sequence[Result], metric: str, target: float | None = None) -> Comparison:
        """The runs in their groups. Without a `target`, that of each environment's runs, if they agree in it."""
        named: dict[tuple[str, str], list[Result]] = {}
        for label, result in zip(labels(results), results, strict=True):
            named.setdefault((result.env_spec.name, label), []).append(result)
        return cls(
            [
                Group(
                    label,
                    here[0].env_spec,
                    here,
                    metric,
                    own_target(results, env, metric) if target is None else target,
                )
                for (env, label), here in sorted(named.items(), key=lambda x: x[0][0])
            ],
            metric,
        )

    @cached_property
    def envs(self) -> list[str]:
        return list(dict.fromkeys(g.env_spec.name for g in self.groups))

    def on(self, env: str) -> list[Group]:
        return [g for g in self.groups if g.env_spec.name == env]

    def everywhere(self) -> dict[str, list[Array]]:
        """The normalised final scores by agent, of those that ran on every environment that has a scale."""
        scaled = [env for env in self.envs if self.on(env)[0].normalised() is not None]
        found = {}
        for agent in dict.fromkeys(g.results[0].config.agent for g in self.groups):
            there = [[g for g in self.on(env) if g.results[0].config.agent == agent] for env in scaled]
            if scaled and all(len(groups) == 1 for groups in there):
                found[agent] = [groups[0].normalised() for groups in there]
        return found

    def aggregates(self) -> dict[str, dict[str, Estimate]]:
        """IQM, median and mean of the normalised scores over environments and seeds, by agent."""
        statistics = {"IQM": iqm, "median": median, "mean": mean}
        return {
            agent: {name: estimate(arrays, statistic) for name, statistic in statistics.items()}
            for agent, arrays in self.everywhere().items()
        }

    def differences(self) -> dict[str, list[str]]:
        """Every configuration key whose value differs between groups: key -> the value of each group."""
        settings = [g.results[0].settings for g in self.groups]
        found = {}
        for key in sorted({k for s in settings for k in s}):
            values = [str(s.get(key, "")) for s in settings]
            if len(set(values)) > 1:
                found[key] = values
        return found
