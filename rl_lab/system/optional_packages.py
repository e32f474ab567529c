"""Packages that the lab uses but does not require."""

from __future__ import annotations

import importlib
from typing import Any

from rl_lab.errors import LabError


def import_optional(module: str, purpose: str, *, extra: str) -> Any:
    """Return a module of a package that may be missing.

    Args:
        module: The module.
        purpose: What needs it, as the beginning of the message: "`export --onnx`".
        extra: The extra of this project that installs it.

    Raises:
        LabError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise LabError(
            f"{purpose} needs the package {package}, which cannot be imported ({error});"
            f" install it with: pip install 'rl-lab[{extra}]'"
        ) from error
