"""Suites, result files and published scores with chosen numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rl_lab.suite.result_file import FinalScores, SuiteResult, result_path

SUITE = """\
title: Toy
envs: [Pong, Breakout]
agents:
  ours: {agent: dqn}
  other: {agent: dqn, settings: {lr: 1e-3}}
steps: 1000
seeds: 1..2
evaluation: {when: end, games: 2, epsilon: 0, cut: 100}
"""
MakeSuite = Callable[..., Path]
AddResult = Callable[..., Path]


@pytest.fixture
def make_suite(tmp_path: Path) -> MakeSuite:
    """Return a function that writes toy.yaml with further lines, and with some texts replaced."""

    def make(extra: str = "", **replaced: str) -> Path:
        text = SUITE + extra
        for old, new in replaced.items():
            text = text.replace(old, new)
        path = tmp_path / "toy.yaml"
        path.write_text(text)
        return path

    return make


@pytest.fixture
def add_result(tmp_path: Path) -> AddResult:
    """Return a function that writes a result file of the suite toy, whose two games have the scores mean -+ 1."""

    def add(
        agent: str, env: str, seed: int, mean: float, *, curve: Sequence[Sequence[float]] = (), **changed: Any
    ) -> Path:
        path = result_path(tmp_path / "results", "toy", agent, env, seed)
        values: dict[str, Any] = {
            "agent": agent,
            "env": env,
            "seed": seed,
            "steps": 1000,
            "settings": {"lr": 1e-4},
            "commit": "0123456789",
            "machine": "2 cores",
            "minutes": 1.5,
            "curve": [list(point) for point in curve],
            "final": FinalScores(mean, 1.0, [mean - 1, mean + 1]),
            **changed,
        }
        SuiteResult(**values).write(path)
        return path

    return add
