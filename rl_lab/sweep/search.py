"""A search for good settings: Optuna proposes (Akiba et al. 2019), or a population passes them on; and then an honest check.

What a search finds best is best by luck too, so its score there says little: the best trials are trained with more seeds before one
is chosen, and its settings anew with fresh seeds, beside the agent's own, and that is what is printed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Integer

from envs.spec import EnvSpec
from rl_lab.experiment import config as configuration
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.experiment.seed_group import parse_seeds
from rl_lab.sweep.grid import Cell, grid, trials
from rl_lab.sweep.space import read_space
from rl_lab.sweep.sweep import Sweep, carry_out
from rl_lab.sweep.trial import SEARCH_SEEDS, result_of, train_member, train_trial

ASHA_LOOKS = 9  # a trial is first judged after this part of its steps, then after three times as many, and so on
FINAL_SEEDS = 2 * SEARCH_SEEDS  # seeds from here on are the finalists'; no trial has them
POPULATION_PARTS = 8  # a population's runs are trained in so many parts; after each, one may take over another


def search(sweep: Sweep) -> dict[str, Any]:
    """Carry the search out, or go on with it; the best trial's settings, none if they are the agent's own.

    Raises Stopped and Fault.
    """
    asked = sweep.asked
    tuner = sweep.restored(_trainable(asked)) or _tuner(sweep)
    results = carry_out(tuner, all_of_them=False)
    best = finalists(
        [results[i] for i in range(len(results))], asked["objective"], asked.get("finalists", 1)
    )  # searches before had none
    settings = best[0] if len(best) == 1 else _winner(sweep, best)
    own = asked["trial"]["config"]
    return {key: value for key, value in settings.items() if value != own[key]}


def finalists(results: Sequence[tune.Result], objective: str, count: int) -> list[dict[str, Any]]:
    """The settings of the best trials, the best first, each once."""
    found: list[dict[str, Any]] = []
    for result in sorted(results, key=lambda x: -(x.metrics or {}).get(objective, -math.inf)):
        whole = result.error is None and objective in (result.metrics or {})
        if whole and (settings := (result.config or {})["settings"]) not in found:
            found.append(settings)
    return found[:count]


def _winner(sweep: Sweep, best: list[dict[str, Any]]) -> dict[str, Any]:
    """The finalist with the largest mean over more seeds of the search's own: a trial's one seed may have been lucky."""
    own, seeds = _own(sweep), range(FINAL_SEEDS, FINAL_SEEDS + sweep.asked["final_seeds"])
    configs = [configuration.replaced(own, settings, "the search") for settings in best]
    cells = [Cell(config, _card(sweep), f"finalist {i + 1}") for i, config in enumerate(configs)]
    trained = _trained(sweep, "finals", cells, seeds).asked["trials"]
    scores = [result_of(Run(Path(trial["path"])))[sweep.asked["objective"]] for trial in trained]
    means = [statistics.mean(scores[i * len(seeds) : (i + 1) * len(seeds)]) for i in range(len(best))]
    return best[means.index(max(means))]


def check(sweep: Sweep, settings: dict[str, Any]) -> Sweep:
    """Train the agent's own settings and the best ones with fresh seeds, as a grid; its group holds both."""
    own = _own(sweep)
    found = configuration.replaced(own, settings, "the search")
    cells = [Cell(own, _card(sweep), "own"), Cell(found, _card(sweep), "found")]
    return _trained(sweep, "check", cells, parse_seeds(sweep.asked["check_seeds"]))


def _trained(sweep: Sweep, name: str, cells: Sequence[Cell], seeds: Sequence[int]) -> Sweep:
    """Train each cell with each seed, as a grid whose group is the search's and `name`; it holds the trials, cell after cell."""
    second = dataclasses.replace(sweep, kind="grid", began=f"{sweep.began}-{name}", group=f"{sweep.group}-{name}")
    second = dataclasses.replace(second, asked={"trials": trials(second, cells, seeds)})
    if not second.path.exists():
        second.write()
    grid(second, second.asked["trials"])
    return second


def _own(sweep: Sweep) -> Config:
    return configuration.from_dict(sweep.asked["trial"]["config"], "the search")


def _card(sweep: Sweep) -> EnvSpec:
    return EnvSpec.from_dict(sweep.asked["trial"]["card"])


def _trainable(asked: dict[str, Any]) -> Any:
    return train_member if asked["scheduler"] == "pbt" else train_trial


def inside(space: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The trial with each setting brought back between its ends: population-based training multiplies numbers by .8 or 1.2."""
    settings = dict(params["settings"])
    for key, domain in space.items():
        if not isinstance(domain, Categorical):
            settings[key] = min(max(settings[key], domain.lower), domain.upper)
            if isinstance(domain, Integer):
                settings[key] = min(round(settings[key]), domain.upper - 1)
    return params | {"settings": settings}


def _tuner(sweep: Sweep) -> tune.Tuner:
    asked = sweep.asked
    base = configuration.from_dict(asked["trial"]["config"], "the search")
    pbt = asked["scheduler"] == "pbt"
    space = read_space(base, asked["space"], on_the_way=pbt)
    own = {f"settings/{key}": base.to_dict()[key] for key in space}
    allowed = all(domain.is_valid(own[f"settings/{key}"]) for key, domain in space.items())
    steps = base.run.steps
    options: dict[str, Any] = {"num_samples": asked["trials"]}
    goal = {"metric": asked["objective"], "mode": "max"}
    trial = asked["trial"]
    if pbt:
        part = max(base.run.eval_every, steps // POPULATION_PARTS)
        trial = trial | {"part": part}
        random.seed(asked["search_seed"])  # what its changes are drawn from
        options["search_alg"] = BasicVariantGenerator(random_state=asked["search_seed"])
        options["scheduler"] = PopulationBasedTraining(
            time_attr="steps",
            perturbation_interval=part // 2,  # reports are a part apart, less what the one before had too much
            hyperparam_mutations={
                "settings": {k: x.categories if isinstance(x, Categorical) else x for k, x in space.items()}
            },
            custom_explore_fn=functools.partial(inside, space),
            **goal,
        )
    else:
        options["search_alg"] = OptunaSearch(
            points_to_evaluate=[own] if allowed else None, seed=asked["search_seed"], **goal
        )
        options["scheduler"] = FIFOScheduler()
        if asked["scheduler"] == "asha":
            grace = max(base.run.eval_every, steps // ASHA_LOOKS)
            options["scheduler"] = ASHAScheduler(
                time_attr="steps", max_t=steps, grace_period=grace, reduction_factor=3, **goal
            )
    return sweep.tuner(_trainable(asked), {"trial": trial, "settings": space}, **options)
