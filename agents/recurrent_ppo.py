"""Recurrent PPO: proximal policy optimisation (Schulman et al. 2017) with a recurrent core.

The network has a core (LSTM: Hochreiter and Schmidhuber 1997; GRU: Chung et al. 2014) in place of the last hidden
layer. The policy and the value share it. The network receives one row at a time, that is, one time step of all
environments. Its input is the stack of the latest `frame_stack` observations, by default one observation. The state of
the core keeps information about earlier observations.

Symbols in this file: s_t is the stack of observations of row t, and h_t the recurrent state before row t, which is zero
where an episode begins. So pi(. | h_t, s_t) is the policy of row t, and V(h_t, s_t) its value.

The steps are those of PPO (agents/ppo.py). Three of them differ:

    1. Record h_t beside log pi and V.
    3. Cut the batch into sequences of successive rows. The first row of a sequence has the h_t that acting recorded
       ("stored states": Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning").
    5. Divide the sequences, not single agent steps, into minibatches.

A loss computes h_t along each sequence with the current weights, and zeros it where an episode begins. Gradients flow
through the rows of a sequence, but not into the stored state. The last row of an episode has no loss, because its
action is ignored.

Before the first update of a batch, each ratio r_t is 1 up to rounding, with one exception. The agent acts on a row
before it learns from the previous row. So the first two rows of a batch, except the first batch, were played with older
weights. These rows, and the rows of the same sequence whose h_t depends on them, have other ratios.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from agents.configs.ppo import RecurrentPPOConfig
from agents.core.frame_stack import stack_frames
from agents.core.settings import ConfigError
from agents.core.types import Carry, EnvSpaces, Metrics, PolicyOutput
from agents.memory.replay import ExtraFields
from agents.memory.rollout import Rollout, RolloutSequences
from agents.nn.encoders import build_encoder
from agents.nn.normalization import ObservationNormalization
from agents.nn.packed import observed_vectors
from agents.nn.recurrent import RecurrentActorCritic, state_fields
from agents.ppo import PPO


class RecurrentPPO(PPO):
    """PPO with a recurrent network, which learns from sequences.

    In shapes, N is the number of environments, L the number of rows in a sequence, and S the number of sequences in a
    batch or minibatch. A dimension L * S is ordered by row, then by sequence.
    """

    config_class = RecurrentPPOConfig
    batch_settings = "minibatch_size, unroll or batch_size"
    config: RecurrentPPOConfig  # type: ignore[assignment]
    network: RecurrentActorCritic  # type: ignore[assignment]

    def check_settings(self) -> None:
        """Raise ConfigError if settings contradict each other or the environment."""
        super().check_settings()
        # Layer normalisation belongs to the hidden layers, of which the core replaces the last.
        if self.config.norm != "none":
            raise ConfigError(f"norm is {self.config.norm}; with recurrent_ppo it must be none")

    def state_fields(self) -> ExtraFields:
        """Return the fields for h_t."""
        return state_fields(self.config.core, self.config.hidden)

    def build_network(self) -> RecurrentActorCritic:
        """Return a new network: an encoder without its last hidden layer, the core, and heads for pi and V."""
        config = self.config
        encoder = build_encoder(self.spaces, config, include_last=False, dtype=self.dtype)
        network = RecurrentActorCritic(
            encoder, config.core, config.hidden, self.distribution, initial_std=config.initial_std
        )
        self.initialize_network(network)
        return network

    # --- Acting -------------------------------------------------------------------------------------------------------

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments: PPO's carry, followed by the state of the core, f32[n, hidden] each.

        All tensors are zeros. The state of an LSTM has two tensors, that of a GRU one.
        """
        return (*super().initial_carry(n), *self.network.initial_state(n, self.device))

    def policy_and_value(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """Return the parameters of pi f32[N, P] (`ActionDistribution`) and V f32[N] of a row, and the next carry.

        The arguments are those of `act`.
        """
        history, *state = carry
        stack, history = stack_frames(obs, is_first, history)
        # The row is N sequences of one row each.
        parameters, value, next_state = self.network.eval()(stack[None], is_first[None], tuple(state))
        return parameters, value, (history, *next_state)

    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Choose actions as PPO does. If `explore` is True, add h_t to the record of the row."""
        state = carry[1:]
        action, carry = super().act(obs, is_first, carry, explore=explore)
        if explore:
            self.acting_records[-1] += state
        return action, carry

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return the output of PPO, with the norm of the core's hidden state after the row."""
        output, carry = super().policy_output(obs, is_first, carry)
        hidden_state = carry[1]  # f32[N, hidden]
        return output._replace(state_norm=hidden_state.norm(dim=1)), carry

    # --- Learning -----------------------------------------------------------------------------------------------------

    def take_batch(self) -> RolloutSequences:  # type: ignore[override]
        """Return the batch of a complete rollout as sequences, and begin the next one."""
        return self.rollout.take_sequences(self.config.unroll)

    def shuffled_minibatches(self, batch: RolloutSequences, size: int) -> Iterator[RolloutSequences]:  # type: ignore[override]
        """Yield minibatches of whole sequences, about `size` cells each, in a random order.

        Together they are the batch. Their numbers of sequences differ by at most 1.
        """
        length, num_sequences = batch.action.shape[:2]
        num_minibatches = max(1, round(length * num_sequences / size))
        order = torch.randperm(num_sequences, generator=self.generator, device=self.device)
        for index in order.tensor_split(min(num_minibatches, num_sequences)):
            yield batch.select(index)

    def with_standardized_advantages(self, batch: RolloutSequences) -> RolloutSequences:  # type: ignore[override]
        """Return the batch or minibatch with advantages standardised over the cells that have a loss."""
        return batch._replace(advantage=standardized_where(batch.has_loss, batch.advantage))

    def loss(self, batch: RolloutSequences) -> tuple[Tensor, Metrics]:  # type: ignore[override]
        """Compute the loss of PPO, whose means are taken over the cells that have a loss.

        Returns:
            The loss f32[], differentiable, and the metrics f32[] of `PolicyGradient.loss`.
        """
        config = self.config
        parameters, value, _ = self.network.train()(batch.obs, batch.is_first, batch.state)
        has_loss = batch.has_loss.flatten()  # [L * S]
        log_prob = self.distribution.log_prob(parameters, batch.action.flatten(0, 1))
        log_ratio = log_prob - batch.log_prob.flatten()
        advantage = batch.advantage.flatten()
        old_value = batch.value.flatten()
        ret = batch.ret.flatten()
        # Cells without a loss get numbers with which they add 0 to every sum. Selecting the other cells would be
        # simpler, but their number is not known without waiting for a GPU.
        log_ratio = torch.where(has_loss, log_ratio, 0.0)
        ratio = log_ratio.exp()
        advantage = torch.where(has_loss, advantage, 0.0)
        old_value = torch.where(has_loss, old_value, ret)
        new_value = torch.where(has_loss, value, ret)
        # The mean over all cells, divided by the share of cells with a loss, is the mean over the cells with a loss.
        share = has_loss.float().mean().clamp(min=1e-6)
        policy_loss = self.policy_loss(ratio, advantage) / share
        value_loss = self.value_loss(new_value, old_value, ret) / share
        entropy = (has_loss * self.distribution.entropy(parameters)).mean() / share
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "v_mean": (has_loss * value).mean() / share,
            "kl": (ratio - 1 - log_ratio).mean() / share,  # as in `PolicyGradient.loss`
        }
        return policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy, metrics

    def update_normalization(self, normalization: ObservationNormalization, batch: RolloutSequences) -> None:  # type: ignore[override]
        """Add the observations of the cells that have a loss to the running mean and variance."""
        vectors = observed_vectors(batch.obs[:, :, -1].flatten(0, 1), self.spaces)
        normalization.update(vectors, counted=batch.has_loss.flatten())

    # --- State --------------------------------------------------------------------------------------------------------

    @staticmethod
    def bytes_needed(config: RecurrentPPOConfig, spaces: EnvSpaces) -> int:
        """Return the bytes that the rollout allocates, including stored states."""
        fields = state_fields(config.core, config.hidden)
        return Rollout.bytes_needed(spaces, config.batch_size, config.frame_stack, fields)

    @staticmethod
    def update_size(config: RecurrentPPOConfig) -> int:  # type: ignore[override]
        """Return the number of cells of an update."""
        return min(max(config.minibatch_size, config.unroll), config.batch_size)

    def example_minibatch(self, size: int) -> RolloutSequences:  # type: ignore[override]
        """Return a minibatch of about `size` cells, with random observations. No episode begins or ends."""
        length = min(self.config.unroll, size)
        num_sequences = max(1, size // length)
        cells = super().example_minibatch(length * num_sequences)
        fields = {name: field.unflatten(0, (length, num_sequences)) for name, field in cells._asdict().items()}
        is_first = torch.zeros((length, num_sequences), dtype=torch.bool, device=self.device)
        state = self.network.initial_state(num_sequences, self.device)
        return RolloutSequences(**fields, is_first=is_first, has_loss=~is_first, state=state)


def standardized_where(counted: Tensor, advantage: Tensor) -> Tensor:
    """Return advantages of any shape, shifted and scaled so that the counted ones have mean 0 and deviation 1.

    The standard deviation of a single advantage is undefined. Advantages then stay as they are.

    Args:
        counted: bool, in the shape of the advantages.
        advantage: f32.
    """
    count = counted.sum()
    mean = (counted * advantage).sum() / count.clamp(min=1)
    variance = (counted * (advantage - mean).square()).sum() / (count - 1).clamp(min=1)
    return torch.where(count < 2, advantage, (advantage - mean) / (variance.sqrt() + 1e-8))
