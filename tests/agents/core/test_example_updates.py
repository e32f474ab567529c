"""Tests of the random data on which an update is timed."""

from __future__ import annotations

import torch

from agents.core.example_updates import random_observations
from agents.core.types import EnvSpaces

CPU = torch.device("cpu")


def test_random_images_are_grey_levels():
    obs = random_observations(EnvSpaces((8, 9), torch.uint8, 4, 2), (5, 3), CPU)
    assert obs.shape == (5, 3, 8, 9)
    assert obs.dtype == torch.uint8
    assert obs.min() < 10
    assert obs.max() > 245


def test_random_vectors_are_normally_distributed():
    obs = random_observations(EnvSpaces((100,), torch.float32, 4, 2), (50, 1), CPU)
    assert obs.shape == (50, 1, 100)
    assert obs.dtype == torch.float32
    assert abs(float(obs.mean())) < 0.1
    assert 0.9 < float(obs.std()) < 1.1
