"""Tests of recurrent Q-networks."""

from __future__ import annotations

import pytest
import torch

from agents.configs.dqn import Core
from agents.configs.shared import NetworkConfig
from agents.core.types import EnvSpaces
from agents.nn.encoders import build_encoder
from agents.nn.recurrent import RecurrentQNetwork

VECTOR = EnvSpaces((4,), torch.float32, 2, 8)


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_sequence_equals_row_by_row_cells_of_torch(core: Core):
    torch.manual_seed(0)
    encoder = build_encoder(VECTOR, NetworkConfig(hidden=16), include_last=False)
    network = RecurrentQNetwork(encoder, core, 16, 2)
    obs = torch.randn(7, 3, 1, 4)
    is_first = torch.rand(7, 3) < 0.3
    state = tuple(torch.randn(3, 16) for _ in network.initial_state(3, torch.device("cpu")))
    q, final_state = network(obs, is_first, state)
    for t in range(7):
        for b in range(3):
            if is_first[t, b]:
                for part in state:
                    part[b] = 0
        features = network.encoder(obs[t])
        state = network.core(features, state) if core == "lstm" else (network.core(features, state[0]),)
        assert torch.allclose(q[t], network.head(state[0]), atol=1e-5)
        state = tuple(part.detach().clone() for part in state)
    for part, expected in zip(final_state, state, strict=True):
        assert torch.allclose(part, expected, atol=1e-5)
