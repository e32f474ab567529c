"""Tests of the optimisers."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from agents.configs.shared import OptimizerConfig, OptimizerName
from agents.core.centered_rmsprop import CenteredRMSProp
from agents.core.optimizers import (
    build_optimizer,
    clipped_gradient_step,
    load_optimizer_state,
    reset_optimizer_state,
    set_learning_rate,
)
from agents.core.settings import ConfigError


def test_centered_rmsprop_follows_its_equations():
    rng = np.random.default_rng(0)
    weight = torch.nn.Parameter(torch.from_numpy(rng.normal(size=5)))
    optimizer = CenteredRMSProp([weight], lr=0.1, alpha=0.95, eps=0.01)
    w = weight.detach().numpy().copy()
    n = np.zeros(5)
    m = np.zeros(5)
    for _ in range(20):
        g = rng.normal(size=5)
        weight.grad = torch.from_numpy(g)
        optimizer.step()
        n = 0.95 * n + 0.05 * g**2
        m = 0.95 * m + 0.05 * g
        w -= 0.1 * g / np.sqrt(n - m**2 + 0.01)
        assert np.allclose(weight.detach().numpy(), w)


@pytest.mark.parametrize("g", [1.0, 10.0, 1000.0])
def test_centered_rmsprop_takes_finite_steps_along_a_constant_gradient(g: float):
    # n - m^2 approaches 0, and float32 may round it to a negative number of any size below the spacing of n.
    gradient = g * torch.linspace(0.9, 1.1, 64)
    weight = torch.nn.Parameter(torch.zeros(64))
    optimizer = CenteredRMSProp([weight], lr=1e-3, eps=1e-5)
    longest_step = 1e-3 * gradient / 1e-5**0.5
    for _ in range(400):
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimizer.step()
        step = before - weight.detach()
        assert bool(((step > 0) & (step <= 1.01 * longest_step)).all())


@pytest.mark.parametrize(("name", "torch_class"), [("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop)])
def test_optimizer_takes_the_steps_of_torch(name: OptimizerName, torch_class: Callable[..., torch.optim.Optimizer]):
    config = OptimizerConfig(optimizer=name, lr=1e-2, optimizer_eps=1e-4)
    ours = train_quadratic(lambda params: build_optimizer(config, params))
    theirs = train_quadratic(lambda params: torch_class(params, lr=1e-2, eps=1e-4))
    torch.testing.assert_close(ours, theirs)


def test_weight_decay_is_that_of_adamw_and_leaves_vectors_alone():
    """Loshchilov and Hutter 2019, algorithm 2, with the learning rate as its schedule. The rate changes once."""
    rng = np.random.default_rng(0)
    vector = torch.nn.Parameter(torch.from_numpy(rng.normal(size=4)))
    matrix = torch.nn.Parameter(torch.from_numpy(rng.normal(size=(3, 4))))
    config = OptimizerConfig(lr=0.1, optimizer_eps=1e-4, weight_decay=0.5)
    optimizer = build_optimizer(config, [vector, matrix])
    weights = [vector.detach().numpy().copy(), matrix.detach().numpy().copy()]
    means = [np.zeros(4), np.zeros((3, 4))]
    squares = [np.zeros(4), np.zeros((3, 4))]
    for t in range(1, 21):
        lr = 0.1 if t <= 10 else 0.03
        set_learning_rate(optimizer, lr)
        for i, param in enumerate((vector, matrix)):
            gradient = rng.normal(size=param.shape)
            param.grad = torch.from_numpy(gradient)
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient**2
            decayed = weights[i] * (1 - lr * 0.5) if i == 1 else weights[i]
            root = np.sqrt(squares[i] / (1 - 0.999**t)) + 1e-4
            weights[i] = decayed - lr * means[i] / (1 - 0.9**t) / root
        optimizer.step()
        np.testing.assert_allclose(vector.detach().numpy(), weights[0], rtol=1e-6)
        np.testing.assert_allclose(matrix.detach().numpy(), weights[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "radam"])
def test_weights_without_gradient_decay_by_lr_times_weight_decay(name: OptimizerName):
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = build_optimizer(OptimizerConfig(lr=0.1, weight_decay=0.5, optimizer=name), [matrix])
    for _ in range(3):
        matrix.grad = torch.zeros(2, 2)
        optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.95**3))


@pytest.mark.parametrize("name", ["rmsprop", "centered_rmsprop"])
def test_optimizer_without_weight_decay_refuses_it(name: OptimizerName):
    weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ConfigError, match=f"weight_decay is 0.1 and optimizer is {name}; it must be adam or radam"):
        build_optimizer(OptimizerConfig(optimizer=name, weight_decay=0.1), [weight])


def test_state_of_decaying_and_other_parameters_is_restored_to_its_own_parameter():
    """The optimiser groups its parameters, so its order is not that of the network."""

    def step(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter], number: int) -> None:
        for i, param in enumerate(params):
            param.grad = torch.full_like(param, i + number)
        optimizer.step()

    config = OptimizerConfig(lr=0.1, weight_decay=0.5)
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2,), (2, 2), (2,), (3, 2))]
    optimizer = build_optimizer(config, params)
    step(optimizer, params, 1)
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    other = build_optimizer(config, others)
    load_optimizer_state(other, copy.deepcopy(optimizer.state_dict()["state"]))
    step(optimizer, params, 5)
    step(other, others, 5)
    for param, other_param in zip(params, others, strict=True):
        assert torch.equal(param, other_param)


def test_reset_of_the_state_of_a_parameter_that_made_no_step_does_nothing():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(OptimizerConfig(), [weight])
    reset_optimizer_state(optimizer, [weight])
    assert optimizer.state_dict()["state"] == {}


def train_quadratic(build: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> torch.Tensor:
    """Return a parameter after ten steps on quadratic losses."""
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    optimizer = build([weight])
    for k in range(10):
        optimizer.zero_grad()
        (weight * k - 0.1).square().sum().backward()
        optimizer.step()
    return weight.detach()


def test_capturable_optimizer_other_than_adam_raises():
    weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ConfigError, match="cuda_graphs is true and optimizer is rmsprop; it must be adam"):
        build_optimizer(OptimizerConfig(optimizer="rmsprop"), [weight], capturable=True)


def test_learning_rate_in_tensor_changes_in_place():
    weight = torch.nn.Parameter(torch.zeros(1))
    lr = torch.tensor(0.5)
    optimizer = build_optimizer(OptimizerConfig(lr=0.5), [weight])
    optimizer.param_groups[0]["lr"] = lr
    set_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == 0.25


@pytest.mark.parametrize(("clip", "expected"), [(0, [30.0, 40.0]), (5.0, [3.0, 4.0]), (60.0, [30.0, 40.0])])
def test_gradient_longer_than_clip_is_scaled_to_it(clip: float, expected: list[float]):
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    loss = (weights[0] * 30 + weights[1] * 40).sum()
    norm = clipped_gradient_step(torch.optim.SGD(weights, lr=1.0), loss, grad_clip=clip)
    assert norm == 50
    step = torch.cat([-weight.detach() for weight in weights])
    torch.testing.assert_close(step, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_gradient_step_does_not_import_torch_compiler(name: str):
    """The import would double the time that a command needs to start."""
    code = (
        "import sys, torch\n"
        "from agents.core.optimizers import OptimizerConfig, build_optimizer, clipped_gradient_step\n"
        "weight = torch.nn.Parameter(torch.ones(3))\n"
        f"optimizer = build_optimizer(OptimizerConfig(optimizer={name!r}), [weight])\n"
        "clipped_gradient_step(optimizer, weight.sum(), grad_clip=1.0)\n"
        "sys.exit(2 if 'torch._dynamo' in sys.modules else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
