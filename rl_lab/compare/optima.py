"""Optimal scores of environments that can compute them, such as those of `envs.worlds`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import cache

from gymnasium.envs.registration import load_env_creator

from envs.errors import EnvError, EnvFault
from envs.gymnasium_envs import recipe_of
from envs.spec import EnvSpec


@cache
def known_optimum(env_spec: EnvSpec) -> float | None:
    """Return the expected score of an optimal policy, or None if it is not known.

    The class of an environment may have a method `optimum()`, which returns a number or None. Environments without this
    method are not made. A wrapper may change rewards and episodes, so the optimum of a wrapped environment is unknown.
    """
    if env_spec.backend == "ale" or env_spec.options.wrappers:
        return None
    try:
        recipe = recipe_of(env_spec)
        entry_point = recipe.gymnasium_spec.entry_point
        creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
        if not hasattr(creator, "optimum"):
            return None
        with closing(recipe.make_guarded()) as env:
            method: Callable[[], float | None] = env.get_wrapper_attr("optimum")
            optimum = method()
    except (EnvError, EnvFault, ImportError, AttributeError):  # the environment cannot be made on this machine
        return None
    return None if optimum is None else float(optimum)
