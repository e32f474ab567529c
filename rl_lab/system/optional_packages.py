"""Packages that the lab uses but does not require, and the extras of this project that install them.

Whatever needs such a package calls `import_optional` or `require_packages`. So a missing package is one line that names
the extra, and exit code 2. `envs/optional_packages.py` does the same for the packages of environments.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from envs.optional_packages import install_command
from rl_lab.errors import LabError

EXTRAS = {
    "h5py": "minari",
    "huggingface_hub": "hub",
    "ipykernel": "notebook",
    "matplotlib": "plots",
    "minari": "minari",
    "nbclient": "notebook",
    "nbformat": "notebook",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "optuna": "ray",
    "pandas": "plots",
    "ray": "ray",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
}
"""Extra by the package that it installs."""

RAY_PACKAGES = ("ray", "optuna")
"""What sweeps and collectors need."""


def import_optional(module: str, purpose: str) -> Any:
    """Return a module of a package that may be missing.

    Args:
        module: The module. Its package is a key of `EXTRAS`.
        purpose: What needs it, as the beginning of the message: "`export --onnx`".

    Raises:
        LabError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise LabError(
            f"{purpose} needs the package {package}, which cannot be imported ({error});"
            f" install it with: {install_command(EXTRAS[package])}"
        ) from error


def require_packages(packages: tuple[str, ...], purpose: str) -> None:
    """Check that packages are installed, without importing them, which may take seconds.

    Args:
        packages: Packages of one extra, keys of `EXTRAS`.
        purpose: What needs them, as the beginning of the message: "`sweep`".

    Raises:
        LabError: A package is not installed.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        noun = "package" if len(missing) == 1 else "packages"
        raise LabError(
            f"{purpose} needs the {noun} {' and '.join(missing)}; install with: {install_command(EXTRAS[missing[0]])}"
        )
