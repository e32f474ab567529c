"""Networks: encoders with heads and cores, and how their layers begin."""

import pytest
import torch
from torch import nn

from agents.core.types import EnvSpaces
from agents.nn.encoders import build_encoder
from agents.nn.networks import QNetwork, RecurrentQNetwork, initialise

ATARI = EnvSpaces((84, 84), torch.uint8, 6, 8)
VECTOR = EnvSpaces((4,), torch.float32, 2, 8)


def build(rows, stack=4, **options):
    encoder = build_encoder(rows, stack, hidden=512, **options)
    return QNetwork(encoder, nn.Linear(encoder.features, rows.num_actions))


def test_the_nature_network_has_the_papers_parameters():
    count = sum(p.numel() for p in build(ATARI).parameters())
    conv = (8 * 8 * 4 + 1) * 32 + (4 * 4 * 32 + 1) * 64 + (3 * 3 * 64 + 1) * 64
    assert count == conv + (7 * 7 * 64 + 1) * 512 + (512 + 1) * 6


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("rows", [ATARI, VECTOR], ids=["image", "vector"])
def test_options_build_and_learn(rows, norm):
    network = build(rows, norm=norm, dropout=0.1)
    high = 256 if rows.is_image else 2
    obs = torch.randint(0, high, (8, 4, *rows.obs_shape)).to(rows.dtype)
    network(obs).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    for kind, there in ((nn.LayerNorm, norm == "layer"), (nn.BatchNorm1d, norm == "batch"), (nn.Dropout, True)):
        assert any(isinstance(layer, kind) for layer in network.modules()) == there
    network.eval()
    assert torch.equal(network(obs), network(obs))


@pytest.mark.parametrize("rows", [ATARI, VECTOR], ids=["image", "vector"])
def test_what_one_network_saw_another_judges_as_the_frames_themselves(rows):
    one, other = build(rows), build(rows)
    obs = torch.randint(0, 256 if rows.is_image else 2, (8, 4, *rows.obs_shape)).to(rows.dtype)
    assert torch.equal(other(one.preprocess(obs)), other(obs))


@pytest.mark.parametrize("init", ["orthogonal", "he", "xavier", "lecun"])
def test_initialisation_keeps_the_size_of_signals(init):
    torch.manual_seed(0)
    network = initialise(build(ATARI), init)
    hidden = network.encoder.hidden[0].weight
    if init == "orthogonal":
        assert torch.allclose(hidden @ hidden.T, 2 * torch.eye(512), atol=1e-4)
    elif init in ("he", "lecun"):
        assert float(hidden.detach().std()) == pytest.approx(((2 if init == "he" else 1) / 3136) ** 0.5, rel=0.01)
    else:
        bound = 2**0.5 * (6 / (3136 + 512)) ** 0.5
        assert float(hidden.detach().abs().max()) == pytest.approx(bound, rel=0.01)
    assert all(float(m.bias.detach().abs().max()) == 0 for m in network.modules() if isinstance(m, nn.Linear))


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_the_core_is_torchs_own_row_by_row(core):
    torch.manual_seed(0)
    network = RecurrentQNetwork(build_encoder(VECTOR, 1, hidden=16, last=False), core, 16, 2)
    obs, is_first = torch.randn(7, 3, 1, 4), torch.rand(7, 3) < 0.3
    state = tuple(torch.randn(3, 16) for _ in network.initial_state(3, torch.device("cpu")))
    q, after = network(obs, is_first, state)
    for t in range(7):
        for b in range(3):
            if is_first[t, b]:
                for part in state:
                    part[b] = 0
        state = network.core(network.encoder(obs[t]), state if core == "lstm" else state[0])
        state = state if core == "lstm" else (state,)
        assert torch.allclose(q[t], network.head(state[0]), atol=1e-5)
        state = tuple(part.detach().clone() for part in state)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(after, state, strict=True))
