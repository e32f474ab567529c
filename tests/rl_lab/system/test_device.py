"""What the machine is said to have."""

import os

import pytest

from rl_lab.system import device


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 3), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 3), (None, 3)]
)
def test_cores_within_the_share_of_a_container(limit, cores, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4}, raising=False)
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    if limit:
        (tmp_path / "cpu.max").write_text(limit + "\n")
    assert device.num_cores() == cores
