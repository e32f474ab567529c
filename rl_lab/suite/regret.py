"""The regret of the agents of a suite: the optimum less the score, where an environment can compute its optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from envs.errors import EnvError
from envs.options import EnvOptions
from rl_lab import api
from rl_lab.compare.optima import known_optimum
from rl_lab.compare.statistics import Estimate
from rl_lab.suite.score_set import ScoreSet
from rl_lab.suite.suite import Suite


def suite_optima(suite: Suite, envs: Sequence[str]) -> dict[str, float]:
    """Return the expected score of an optimal policy for each of these environments of a suite where it is known.

    An environment that is missing on this machine is left out.
    """
    optima = {}
    for env in envs:
        settings = suite.settings_on(env)
        options = EnvOptions(env_args=settings.get("env_args", {}), wrappers=tuple(settings.get("wrappers", ())))
        try:
            optimum = known_optimum(api.resolve_env(settings["env"], options=options))
        except EnvError:
            continue
        if optimum is not None:
            optima[env] = optimum
    return optima


def regret_rows(score_sets: Sequence[ScoreSet], optima: dict[str, float]) -> list[list[str]]:
    """Return rows of a table: environment, optimum, and the regret of each agent in percent of the optimum.

    The regret of an agent is 100 (optimum - mean score) / |optimum|, with the 95% interval of the mean.

    An optimum of 0 has no percent: its environment is left out.

    Args:
        score_sets: The agents.
        optima: The result of `suite_optima`.
    """
    rows = []
    for env, optimum in optima.items():
        if optimum == 0:
            continue
        cells = [_regret_cell(score_set.estimate(env), optimum) for score_set in score_sets]
        if any(cells):
            rows.append([env, f"{optimum:.2f}", *cells])
    return rows


def _regret_cell(estimate: Estimate | None, optimum: float) -> str:
    """Return a regret in percent with its interval, "" for an agent without scores."""
    if estimate is None:
        return ""
    value, low, high = (
        100 * (optimum - score) / abs(optimum) for score in (estimate.value, estimate.high, estimate.low)
    )
    text = f"{value:.1f}%"
    return text if math.isnan(low) else f"{text} ({low:.1f} to {high:.1f})"
