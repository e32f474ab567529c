"""The centred RMSProp against its three lines in numpy."""

import numpy as np
import torch

from agents.optim import CenteredRMSProp


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
