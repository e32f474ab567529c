"""Tests of the free memory within the limit of a container."""

from pathlib import Path

import pytest
import torch

from rl_lab.errors import LabError
from rl_lab.system import container
from rl_lab.system.memory_budget import RESERVE, check_memory, free_memory

CPU = torch.device("cpu")


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a container that uses 700 bytes, 300 of them for the file cache."""
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 300\n")
    monkeypatch.setattr(container, "CGROUP", tmp_path)
    return tmp_path


def test_free_memory_counts_the_file_cache_of_a_container_as_free(cgroup: Path):
    (cgroup / "memory.max").write_text("1000\n")
    assert free_memory(CPU) == 600


def test_free_memory_ignores_a_container_without_a_limit(cgroup: Path):
    (cgroup / "memory.max").write_text("max\n")
    assert free_memory(CPU) > 10**6


def test_check_memory_raises_if_the_reserve_would_not_remain_free(cgroup: Path):
    (cgroup / "memory.max").write_text(f"{RESERVE + 1400}\n")
    check_memory(1000, CPU)
    with pytest.raises(LabError, match=r"the replay needs 0.00 GB and cpu has 0.54 GB free; lower replay_size"):
        check_memory(1001, CPU)
