"""What agents answer with: an encoder with a head, a recurrent core between them or not, and how their layers begin."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.nn.config import Init
from agents.nn.encoders import MLP, FrameDifference, Linear, NatureCNN, PreprocessedImages, in_format

Core = Literal["lstm", "gru"]
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def initialise(network: AnyNetwork, init: Init) -> AnyNetwork:
    """Initialise every convolution and linear layer: weights by `init`, biases 0; "torch" keeps torch's own.

    orthogonal: Saxe et al. 2013; he: He et al. 2015, N(0, 2 / fan_in); xavier: Glorot and Bengio 2010,
    U(+-sqrt(6 / (fan_in + fan_out))); lecun: LeCun et al. 1998, N(0, 1 / fan_in). The layers of `network.encoder` stand before
    a ReLU and have the gain sqrt 2 (lecun: 1), all others, which are linear, 1.
    """
    if init == "torch":
        return network
    for name, part in network.named_children():
        gain = math.sqrt(2) if name == "encoder" and init != "lecun" else 1.0
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if init == "orthogonal":
                    nn.init.orthogonal_(layer.weight, gain)
                elif init == "xavier":
                    nn.init.xavier_uniform_(layer.weight, gain)
                else:
                    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network


class NoisyLinear(Linear):
    """y = (W + S * e) x + (b + s * f) with learned S, s and factorised Gaussian noise e, f (Fortunato et al. 2018, eq. 10, 11).

    Without noise, which is how it begins and how it is evaluated, it is an ordinary linear layer. See `draw_noise`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        size = 0.5 / math.sqrt(inputs)  # sigma_0 = .5
        self.weight_scale = nn.Parameter(torch.full((outputs, inputs), size))
        self.bias_scale = nn.Parameter(torch.full((outputs,), size))
        self.noise: tuple[Tensor, Tensor] | None = None  # f(e) of the inputs and of the outputs

    def forward(self, input: Tensor) -> Tensor:
        if self.noise is None:
            return super().forward(input)
        of_inputs, of_outputs = self.noise
        weight = self.weight + self.weight_scale * torch.outer(of_outputs, of_inputs)
        bias = self.bias + self.bias_scale * of_outputs
        return F.linear(input, weight.to(input.dtype), bias.to(input.dtype))


def draw_noise(network: nn.Module, generator: torch.Generator | None) -> None:
    """Give every NoisyLinear of the network fresh noise, sign(e) sqrt|e| of standard normal e; or without a generator none."""
    for layer in network.modules():
        if not isinstance(layer, NoisyLinear):
            continue
        layer.noise = None
        if generator is not None:
            device = layer.weight.device
            raw = [torch.randn(n, generator=generator, device=device) for n in (layer.in_features, layer.out_features)]
            layer.noise = (raw[0].sign() * raw[0].abs().sqrt(), raw[1].sign() * raw[1].abs().sqrt())


