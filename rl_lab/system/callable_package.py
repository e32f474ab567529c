"""Packages that can be called: `rl_lab.watch(run)` and `rl_lab.compare(runs)` have the names of packages."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package that is also a function. Importing one of its modules would otherwise hide the function."""

    _function_name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        """Return the signature of the function, which notebooks show."""
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., Any]:
        """Return the function. Its module is imported on first use."""
        module, _, name = self._function_name.partition(":")
        return getattr(importlib.import_module(module), name)


def make_callable(package: str, function: str) -> None:
    """Let a package that is being imported be called.

    Args:
        package: Name of the package.
        function: Module and name of the function: "rl_lab.api:watch".
    """
    module = sys.modules[package]
    module.__class__ = CallablePackage
    module.__dict__["_function_name"] = function
