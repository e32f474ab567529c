"""Fixtures of the viewer's tests."""

import pytest

from rl_lab.experiment.run import Run


@pytest.fixture(scope="session")
def demo() -> Run:
    """Return the run of the agent that is part of the package."""
    return Run.find("demo")
