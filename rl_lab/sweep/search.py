"""A search for good settings in three stages.

1. Trials: Optuna or population-based training tries settings, each with a single seed.
2. Finals: the settings of the best trials are trained with several further seeds. The settings with the highest mean of
   the objective win. The score of the best trial alone would be biased upwards, because that trial was also lucky.
3. Check: the winning settings and the agent's own settings are trained with fresh seeds. Only these scores are
   reported.

The objective is the number that a search maximises: the mean, the best or the last evaluation score of a run. The
agent's own settings are the resolved settings before the search changes any of them.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from rl_lab.errors import Fault
from rl_lab.experiment.config import replace_settings
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.sweep.grid import GridCell, grid_trials, run_grid
from rl_lab.sweep.search_request import SearchRequest
from rl_lab.sweep.search_tuner import make_search_tuner, search_trainable
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial_result import trial_result
from rl_lab.sweep.trial_spec import SEARCH_SEEDS
from rl_lab.sweep.tuner import restore_tuner, run_tuner

FIRST_FINAL_SEED = 2 * SEARCH_SEEDS
"""First seed of the finals. All seeds of trials and checks are smaller."""

Settings = dict[str, Any]
"""Setting -> value."""


def run_search(sweep: Sweep) -> Settings:
    """Run the trials and the finals, or continue an interrupted search.

    Returns:
        The winning settings that differ from the agent's own settings. Empty if the agent's own settings won.

    Raises:
        SweepStopped: A signal stopped the sweep.
        Fault: All trials failed, or a run of the finals failed.
    """
    request = SearchRequest.from_dict(sweep.request)
    tuner = restore_tuner(sweep, search_trainable(request)) or make_search_tuner(sweep)
    results = run_tuner(tuner, all_must_succeed=False)
    finalists = select_finalists((results[i] for i in range(len(results))), request.objective, request.finalists)
    if not finalists:
        raise Fault("no trial has a finite score")
    winner = finalists[0] if len(finalists) == 1 else run_finals(sweep, finalists)
    own_settings = request.trial["config"]
    return {name: value for name, value in winner.items() if value != own_settings[name]}


def select_finalists(results: Iterable[tune.Result], objective: str, count: int) -> list[Settings]:
    """Return the settings of the best trials, best first.

    Args:
        results: The results of the trials. A trial that failed, or whose objective is missing or not finite, is left
            out.
        objective: Name of the objective in `tune.Result.metrics`. Higher is better.
        count: Maximum number of settings. Trials with equal settings count once.
    """
    scored: list[tuple[float, tune.Result]] = []
    for result in results:
        score = (result.metrics or {}).get(objective, math.nan)
        if result.error is None and math.isfinite(score):
            scored.append((score, result))
    finalists: list[Settings] = []
    for _, result in sorted(scored, key=lambda pair: -pair[0]):
        settings = (result.config or {})["settings"]
        if settings not in finalists:
            finalists.append(settings)
    return finalists[:count]


def run_finals(sweep: Sweep, finalists: Sequence[Settings]) -> Settings:
    """Train each finalist with `final_seeds` further seeds. Return the settings with the highest mean objective."""
    request = SearchRequest.from_dict(sweep.request)
    seeds = range(FIRST_FINAL_SEED, FIRST_FINAL_SEED + request.final_seeds)
    cells = []
    for number, settings in enumerate(finalists, 1):
        config = replace_settings(request.config, settings, "the search")
        cells.append(GridCell(config, request.env_spec, f"finalist {number}"))
    finals = _run_grid_after(sweep, "finals", cells, seeds)
    scores = [trial_result(Run(Path(trial["path"])))[request.objective] for trial in finals.request["trials"]]
    # The trials are ordered by finalist: the first len(seeds) scores belong to the first finalist.
    means = [statistics.mean(scores[i * len(seeds) : (i + 1) * len(seeds)]) for i in range(len(finalists))]
    return finalists[means.index(max(means))]


def run_check(sweep: Sweep, settings: Settings) -> Sweep:
    """Train the agent's own settings and the winning settings with fresh seeds.

    Args:
        sweep: The search.
        settings: The result of `run_search`.

    Returns:
        The grid of these runs, which are all in the group of the grid.
    """
    request = SearchRequest.from_dict(sweep.request)
    winning_config = replace_settings(request.config, settings, "the search")
    cells = [GridCell(request.config, request.env_spec, "own"), GridCell(winning_config, request.env_spec, "found")]
    return _run_grid_after(sweep, "check", cells, parse_seeds(request.check_seeds))


def _run_grid_after(sweep: Sweep, name: str, cells: Sequence[GridCell], seeds: Sequence[int]) -> Sweep:
    """Run a grid that follows a search, or continue that grid.

    Args:
        sweep: The search.
        name: Suffix of the grid's group and of its folder.
        cells: The settings to train.
        seeds: The seeds for each cell.

    Returns:
        The grid.
    """
    grid = dataclasses.replace(
        sweep, kind="grid", started=f"{sweep.started}-{name}", group=f"{sweep.group}-{name}", request={}
    )
    # The group must be set before this line, because `grid_trials` reads it.
    grid = dataclasses.replace(grid, request={"trials": grid_trials(grid, cells, seeds)})
    if not grid.path.exists():
        grid.write()
    run_grid(grid)
    return grid
