"""Tests of the number of cores that a process may use."""

import os
from pathlib import Path

import pytest

from rl_lab.system import container
from rl_lab.system.cores import num_cores


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", 3), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 3), (None, 3)],
)
def test_num_cores_is_the_minimum_of_affinity_and_container_limit(
    cpu_max: str | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4}, raising=False)
    monkeypatch.setattr(container, "CGROUP", tmp_path)
    if cpu_max is not None:
        (tmp_path / "cpu.max").write_text(cpu_max + "\n")
    assert num_cores() == expected
