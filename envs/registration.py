"""Gymnasium ids: finding, importing and listing environments, and registering environments that are given as objects.

An id may name a module that registers the environment: `mymodule:MyEnv-v0`. The module registers it on import, or by a
function `register_envs()` of the module or of one of its submodules `gym`, `gymnasium` and `envs`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec
from gymnasium.envs.registration import load_env_creator

import envs.textbook  # registers its environments
import envs.worlds  # noqa: F401  # registers its environments
from envs.errors import EnvError
from envs.guard import describe
from envs.optional_packages import install_advice

PYTHON_NAMESPACE = "python"
"""Namespace of the ids of environments that were given as Python objects: python/MyEnv-v0."""

REGISTERING_SUBMODULES = ("", ".gym", ".gymnasium", ".envs")
"""Where a package may have its function `register_envs`."""


def find_gymnasium_spec(env_id: str) -> GymnasiumSpec:
    """Return Gymnasium's spec of an id. For an id of the form `module:id`, import the module first.

    Raises:
        EnvError: The id is malformed or not registered, or the module cannot be imported.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        if not name or not _is_module_name(module):
            raise EnvError(f"{env_id!r} is not the id of an environment; write Name-v0 or module:Name-v0")
        _import_module(env_id, module)
        if name not in gymnasium.registry:
            _call_register_functions(env_id, module)
    try:
        spec = gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        if name.startswith(f"{PYTHON_NAMESPACE}/"):
            raise EnvError(
                f"{name} was given as a Python object, so it can be made in Python only: pass the object again to"
                " rl_lab.resume, evaluate or show, as env=..."
            ) from error
        registered = _ids_of_module(module) if module else []
        advice = f"; {module} registers {_some(registered)}" if registered else ""
        raise EnvError(f"the environment {env_id} is not registered: {one_line(error)}{advice}") from error
    return _with_main_entry_point(spec)


def module_ids(module: str) -> list[str]:
    """Return the ids that a module registers, for use as `module:id`.

    Raises:
        EnvError: The module does not exist or cannot be imported.
    """
    if not _is_module_name(module):
        raise EnvError(f"{module!r} is not the name of a module")
    _import_module(module, module)
    if not _ids_of_module(module):
        _call_register_functions(module, module)
    return _ids_of_module(module)


def register_object(env: Any) -> str:
    """Register an environment that is given as a Python object, and return its id.

    The id depends only on the name of the object, so that a run can be resumed with the same object in another process.

    Args:
        env: A callable that makes an environment (a class or a function), or an environment. An environment that
            Gymnasium has made is made again from its spec. Any other one is copied, before it is used, and so is one
            with a wrapper that does not record its arguments (`gymnasium.utils.RecordConstructorArgs`).

    Raises:
        EnvError: The environment cannot be copied, or the object is neither callable nor an environment.
    """
    if isinstance(env, gymnasium.Env):
        name = type(env.unwrapped).__name__
        maker = _maker_of_instance(env, name)
    elif callable(env):
        name = getattr(env, "__name__", type(env).__name__)
        maker = env
    else:
        raise EnvError(f"env is a {type(env).__name__}; it must be an id, an EnvSpec, an environment or a callable")
    name = re.sub(r"\W+", "_", name).strip("_") or "Env"  # the name of a lambda is <lambda>
    env_id = f"{PYTHON_NAMESPACE}/{name}-v0"
    gymnasium.registry.pop(env_id, None)  # another object of this name, which Gymnasium would warn of
    gymnasium.register(env_id, entry_point=cast(Any, maker))
    return env_id


def _maker_of_instance(env: gymnasium.Env, name: str) -> Callable[..., gymnasium.Env]:
    """Return a function that makes further environments like this one. Raises EnvError if there is none."""
    spec = env.spec
    if spec is not None and spec.entry_point is not None and _has_all_arguments(spec):
        return partial(_make_again, spec)
    try:
        original = copy.deepcopy(env)  # the environment itself may be used, and changed, by the caller
    except Exception as error:  # the attributes of an environment may raise any exception
        raise EnvError(
            f"the environment {name} cannot be copied ({describe(error)}); pass a function that makes it, as in"
            f" env=lambda: {name}()"
        ) from error
    return partial(_copy, original)


def _has_all_arguments(spec: GymnasiumSpec) -> bool:
    """Return True if a spec has the arguments of all wrappers. Only some classes of wrappers record theirs."""
    return all(wrapper.kwargs is not None for wrapper in spec.additional_wrappers)


def _make_again(spec: GymnasiumSpec, **kwargs: Any) -> gymnasium.Env:
    """Return a new environment of a spec, with its wrappers."""
    return gymnasium.make(spec, disable_env_checker=True, **kwargs)


def _copy(env: gymnasium.Env, render_mode: str | None = None) -> gymnasium.Env:
    """Return a copy of an environment. The copy keeps the render mode of the environment."""
    if render_mode is not None and env.render_mode != render_mode:
        raise EnvError(
            f"this environment was made with render_mode {env.render_mode!r}; it cannot be changed afterwards"
        )
    return copy.deepcopy(env)


def _is_module_name(text: str) -> bool:
    """Return True if a text has the form package.module."""
    return all(part.isidentifier() for part in text.split("."))


def _import_module(env_id: str, module: str) -> None:
    """Import a module that registers environments. Raises EnvError whatever the module raises."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise EnvError(
                f"{env_id}: the module {module} cannot be imported: {describe(error)}{install_advice(error)}"
            ) from error
        raise EnvError(
            f"{env_id}: there is no module {module} in the current folder or among the installed packages"
            f"{install_advice(error)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise EnvError(f"{env_id}: the module {module} cannot be imported: {describe(error)}") from error


def _call_register_functions(env_id: str, module: str) -> None:
    """Call the functions `register_envs` of a module and of its submodules. Raises EnvError whatever they raise."""
    for suffix in REGISTERING_SUBMODULES:
        name = f"{module}{suffix}"
        try:
            with contextlib.suppress(ModuleNotFoundError):
                if importlib.util.find_spec(name) is None:
                    continue
            register_envs = getattr(importlib.import_module(name), "register_envs", None)
            if callable(register_envs):
                register_envs()
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                continue
            raise EnvError(f"{env_id}: {name} cannot register its environments: {describe(error)}") from error


def _ids_of_module(module: str) -> list[str]:
    """Return the ids whose environments are defined in a module or below it."""
    ids = []
    for env_id, spec in gymnasium.registry.items():
        entry_point = spec.entry_point
        place = (
            entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
        )
        if f"{place}.".startswith(f"{module}."):
            ids.append(env_id)
    return sorted(ids)


def _some(names: list[str], most: int = 10) -> str:
    """Return the first names, and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _with_main_entry_point(spec: GymnasiumSpec) -> GymnasiumSpec:
    """Return the spec with the object itself if the entry point is the name of an object in the main script.

    A worker process has another main module, so it could not find the name.
    """
    entry_point = spec.entry_point
    if isinstance(entry_point, str) and entry_point.startswith("__main__:"):
        return replace(spec, entry_point=load_env_creator(entry_point))
    return spec


def one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())
