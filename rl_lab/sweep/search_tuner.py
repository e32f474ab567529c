"""The search algorithms: random or Bayesian search with Optuna, early stopping with ASHA, population-based training."""

from __future__ import annotations

import functools
import random
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from rl_lab.sweep.population import train_member
from rl_lab.sweep.search_request import SearchRequest
from rl_lab.sweep.space import read_space
from rl_lab.sweep.sweep import Sweep
from rl_lab.sweep.trial import train_trial
from rl_lab.sweep.tuner import Trainable, new_tuner

ASHA_PARTS = 9  # ASHA first compares trials after 1/9 of their steps, then after 3/9
ASHA_REDUCTION = 3  # at each comparison, the best third of the trials continues
POPULATION_PARTS = 8  # members of a population are compared after each eighth of their steps


def search_trainable(request: SearchRequest) -> Trainable:
    """Return the function that trains a trial of the search."""
    return train_member if request.scheduler == "pbt" else train_trial


def make_search_tuner(sweep: Sweep) -> tune.Tuner:
    """Return the tuner of a new search."""
    request = SearchRequest.from_dict(sweep.request)
    space = read_space(request.config, request.space, only_changeable=request.scheduler == "pbt")
    trial = request.trial
    if request.scheduler == "pbt":
        part = _steps_per_part(request, POPULATION_PARTS)
        trial = {**trial, "part": part}
        tune_config = _population_config(request, space, part)
    else:
        tune_config = _optuna_config(request, space)
    return new_tuner(sweep, search_trainable(request), {"trial": trial, "settings": space}, tune_config)


def clip_to_space(space: dict[str, Domain], params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial with all settings inside their domains.

    Population-based training multiplies numbers by 0.8 or 1.2, which may leave the domain or give a fraction.
    """
    settings = dict(params["settings"])
    for name, domain in space.items():
        if not isinstance(domain, Float | Integer):
            continue
        settings[name] = min(max(settings[name], domain.lower), domain.upper)
        if isinstance(domain, Integer):
            settings[name] = min(round(settings[name]), domain.upper - 1)  # the upper end is exclusive
    return params | {"settings": settings}


def _steps_per_part(request: SearchRequest, num_parts: int) -> int:
    """Return the agent steps of a part of a run: at least one evaluation interval."""
    run = request.config.run
    return max(run.eval_every, run.steps // num_parts)


def _population_config(request: SearchRequest, space: dict[str, Domain], part: int) -> tune.TuneConfig:
    """Return population-based training: bad members copy good ones and change settings (Jaderberg et al. 2017)."""
    random.seed(request.search_seed)  # PopulationBasedTraining draws from Python's global generator
    mutations = {name: _mutation(domain) for name, domain in space.items()}
    return tune.TuneConfig(
        num_samples=request.trials,
        search_alg=BasicVariantGenerator(random_state=request.search_seed),
        scheduler=PopulationBasedTraining(
            time_attr="steps",
            # A part may end a few steps late, so that two reports can be less than a part apart.
            perturbation_interval=part // 2,
            hyperparam_mutations={"settings": mutations},
            custom_explore_fn=functools.partial(clip_to_space, space),
            metric=request.objective,
            mode="max",
        ),
    )


def _mutation(domain: Domain) -> Any:
    """Return a domain as population-based training expects it: categories as a list."""
    return domain.categories if isinstance(domain, Categorical) else domain


def _optuna_config(request: SearchRequest, space: dict[str, Domain]) -> tune.TuneConfig:
    """Return a search with Optuna (Akiba et al. 2019).

    The first trial has the agent's own settings if the space contains them.
    """
    own_settings = request.config.to_dict()
    first_trial = {f"settings/{name}": own_settings[name] for name in space}
    is_inside = all(domain.is_valid(own_settings[name]) for name, domain in space.items())
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce the study above the table
    search = OptunaSearch(
        points_to_evaluate=[first_trial] if is_inside else None,
        seed=request.search_seed,
        metric=request.objective,
        mode="max",
    )
    return tune.TuneConfig(num_samples=request.trials, search_alg=search, scheduler=_scheduler(request))


def _scheduler(request: SearchRequest) -> TrialScheduler:
    """Return ASHA, which stops bad trials early (Li et al. 2020), or a scheduler that runs all trials to their end."""
    if request.scheduler != "asha":
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="steps",
        max_t=request.config.run.steps,
        grace_period=_steps_per_part(request, ASHA_PARTS),
        reduction_factor=ASHA_REDUCTION,
        metric=request.objective,
        mode="max",
    )
