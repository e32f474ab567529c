"""The networks of recurrent agents: an encoder, a recurrent core over time, and heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.shared import Core
from agents.core.action_distribution import ActionDistribution
from agents.nn.encoders import Encoder
from agents.nn.heads import DuelingHead
from agents.nn.mixed_precision import cast_parameter
from agents.nn.networks import ActorCritic
from agents.nn.packed import mask_illegal

RecurrentState = tuple[Tensor, ...]
"""State of the core: (h, c) of an LSTM, (h,) of a GRU, each f32[B, hidden]."""


class RecurrentQNetwork(nn.Module):
    """A Q-network with a recurrent core between the encoder and the head.

    In shapes, L is the number of rows, B the number of sequences, A the number of actions, and k the number of
    observations in a stack.

    Args:
        encoder: Encoder of stacks of observations [B, k, *obs_shape].
        core: "lstm" (Hochreiter and Schmidhuber 1997) or "gru" (Chung et al. 2014).
        hidden: Units of the core.
        num_actions: Number of actions.
        dueling: Use a `DuelingHead` in place of a linear layer.
    """

    def __init__(
        self,
        encoder: Encoder,
        core: Core,
        hidden: int,
        num_actions: int,
        *,
        dueling: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.packed = encoder.packed  # the layout of packed observations, which may hold action masks
        self.core = build_core(core, encoder.features, hidden)
        head_class = DuelingHead if dueling else nn.Linear
        self.head = head_class(hidden, num_actions)

    def initial_state(self, n: int, device: torch.device) -> RecurrentState:
        """Return the state of the core at the beginning of n episodes: tensors of zeros, f32[n, hidden] each."""
        return initial_state(self.core, n, device)

    def forward(self, obs: Tensor, is_first: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Compute action values along sequences of L rows.

        Args:
            obs: Stacks of observations [L, B, k, *obs_shape].
            is_first: bool[L, B], True where an episode begins. The state is set to zeros before such a row.
            state: State of the core before the first row, f32[B, hidden] each.

        Returns:
            Action values Q f32[L, B, A], and the state of the core after the last row.
        """
        stacks = obs.flatten(0, 1)
        hidden_states, state = unroll_core(self.core, self.encoder(stacks), is_first, state)
        q = mask_illegal(self.head(hidden_states), stacks, self.packed)
        return q.unflatten(0, obs.shape[:2]), state


class RecurrentActorCritic(ActorCritic):
    """A policy pi(. | h, s) and a value V(h, s), with one recurrent core between the encoder and both heads.

    In shapes, L is the number of rows, B the number of sequences, and k the number of observations in a stack. A
    dimension L * B is ordered by row, then by sequence.

    Args:
        encoder: Encoder of stacks of observations [B, k, *obs_shape].
        core: "lstm" (Hochreiter and Schmidhuber 1997) or "gru" (Chung et al. 2014).
        hidden: Units of the core.
        distribution: Distribution of the actions.
        initial_std: Initial standard deviation of each entry of a continuous action.
    """

    def __init__(
        self, encoder: Encoder, core: Core, hidden: int, distribution: ActionDistribution, *, initial_std: float = 1.0
    ) -> None:
        super().__init__(encoder, distribution, baseline=True, features=hidden, initial_std=initial_std)
        self.core = build_core(core, encoder.features, hidden)

    def initial_state(self, n: int, device: torch.device) -> RecurrentState:
        """Return the state of the core at the beginning of n episodes: tensors of zeros, f32[n, hidden] each."""
        return initial_state(self.core, n, device)

    def forward(  # type: ignore[override]
        self, obs: Tensor, is_first: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor, RecurrentState]:
        """Compute policies and values along sequences of L rows.

        Args:
            obs: Stacks of observations [L, B, k, *obs_shape].
            is_first: bool[L, B], True where an episode begins. The state is set to zeros before such a row.
            state: State of the core before the first row, f32[B, hidden] each.

        Returns:
            The parameters of pi f32[L * B, P] (`ActionDistribution`); V f32[L * B]; and the state of the core
            after the last row.
        """
        stacks = obs.flatten(0, 1)
        hidden_states, state = unroll_core(self.core, self.encoder(stacks), is_first, state)
        parameters, value = self.heads(hidden_states, stacks)
        return parameters, value, state


