"""Tests of the free memory within the limit of a container."""

from pathlib import Path

import pytest
import torch

from agents.core.memory_needs import MemoryNeed
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
    replay = MemoryNeed("the replay", 900, "lower replay_size")
    check_memory([replay, MemoryNeed("a batch", 100, "lower batch_size")], CPU)
    with pytest.raises(LabError) as error:
        check_memory([MemoryNeed("a batch", 101, "lower batch_size"), replay], CPU)
    assert str(error.value) == (
        "the replay needs 0.00 GB (900 bytes), everything together 0.00 GB (1,001 bytes), and cpu has 0.54 GB free,"
        " of which 0.54 GB are kept in reserve; lower replay_size"
    )


def test_check_memory_names_a_single_part_and_no_reserve(cgroup: Path):
    (cgroup / "memory.max").write_text("1000\n")
    with pytest.raises(LabError) as error:
        check_memory([MemoryNeed("the network", 10**10, "lower hidden")], CPU, reserve=0)
    assert str(error.value) == (
        "the network needs 10.00 GB (10,000,000,000 bytes) and cpu has 0.00 GB free; lower hidden"
    )


def test_check_memory_shows_any_size_in_a_short_line():
    with pytest.raises(LabError, match="needs more than 1,000,000,000 GB and cpu has") as error:
        check_memory([MemoryNeed("the network", 10**1000, "lower hidden")], CPU)
    assert len(str(error.value)) < 200
