"""The optimisers: the centred RMSProp against its three lines in numpy, and the others against torch's own."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from agents.core.optimizers import CenteredRMSProp, build_optimizer, descend


def test_it_follows_the_equations():
    rng = np.random.default_rng(0)
    weight = torch.nn.Parameter(torch.from_numpy(rng.normal(size=5)))
    optimizer = CenteredRMSProp([weight], lr=0.1, alpha=0.95, eps=0.01)
    w, n, m = weight.detach().numpy().copy(), np.zeros(5), np.zeros(5)
    for _ in range(20):
        g = rng.normal(size=5)
        weight.grad = torch.from_numpy(g)
        optimizer.step()
        n = 0.95 * n + 0.05 * g**2
        m = 0.95 * m + 0.05 * g
        w -= 0.1 * g / np.sqrt(n - m**2 + 0.01)
        assert np.allclose(weight.detach().numpy(), w)


@pytest.mark.parametrize(("name", "theirs"), [("adam", torch.optim.Adam), ("rmsprop", torch.optim.RMSprop)])
def test_without_the_compiler_every_step_is_torchs(name, theirs):
    found = []
    for make in (lambda p: build_optimizer(name, p, lr=1e-2, eps=1e-4), lambda p: theirs(p, lr=1e-2, eps=1e-4)):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
        optimizer = make([weight])
        for k in range(10):
            optimizer.zero_grad()
            (weight * k - 0.1).square().sum().backward()
            optimizer.step()
        found.append(weight.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(("clip", "expected"), [(0, [30.0, 40.0]), (5.0, [3.0, 4.0]), (60.0, [30.0, 40.0])])
def test_a_gradient_longer_than_the_clip_is_shortened_to_it(clip, expected):
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    norm = descend(torch.optim.SGD(weights, lr=1.0), (weights[0] * 30 + weights[1] * 40).sum(), grad_clip=clip)
    assert norm == 50
    torch.testing.assert_close(torch.cat([-w.detach() for w in weights]), torch.tensor(expected), rtol=1e-6, atol=0)


def test_training_does_not_wait_for_torchs_compiler():
    """Its import would double the time that a command takes to begin."""
    code = (
        "import sys, torch\n"
        "from agents.optim import build_optimizer\n"
        "w = torch.nn.Parameter(torch.ones(3))\n"
        "o = build_optimizer('adam', [w], lr=.1, eps=1e-8)\n"
        "o.zero_grad(); w.sum().backward(); torch.nn.utils.clip_grad_norm_([w], 1.0); o.step()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