def build_core(core: Core, inputs: int, hidden: int) -> nn.LSTMCell | nn.GRUCell:
    """Return a new recurrent core, for `unroll_core`."""
    cell_class = nn.LSTMCell if core == "lstm" else nn.GRUCell
    return cell_class(inputs, hidden)


def state_fields(core: Core, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors in the state of one environment, for a memory that stores states.

    "state0" is the hidden state of the core. "state1" is the cell state, which only an LSTM has.
    """
    fields = {"state0": (hidden,)}
    if core == "lstm":
        fields["state1"] = (hidden,)
    return fields


def initial_state(core: nn.LSTMCell | nn.GRUCell, n: int, device: torch.device) -> RecurrentState:
    """Return the state of a core at the beginning of n episodes: tensors of zeros, f32[n, hidden] each."""
    parts = 2 if isinstance(core, nn.LSTMCell) else 1
    return tuple(torch.zeros(n, core.hidden_size, device=device) for _ in range(parts))


def unroll_core(
    core: nn.LSTMCell | nn.GRUCell, features: Tensor, is_first: Tensor, state: RecurrentState
) -> tuple[Tensor, RecurrentState]:
    """Compute the hidden states of a core along B sequences of L rows.

    The parameters of the core are those of nn.LSTMCell or nn.GRUCell. The product of the features and the input weights
    is computed for all rows at once, in the dtype of the features. The recurrence is computed in float32, row by row:
    where an episode begins in the middle of a sequence, the state must be reset. nn.LSTM and nn.GRU cannot do this.

    Args:
        core: The core.
        features: Inputs of the core [L * B, inputs], ordered by row, then by sequence.
        is_first: bool[L, B], True where an episode begins. The state is set to zeros before such a row.
        state: State of the core before the first row, f32[B, hidden] each.

    Returns:
        The hidden states f32[L * B, hidden], and the state after the last row.
    """
    weight = cast_parameter(core.weight_ih, features.dtype)
    bias = cast_parameter(core.bias_ih, features.dtype)
    inputs = F.linear(features, weight, bias).float().unflatten(0, is_first.shape)
    outputs = []
    for row_input, row_is_first in zip(inputs, is_first, strict=True):
        state = tuple(part * ~row_is_first[:, None] for part in state)
        recurrent = F.linear(state[0], core.weight_hh, core.bias_hh)
        if isinstance(core, nn.LSTMCell):
            state = _lstm_step(row_input, recurrent, state[1])
        else:
            state = _gru_step(row_input, recurrent, state[0])
        outputs.append(state[0])
    return torch.cat(outputs), state


def _lstm_step(inputs: Tensor, recurrent: Tensor, c: Tensor) -> RecurrentState:
    """Return the next state (h, c) of an LSTM, by the equations in the documentation of nn.LSTMCell.

    Args:
        inputs: W_ih x + b_ih, f32[B, 4 * hidden].
        recurrent: W_hh h + b_hh, f32[B, 4 * hidden].
        c: Cell state, f32[B, hidden].
    """
    i, f, g, o = (inputs + recurrent).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return h, c


def _gru_step(inputs: Tensor, recurrent: Tensor, h: Tensor) -> RecurrentState:
    """Return the next state (h,) of a GRU, by the equations in the documentation of nn.GRUCell.

    Args:
        inputs: W_ih x + b_ih, f32[B, 3 * hidden].
        recurrent: W_hh h + b_hh, f32[B, 3 * hidden].
        h: Hidden state, f32[B, hidden].
    """
    r_input, z_input, n_input = inputs.chunk(3, 1)
    r_recurrent, z_recurrent, n_recurrent = recurrent.chunk(3, 1)
    r = (r_input + r_recurrent).sigmoid()
    z = (z_input + z_recurrent).sigmoid()
    n = (n_input + r * n_recurrent).tanh()
    return ((1 - z) * n + z * h,)
