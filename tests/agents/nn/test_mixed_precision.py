"""Tests of parameters that are cast to the dtype of the input."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from agents.configs.shared import OptimizerConfig, OptimizerName
from agents.core.optimizers import build_optimizer
from agents.nn.mixed_precision import cast_parameter


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_cast_parameter_follows_every_change(name: OptimizerName):
    """Changes are optimiser steps, Polyak steps and loading a state."""
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    config = OptimizerConfig(optimizer=name, lr=0.1, optimizer_eps=1e-3)
    optimizer = build_optimizer(config, layer.parameters())

    def optimizer_step() -> None:
        layer.weight.grad = torch.ones(2, 3)
        optimizer.step()

    def polyak_step() -> None:
        with torch.no_grad():
            torch._foreach_lerp_([layer.weight], [other.weight], 0.3)

    def load_state() -> None:
        layer.load_state_dict(other.state_dict())

    copy = cast_parameter(layer.weight, torch.bfloat16)
    for change in (optimizer_step, optimizer_step, polyak_step, load_state, optimizer_step):
        previous = copy
        change()
        copy = cast_parameter(layer.weight, torch.bfloat16)
        assert torch.equal(copy, layer.weight.to(torch.bfloat16))
        assert not torch.equal(copy, previous)


def test_gradient_of_cast_parameter_has_the_dtype_of_the_parameter():
    weight = nn.Parameter(torch.randn(3))
    factor = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    for _ in range(2):  # the second cast uses the cached copy
        (cast_parameter(weight, torch.bfloat16) * factor).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, 4.0, 6.0]
    assert weight.grad.dtype == torch.float32