class DuelingHead(nn.Module):
    """V + A - mean A over features whose first half is the value's stream and whose second half is the advantages'.

    float32[B, features] -> float32[B, A * atoms] (Wang et al. 2015, equation 9), for each atom of a distribution by itself.
    """

    def __init__(self, features: int, num_actions: int, *, atoms: int = 1, linear: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.atoms = atoms
        self.value = linear(features // 2, atoms)
        self.advantage = linear(features - features // 2, num_actions * atoms)

    def forward(self, features: Tensor) -> Tensor:
        value_stream, advantage_stream = features.split([self.value.in_features, self.advantage.in_features], 1)
        advantage = self.advantage(advantage_stream).unflatten(1, (-1, self.atoms))
        value = self.value(value_stream)[:, None]
        return (value + advantage - advantage.mean(1, keepdim=True)).flatten(1)


class QNetwork(nn.Module):
    """An encoder and a head that gives one value an action: obs [B, k, *frame] -> float32[B, A].

    The head computes in float32 always: near 100 bfloat16 knows only steps of 0.5, which is more than actions differ by.
    """

    def __init__(self, encoder: NatureCNN | MLP, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def preprocess(self, obs: Tensor) -> Tensor | PreprocessedImages:
        """What this network, and any like it, takes in place of obs."""
        return self.encoder.preprocess(obs)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        return self.head(self.encoder(obs).float())


class DistributionNetwork(QNetwork):
    """A QNetwork whose head gives the logits of a distribution of the return over fixed atoms (C51: Bellemare et al. 2017).

    Called like any other it gives the means, float32[B, A].
    """

    support: Tensor

    def __init__(self, encoder: NatureCNN | MLP, head: nn.Module, *, low: float, high: float, atoms: int) -> None:
        super().__init__(encoder, head)
        self.register_buffer("support", torch.linspace(low, high, atoms))

    def log_probabilities(self, obs: Tensor | PreprocessedImages) -> Tensor:
        """log p(z | s, a) of each atom, float32[B, A, atoms]."""
        return super().forward(obs).unflatten(1, (-1, len(self.support))).log_softmax(2)

    def forward(self, obs: Tensor | PreprocessedImages) -> Tensor:
        return self.means(self.log_probabilities(obs))

    def means(self, log_p: Tensor) -> Tensor:
        """E[Z] of each action, from log p [B, A, atoms]: float32[B, A]."""
        return (log_p.exp() * self.support).sum(2)


class RecurrentQNetwork(nn.Module):
    """An encoder, a recurrent core over time, and a head: sequences of rows to one value an action.

    The core computes what torch's LSTMCell or GRUCell does, whose equations its documentation has, but what it makes of the rows
    in one product for all of them, and its state in float32.
    """

    def __init__(
        self, encoder: NatureCNN | MLP, core: Core, hidden: int, num_actions: int, *, dueling: bool = False
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.core = (nn.LSTMCell if core == "lstm" else nn.GRUCell)(encoder.features, hidden)
        self.head = (DuelingHead if dueling else nn.Linear)(hidden, num_actions)

    def initial_state(self, n: int, device: torch.device) -> tuple[Tensor, ...]:
        """The core's state at an episode's beginning: zeros [n, hidden], (h, c) for an LSTM and (h,) for a GRU."""
        parts = 2 if isinstance(self.core, nn.LSTMCell) else 1
        return tuple(torch.zeros(n, self.core.hidden_size, device=device) for _ in range(parts))

    def forward(self, obs: Tensor, is_first: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """obs [L, B, k, *frame], first bool[L, B] and the state before -> Q float32[L, B, A] and the state after.

        Before an episode's first row the state is set back to zeros.
        """
        core, outputs = self.core, []
        features = self.encoder(obs.flatten(0, 1))
        weight, bias = in_format(core.weight_ih, features.dtype), in_format(core.bias_ih, features.dtype)
        of_rows = F.linear(features, weight, bias).float().unflatten(0, obs.shape[:2])  # all in one product
        for row, begins in zip(of_rows, is_first, strict=True):
            state = tuple(part * ~begins[:, None] for part in state)
            of_state = F.linear(state[0], core.weight_hh, core.bias_hh)
            if isinstance(core, nn.LSTMCell):
                i, f, g, o = (row + of_state).chunk(4, 1)
                c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
                state = (o.sigmoid() * c.tanh(), c)
            else:
                (r, z, n), (r_state, z_state, n_state) = row.chunk(3, 1), of_state.chunk(3, 1)
                z = (z + z_state).sigmoid()
                state = ((1 - z) * (n + (r + r_state).sigmoid() * n_state).tanh() + z * state[0],)
            outputs.append(state[0])
        return self.head(torch.cat(outputs)).unflatten(0, obs.shape[:2]), state


class ActorCritic(nn.Module):
    """An encoder with two linear heads, the policy and, if it has a baseline, the value: obs [B, k, *frame] -> log pi, V."""

    def __init__(self, encoder: NatureCNN | MLP | FrameDifference, num_actions: int, *, baseline: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.policy = nn.Linear(encoder.features, num_actions)
        self.value = nn.Linear(encoder.features, 1) if baseline else None

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """log pi(. | s) float32[B, A] and V(s) float32[B], which is 0 without a baseline."""
        features = self.encoder(obs).float()
        value = self.value(features).squeeze(1) if self.value else features.new_zeros(len(features))
        return self.policy(features).log_softmax(1), value
