"""The version of the package. Its only source is pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _read_version() -> str:
    """Return the version of the installed package, or, in a checkout that is not installed, of its pyproject.toml."""
    try:
        return version("rl-lab")
    except PackageNotFoundError:
        pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return tomllib.loads(pyproject.read_text())["project"]["version"]


__version__ = _read_version()
