"""Packages that only some worlds need. They are not among the lab's dependencies, but among its extras."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium

from envs.errors import EnvError
from envs.optional_packages import install_command


def import_extra(module: str, env_name: str, extra: str) -> Any:
    """Return a module that an environment needs.

    Args:
        module: Name of the module.
        env_name: The environment, for the message.
        extra: Name of the lab's extra that installs the package.

    Raises:
        EnvError: The module cannot be imported. The message names the extra.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        reason = " ".join(str(error).split())
        raise EnvError(
            f"{env_name} needs the package {module.partition('.')[0]}: {install_command(extra)} ({reason})"
        ) from error
