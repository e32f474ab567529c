"""A search for good settings in three stages.

1. Trials: Optuna or a population tries settings, each with a single seed.
2. Finals: the best settings are trained with several further seeds, and the settings with the highest mean win. The
   score of the best of many trials is biased upwards, because that trial has also been lucky.
3. Check: the winning settings and the agent's own settings are trained with fresh seeds. Only these scores are
   reported.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

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
"""First seed of the finals. Trials and checks have smaller seeds."""

Settings = dict[str, Any]
"""Setting -> value."""


def run_search(sweep: Sweep) -> Settings:
    """Run the trials and the finals, or continue an interrupted search.

    Returns:
        The winning settings that differ from the agent's own, empty if the agent's own settings won.

    Raises:
        SweepStopped: A signal stopped the sweep.
        Fault: All trials failed, or a run of the finals failed.
    """
    request = SearchRequest.from_dict(sweep.request)
    tuner = restore_tuner(sweep, search_trainable(request)) or make_search_tuner(sweep)
    results = run_tuner(tuner, all_must_succeed=False)
    finalists = select_finalists((results[i] for i in range(len(results))), request.objective, request.finalists)
    winner = finalists[0] if len(finalists) == 1 else run_finals(sweep, finalists)
    own_settings = request.trial["config"]
    return {name: value for name, value in winner.items() if value != own_settings[name]}


def select_finalists(results: Iterable[tune.Result], objective: str, count: int) -> list[Settings]:
    """Return the different settings of the best trials that did not fail, best first, at most `count`."""
    finalists: list[Settings] = []
    for result in sorted(results, key=lambda each: -(each.metrics or {}).get(objective, -math.inf)):
        if result.error is not None or objective not in (result.metrics or {}):
            continue
        settings = (result.config or {})["settings"]
        if settings not in finalists:
            finalists.append(settings)
    return finalists[:count]


def run_finals(sweep: Sweep, finalists: Sequence[Settings]) -> Settings:
    """Train each finalist with further seeds. Return the settings with the highest mean of the objective."""
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

    Returns:
        The grid of these runs. Its group holds all of them.
    """
    request = SearchRequest.from_dict(sweep.request)
    found = replace_settings(request.config, settings, "the search")
    cells = [GridCell(request.config, request.env_spec, "own"), GridCell(found, request.env_spec, "found")]
    return _run_grid_after(sweep, "check", cells, parse_seeds(request.check_seeds))


def _run_grid_after(sweep: Sweep, name: str, cells: Sequence[GridCell], seeds: Sequence[int]) -> Sweep:
    """Run a grid that follows a search, or continue it. Its folder and its group have the suffix `name`."""
    grid = dataclasses.replace(
        sweep, kind="grid", started=f"{sweep.started}-{name}", group=f"{sweep.group}-{name}", request={}
    )
    grid = dataclasses.replace(grid, request={"trials": grid_trials(grid, cells, seeds)})
    if not grid.path.exists():
        grid.write()
    run_grid(grid)
    return grid
