"""Fixtures of the viewer's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from virtual_display import virtual_display

from rl_lab.experiment.run import Run


@pytest.fixture(scope="session")
def demo() -> Run:
    """Return the run of the agent that is part of the package."""
    return Run.find("demo")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Start a virtual display. Yields its name, and a function that returns its pixels u8[H, W, 3]."""
    with virtual_display(tmp_path) as display:
        yield display
