"""Deep recurrent Q-network: Hausknecht and Stone 2015, "Deep recurrent Q-learning for partially observable MDPs".

DRQN is DQN with a recurrent core (LSTM: Hochreiter and Schmidhuber 1997; GRU: Chung et al. 2014) in place of the last
hidden layer. The network receives one row at a time, that is, one time step of all environments. Its input is the stack
of the latest `frame_stack` observations, by default one observation. The state of the core keeps information about
earlier observations.

An update learns from sequences of successive rows that start anywhere in an episode ("bootstrapped random updates" in
the paper). A sequence may continue into the next episode of the environment; the state of the core is then reset.

Options extend the algorithm: stored states and burn-in (R2D2: Kapturowski et al. 2019, "Recurrent experience replay in
distributed reinforcement learning"), the target of double Q-learning, a dueling head, n-step returns, and prioritised
sampling.

Symbols in this file: Q is the online network, Q^ the target network. s_t is the stack of observations of row t, and a_t
its action. h_t is the recurrent state before row t: an LSTM's hidden state and cell state, or a GRU's hidden state. So
Q(h_t, s_t, .) are the action values of row t.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs.dqn import DRQNConfig
from agents.core.frame_stack import stack_frames
from agents.core.settings import ConfigError
from agents.core.targets import double_value, max_value, n_step_return, td_target
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput, StepResult
from agents.dqn import DQN, check_targets
from agents.memory.replay import ExtraFields, Replay
from agents.memory.sequences import SequenceBatch, SequenceSampler
from agents.nn.encoders import build_encoder
from agents.nn.init import initialize_weights
from agents.nn.recurrent import RecurrentQNetwork, state_fields


class DRQN(DQN):
    """DQN with a recurrent network, which learns from sequences.

    A sequence has `length` successive rows of one environment: `burn_in` rows without loss, then `unroll` learned rows,
    which have a loss, then `n_step` rows for the targets of the last learned rows.

    In shapes, L is `length`, U is `unroll`, n is `n_step`, B the number of sequences in the batch, and A the number of
    actions. A dimension U * B is ordered by row, then by sequence.
    """

    config_class = DRQNConfig
    config: DRQNConfig
    online_network: RecurrentQNetwork
    target_network: RecurrentQNetwork
    policy_network: RecurrentQNetwork

    def __init__(
        self,
        config: DRQNConfig,
        spaces: EnvSpaces,
        *,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_settings(config, spaces)
        self.length = _sequence_length(config)
        super().__init__(config, spaces, seed=seed, device=device, dtype=dtype)
        self.sampler = SequenceSampler(self.replay, self.length)
        self.learned_rows = slice(config.burn_in, config.burn_in + config.unroll)
        # The recurrent states h_t of the rows for which `act` explored and which `observe` has not received yet, oldest
        # first. `act` appends one, and `store`, which `observe` calls, removes one.
        self.acting_records: deque[tuple[Tensor, ...]] = deque()

    def replay_lookahead(self) -> int:
        """Return the rows that must follow the first row of a sequence."""
        return self.length - 1

    def replay_fields(self) -> ExtraFields:
        """Return the fields for h_t if `start_state` is "stored"."""
        return _stored_states(self.config)

    def build_network(self) -> nn.Module:
        """Return a new network: an encoder without its last hidden layer, the core, and a head for the values."""
        config = self.config
        encoder = build_encoder(self.spaces, config, include_last=False, dtype=self.dtype)
        network = RecurrentQNetwork(
            encoder,
            config.core,
            config.hidden,
            self.spaces.num_actions,
            dueling=config.dueling,
        )
        return initialize_weights(network, config.init)

    # --- Acting -------------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments: DQN's carry, followed by the state of the core, f32[n, hidden] each.

        All tensors are zeros. The state of an LSTM has two tensors, that of a GRU one.
        """
        return (*super().initial_carry(n), *self.policy_network.initial_state(n, self.device))

    def q_values(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Return Q(h_t, s_t, .) f32[N, A] of a row, and the next carry. The arguments are those of `act`."""
        history, *state = carry
        stack, history = stack_frames(obs, is_first, history)
        q, next_state = self.policy_network.eval()(stack[None], is_first[None], tuple(state))  # sequences of one row
        return q[0], (history, *next_state)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions as in DQN. If `explore` is True, record h_t in `acting_records`."""
        if explore:
            self.acting_records.append(carry[1:])
        return super().act(obs, is_first, carry, explore=explore)

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the output of DQN, with the norm of the core's hidden state after the row."""
        output, carry = super().policy_output(obs, is_first, carry)
        hidden_state = carry[1]  # f32[N, hidden]
        return output._replace(state_norm=hidden_state.norm(dim=1)), carry

    # --- Learning -----------------------------------------------------------------------------------------------------

    @classmethod
    def rows_for_example_update(cls, config: DRQNConfig) -> int:
        """Return a number of rows from which sequences can be sampled."""
        return 2 * _sequence_length(config) + config.frame_stack

    def store(self, step: StepResult) -> None:
        """Add a row to the replay memory, with h_t if `start_state` is "stored". Remove h_t from `acting_records`."""
        state = self.acting_records.popleft()
        extra = {}
        if self.config.start_state == "stored":
            extra = dict(zip(self.replay.extra_fields, state, strict=True))
        self.replay.add(step, extra)

    def sample(self) -> SequenceBatch:  # type: ignore[override]
        """Return the batch of the next update: `batch_size` sequences. All images of a sequence are augmented alike."""
        batch = self.sampler.sample(self.config.batch_size, beta=self.beta)
        if self.augmentation is None:
            return batch
        by_sequence = batch.obs.transpose(0, 1)  # [B, L, k, *obs_shape]
        return batch._replace(obs=self.augmentation(by_sequence).transpose(0, 1))

    @property
    def samples_per_update(self) -> int:
        """Return the number of learned rows in the batch of an update."""
        return self.config.batch_size * self.config.unroll

    def td_loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Compute the Huber loss of the TD error y_t - Q(h_t, s_t, a_t) for every learned row.

        Returns:
            The losses f32[U * B], differentiable; the TD errors f32[U * B]; and Q(h_t, s_t, .) f32[U * B, A].
        """
        all_q = self.sequence_q_values(self.online_network.train(), batch)
        with torch.no_grad():
            all_target_q = self.sequence_q_values(self.target_network, batch)
            y = self.sequence_targets(batch, all_q, all_target_q)
        q = all_q[self.learned_rows]  # [U, B, A]
        action = batch.action[self.learned_rows]  # [U, B]
        q_of_action = q.gather(2, action[:, :, None]).flatten()
        losses = F.smooth_l1_loss(q_of_action, y, reduction="none")
        td_error = (y - q_of_action).detach()
        return losses, td_error, q.detach().flatten(0, 1)

    def sequence_q_values(self, network: RecurrentQNetwork, batch: SequenceBatch) -> Tensor:
        """Return the values of `network` for every row of the sequences, f32[L, B, A].

        No gradient flows through the values and states of the burn-in rows.
        """
        state = self.sequence_start_state(network, batch)
        burn_in = self.config.burn_in
        if not burn_in:
            q, _ = network(batch.obs, batch.is_first, state)
            return q
        with torch.no_grad():
            burn_in_q, state = network(batch.obs[:burn_in], batch.is_first[:burn_in], state)
        q, _ = network(batch.obs[burn_in:], batch.is_first[burn_in:], state)
        return torch.cat([burn_in_q, q])

    def sequence_start_state(self, network: RecurrentQNetwork, batch: SequenceBatch) -> tuple[Tensor, ...]:
        """Return h_t of the first row of each sequence, stored or zero: f32[B, hidden] each."""
        if not batch.extra:
            return network.initial_state(batch.obs.shape[1], self.device)
        return tuple(states[0] for states in batch.extra.values())

    def sequence_targets(self, batch: SequenceBatch, all_q: Tensor, all_target_q: Tensor) -> Tensor:
        """Return the targets y_t of the learned rows, f32[U * B].

            y_t = R_t + gamma^m V(h_{t+m}, s_{t+m}),   R_t = sum_{k<m} gamma^k r_{t+k}

        m is the number of rows of the return: `n_step`, or less if row t+m-1 terminated or truncated. After a
        termination, 0 replaces the factor gamma^m. V(h, s) is max_a Q^(h, s, a), or, if `double` is true,
        Q^(h, s, argmax_a Q(h, s, a)).

        Args:
            batch: The sequences.
            all_q: Q(h_t, s_t, .) of every row, f32[L, B, A]. Only the target of double Q-learning uses it.
            all_target_q: Q^(h_t, s_t, .) of every row, f32[L, B, A]. Q^ computes its own h_t.
        """
        if self.config.double:
            next_value = double_value(all_q.flatten(0, 1), all_target_q.flatten(0, 1))
        else:
            next_value = max_value(all_target_q.flatten(0, 1))
        next_value = next_value.unflatten(0, batch.reward.shape)  # [L, B]
        ret, discount, num_steps = n_step_return(
            self._n_step_windows(batch.reward),
            self._n_step_windows(batch.terminated),
            self._n_step_windows(batch.truncated),
            self.config.gamma,
        )
        row = torch.arange(self.length, device=self.device)[self.learned_rows, None]  # [U, 1]
        bootstrap_row = row + num_steps.unflatten(0, (self.config.unroll, -1))  # [U, B]: t + m
        bootstrap_value = next_value.gather(0, bootstrap_row)  # [U, B]
        return td_target(ret, discount, bootstrap_value.flatten())

    def _n_step_windows(self, field: Tensor) -> Tensor:
        """Return the window of rows t .. t+n-1 for each learned row t: [L, B] -> [U * B, n]."""
        rows = field[self.config.burn_in : -1]  # [U + n - 1, B]; the last row only serves to bootstrap
        return rows.unfold(0, self.config.n_step, 1).flatten(0, 1)

    def active_rows(self, batch: SequenceBatch) -> Tensor:
        """Return f32[U, B]: 0 for each learned row that is the last of an episode, 1 for the other learned rows."""
        return (~batch.is_last[self.learned_rows]).float()

    def loss_weights(self, batch: SequenceBatch) -> Tensor:  # type: ignore[override]
        """Return the weight of each loss, f32[U * B].

        The weight of an active row is the importance-sampling weight of its sequence, divided by the share of active
        rows. The weight of an inactive row is 0. So the mean of all weighted losses is the mean over the active rows.
        """
        active = self.active_rows(batch)
        return (batch.weight * active / active.mean().clamp(min=1e-6)).flatten()

    def gradient_step(self, batch: SequenceBatch) -> tuple[Metrics, Tensor]:  # type: ignore[override]
        """Take a gradient step as in DQN.

        Returns:
            The metrics, and one error f32[B] for each sequence, from which its new priority follows. With the absolute
            TD errors of the active learned rows, the error is 0.9 times their maximum plus 0.1 times their mean
            (Kapturowski et al. 2019, section 2.3).
        """
        metrics, td_error = super().gradient_step(batch)  # type: ignore[arg-type]
        active = self.active_rows(batch)
        absolute_error = td_error.view_as(active).abs() * active
        num_active = active.sum(0).clamp(min=1)
        return metrics, 0.9 * absolute_error.amax(0) + 0.1 * absolute_error.sum(0) / num_active

    # --- State --------------------------------------------------------------------------------------------------------

    @staticmethod
    def bytes_needed(config: DRQNConfig, spaces: EnvSpaces) -> int:
        """Return the bytes that the replay memory allocates, including stored states."""
        return Replay.bytes_needed(
            spaces,
            config.replay_size,
            priority_alpha=config.priority_alpha,
            extra_fields=_stored_states(config),
        )

    @staticmethod
    def batch_rows(config: DRQNConfig) -> tuple[int, str]:
        """Return the number of rows in a batch, and the settings that decide this number."""
        return config.batch_size * _sequence_length(config), "batch_size, unroll or burn_in"

    def state_dict(self) -> dict[str, Any]:
        """Return the state of DQN, and `acting_records`."""
        state = super().state_dict()
        if self.acting_records:
            state["acting_records"] = [list(record) for record in self.acting_records]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Raises ValueError or RuntimeError if shapes do not fit."""
        super().load_state_dict(state)
        records = state.get("acting_records", [])
        self.acting_records = deque(tuple(record) for record in records)


def _sequence_length(config: DRQNConfig) -> int:
    """Return the number of rows in a sequence."""
    return config.burn_in + config.unroll + config.n_step


def _stored_states(config: DRQNConfig) -> ExtraFields:
    """Return the fields of the replay memory that hold h_t."""
    if config.start_state == "zero":
        return {}
    return state_fields(config.core, config.hidden)


def _check_settings(config: DRQNConfig, spaces: EnvSpaces) -> None:
    """Raise ConfigError if the replay memory cannot hold a sequence, or if DRQN lacks what a setting needs."""
    min_rows = _sequence_length(config) + config.frame_stack - 1
    min_size = min_rows * spaces.num_envs
    if config.replay_size < min_size:
        raise ConfigError(
            f"replay_size is {config.replay_size}; with {spaces.num_envs} environments it must be at least {min_size}"
            " (burn_in + unroll + n_step + frame_stack - 1 rows)"
        )
    check_targets(config, agent="drqn", has_own_targets=True)
    if config.anneal_updates:
        raise ConfigError(f"anneal_updates is {config.anneal_updates}; with drqn it must be 0")
    if config.epsilon_zeta:
        raise ConfigError(f"epsilon_zeta is {config.epsilon_zeta:g}; with drqn it must be 0")
    # Dropout and layer normalisation belong to the hidden layers, which the core replaces.
    batch_norm_without_convolutions = config.norm == "batch" and not spaces.is_image
    if config.dropout or config.norm in ("layer", "layers") or batch_norm_without_convolutions:
        raise ConfigError(
            f"dropout is {config.dropout} and norm is {config.norm}; with drqn, dropout must be 0,"
            " and norm must be none, or batch for images"
        )
