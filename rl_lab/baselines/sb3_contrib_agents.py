"""SB3-Contrib's QR-DQN and recurrent PPO behind the `Agent` protocol, as baselines.

SB3-Contrib is the collection of further algorithms for Stable-Baselines3. rl_lab/baselines/sb3_agents.py describes what
is theirs and what is ours.

In shapes, N is the number of environments, A the number of actions, and H the number of units of the LSTM.
"""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import QRDQN, RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from torch import Tensor, nn

from agents.core.memory_needs import FLOAT_BYTES, MemoryNeed
from agents.core.types import Carry, EnvSpaces, PolicyOutput
from rl_lab.baselines.sb3_agents import SB3EpsilonGreedyAgent, SB3OnPolicyAgent, actor_output, count_weights
from rl_lab.baselines.sb3_config import SB3QRDQNConfig, SB3RecurrentPPOConfig

PAIR_COPIES = 3
"""Numbers that an update of QR-DQN keeps for each pair of a quantile and a target, at least."""

NUM_STATES = 4
"""Hidden state and cell state of two LSTMs, of the policy and of the values."""


class SB3QRDQN(SB3EpsilonGreedyAgent):
    """SB3-Contrib's QR-DQN."""

    config_class = SB3QRDQNConfig
    algorithm = QRDQN
    size_settings = "hidden, n_quantiles or frame_stack"

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of QR-DQN's constructor."""
        arguments = super().algorithm_arguments()
        arguments["max_grad_norm"] = arguments["max_grad_norm"] or None
        arguments["policy_kwargs"]["n_quantiles"] = arguments.pop("n_quantiles")
        return arguments

    @classmethod
    def count_weights(cls, config: Any, spaces: EnvSpaces) -> int:
        """Return the number of weights, with an output for each quantile of each action."""
        return count_weights(config, spaces, outputs=spaces.num_actions * config.n_quantiles)

    @classmethod
    def memory_needs(cls, config: Any, spaces: EnvSpaces) -> list[MemoryNeed]:
        """Return the bytes that the buffer, the networks, and a batch with its pairs of quantiles need."""
        pair_bytes = PAIR_COPIES * FLOAT_BYTES * config.batch_size * config.n_quantiles**2
        batch = MemoryNeed("a batch", pair_bytes, "lower batch_size or n_quantiles")
        return [*super().memory_needs(config, spaces), batch]

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return Q(s, .), the means of the quantiles, and the next carry. The arguments are those of `act`."""
        stack, history = self._stack(obs, is_first, carry)
        policy = self.network
        assert isinstance(policy, QRDQNPolicy)
        policy.set_training_mode(False)
        q = policy.quantile_net(stack).mean(1)  # the quantiles are [N, n_quantiles, A]
        return PolicyOutput(q.argmax(1), q, q.amax(1)), (history,)


class SB3RecurrentPPO(SB3OnPolicyAgent):
    """SB3-Contrib's PPO with an LSTM. The carry holds the states of the LSTM.

    A lost life does not end an episode, as in rl-baselines3-zoo, because the algorithm resets the LSTM where an episode
    ends.
    """

    config_class = SB3RecurrentPPOConfig
    algorithm = RecurrentPPO
    mlp_policy = "MlpLstmPolicy"
    cnn_policy = "CnnLstmPolicy"
    ends_at_lost_life = False
    buffer_setting = "n_steps, num_envs or lstm_hidden_size"
    size_settings = "hidden, lstm_hidden_size or frame_stack"
    config: SB3RecurrentPPOConfig

    def algorithm_arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of recurrent PPO's constructor."""
        arguments = super().algorithm_arguments()
        policy_arguments = arguments["policy_kwargs"]
        for name in ("lstm_hidden_size", "enable_critic_lstm"):
            policy_arguments[name] = arguments.pop(name)
        num_layers = arguments.pop("hidden_layers")
        if not self._has_image_obs:
            policy_arguments["net_arch"] = [self.config.hidden] * num_layers
        return arguments

    @staticmethod
    def bytes_needed(config: Any, spaces: EnvSpaces) -> int:
        """Return the bytes of the rollout buffer: that of PPO, and the LSTM states per agent step."""
        state_bytes = NUM_STATES * FLOAT_BYTES * config.lstm_hidden_size
        return SB3OnPolicyAgent.bytes_needed(config, spaces) + config.n_steps * spaces.num_envs * state_bytes

    @classmethod
    def count_weights(cls, config: Any, spaces: EnvSpaces) -> int:
        """Return the number of weights of the layers and of the recurrent connections of the LSTMs."""
        num_lstms = 2 if config.enable_critic_lstm else 1
        recurrent_weights = 4 * config.lstm_hidden_size**2  # three gates and the new content of the cell
        return super().count_weights(config, spaces) + num_lstms * recurrent_weights

    def initial_carry(self, n: int) -> Carry:
        """Return the carry of n environments before their first row.

        Returns:
            A history of zeros [n, k-1, *obs_shape], then zeros f32[n, H] for the hidden state and the cell state of
            the policy's LSTM, and for those of the values' LSTM.
        """
        (history,) = super().initial_carry(n)
        zeros = torch.zeros(n, self.config.lstm_hidden_size, device=self.device)
        return (history, *[zeros] * NUM_STATES)

    @torch.no_grad()
    def act(self, obs: Tensor, is_first: Tensor, carry: Carry, *, explore: bool) -> tuple[Tensor, Carry]:
        """Return the actions, and the carry for the next call, as `SB3Agent.act`, whose arguments these are.

        The policy is called directly, because `predict` returns the states of the policy's LSTM only.
        """
        stack, history = self._stack(obs, is_first, carry[:1])
        states = _to_states(carry[1:])
        policy = self._policy()
        if explore:
            self._draw_noise(len(obs))
        action, _, _, states = policy(stack, states, is_first.float(), deterministic=not explore)
        if self.spaces.is_continuous:
            action = action.clamp(-1, 1)
        return action, (history, *_from_states(states))

    def policy_output(self, obs: Tensor, is_first: Tensor, carry: Carry) -> tuple[PolicyOutput, Carry]:
        """Return pi(. | s), V(s), the norm of the hidden state of the policy's LSTM, and the next carry.

        The arguments are those of `act`. The layers are called one by one, because the methods of the policy return no
        probabilities, or run the encoder of images twice.
        """
        stack, history = self._stack(obs, is_first, carry[:1])
        states = _to_states(carry[1:])
        starts = is_first.float()
        policy = self._policy()
        features = policy.extract_features(stack)
        assert isinstance(features, Tensor)  # would be a tuple if actor and critic had separate encoders
        latent, actor_states = _run_lstm(policy.lstm_actor, features, states.pi, starts)
        if policy.lstm_critic is not None:
            value_latent, critic_states = _run_lstm(policy.lstm_critic, features, states.vf, starts)
        else:
            assert policy.critic is not None
            value_latent = policy.critic(features)
            critic_states = actor_states  # not used, as in SB3-Contrib
        value = policy.value_net(policy.mlp_extractor.forward_critic(value_latent)).squeeze(1)
        carry = (history, *_from_states(RNNStates(actor_states, critic_states)))
        output = actor_output(policy, policy.mlp_extractor.forward_actor(latent), value, self.spaces.action_parts)
        return output._replace(state_norm=carry[1].norm(dim=1)), carry

    def _policy(self) -> RecurrentActorCriticPolicy:
        """Return the policy in evaluation mode."""
        policy = self.network
        assert isinstance(policy, RecurrentActorCriticPolicy)
        policy.set_training_mode(False)
        return policy


def _run_lstm(
    lstm: nn.LSTM, features: Tensor, states: tuple[Tensor, ...], starts: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the outputs [N, H] of an LSTM, and its next states [1, N, H]. States are reset where `starts` is 1."""
    process_sequence: Any = RecurrentActorCriticPolicy._process_sequence  # declares other types than it returns
    return process_sequence(features, states, starts, lstm)


def _to_states(tensors: tuple[Tensor, ...]) -> RNNStates:
    """Return the states [1, N, H] that SB3-Contrib expects, from four tensors [N, H]. The 1 is the number of layers."""
    hidden, cell, value_hidden, value_cell = (tensor[None] for tensor in tensors)
    return RNNStates((hidden, cell), (value_hidden, value_cell))


def _from_states(states: RNNStates) -> tuple[Tensor, ...]:
    """Return four tensors [N, H] from the states [1, N, H] of SB3-Contrib."""
    return tuple(state[0] for state in (*states.pi, *states.vf))
